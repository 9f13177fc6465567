/* headers.h - HTTP header lines as a list in one buffer with a ceiling, in the order they were added; for requests and replies.
 * Names are compared without regard to case, and kept as they were given.
 * Invariant: no name holds anything but token characters (RFC 9110), no value holds CR, LF or a zero, so that nothing of what is in
 * here can end a line on the wire. */
#ifndef APPLIANCE_HEADERS_H
#define APPLIANCE_HEADERS_H

#include "appliance/buf.h"
#include "appliance/err.h"

struct headers {
    struct buf text; /* name, zero, value, zero; again and again */
    int count;
};

void headers_init(struct headers *, size_t ceiling); /* of names and values with their zeros; allocates nothing */
void headers_free(struct headers *);                 /* usable again afterwards, with the same ceiling */

/* Appends one; blanks around the value are dropped. False: it could not go over the wire as a header, or there is no room. */
bool headers_add(struct headers *, const char *name, struct bytes value, struct err *);
bool headers_add_text(struct headers *, const char *name, const char *value, struct err *);
/* Removes all of that name, then adds. */
bool headers_set(struct headers *, const char *name, struct bytes value, struct err *);
void headers_remove(struct headers *, const char *name);

/* The first value of that name, or NULL. It is valid until the list changes. */
const char *headers_find(const struct headers *, const char *name);
/* Walks the list: *at is 0 before the first. False at the end. */
bool headers_next(const struct headers *, size_t *at, const char **name, const char **value);

#endif
