/* json.h - reads a small JSON document that somebody else wrote. For C callers; Lua has a parser of its own.
 * Not a writer, no paths, no schema. Documents hold secrets (credentials), so whatever this allocates is wiped before it is freed,
 * also when the reading fails.
 * Invariant: memory is bounded by the limits, whatever the input; no text has a zero byte inside. */
#ifndef APPLIANCE_JSON_H
#define APPLIANCE_JSON_H

#include "appliance/bytes.h"
#include "appliance/err.h"

#include <stdbool.h>
#include <stddef.h>

struct json_value; /* belongs to its document */

struct json_document {
    struct json_value *root;
};

struct json_limits {
    size_t bytes;
    int depth;
};
#define JSON_LIMITS_DEFAULT ((struct json_limits){1 << 20, 32})

/* False: not JSON (or something behind it), a zero byte or \u0000 in it, or beyond a limit (NULL: the default ones). err.text is
 * "line 3: ..." for the caller to put the document's name before. May be called in any thread; never waits. */
bool json_read(struct json_document *, struct bytes input, const struct json_limits *, struct err *);
void json_free(struct json_document *); /* harmless twice, and on a zeroed one */

/* The member of an object: of several the first with just this name, else the first that has it in other letters (the makers of
 * credentials differ: "Token", "token"). NULL: none, or `object` is no object, or NULL. */
const struct json_value *json_get(const struct json_value *object, const char *name);
bool json_is_object(const struct json_value *);
bool json_is_null(const struct json_value *); /* the word null; false for a NULL pointer */
/* False, and *out untouched: not of that type, or a NULL pointer. The text lives as long as the document, with a zero behind it. */
bool json_text(const struct json_value *, struct bytes *out);
bool json_number(const struct json_value *, double *out);

#endif
