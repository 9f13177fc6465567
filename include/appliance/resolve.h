/* resolve.h - the addresses of a name, looked up by getaddrinfo(3) on a helper thread, so that a dead name server delays nobody but who
 * asked. What is an address already is answered at once.
 * Nothing is kept: who needs the answer again asks again, and so hears of changes. But who asks for a name that is just being looked up
 * shares that look-up, even when whoever began it has given up: a name server that is silent for a minute costs one thread a name, and
 * never more than RESOLVE_AT_ONCE threads, however often it is asked. Others wait for their turn. */
#ifndef APPLIANCE_RESOLVE_H
#define APPLIANCE_RESOLVE_H

#include "appliance/err.h"
#include "appliance/loop.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    RESOLVE_AT_ONCE = 8,
    RESOLVE_NAME = 254,    /* the longest name DNS knows, and its 0 */
    RESOLVE_ADDRESS = 64,  /* an IPv6 address, its zone, and 0 */
    RESOLVE_ADDRESSES = 32 /* of one name; more are left out */
};

struct resolve_answer {
    bool ok;
    struct err err;                                     /* MISSING: there is no such name; TIMEOUT: no name server answered */
    size_t count;                                       /* at least 1 when ok; no address twice */
    char addresses[RESOLVE_ADDRESSES][RESOLVE_ADDRESS]; /* both families, in the order in which they should be tried (RFC 6724) */
};

struct lookup;

/* One question; the caller's memory. Zeroed = not started. */
struct resolve {
    bool done;
    struct resolve_answer answer; /* once done */
    char name[RESOLVE_NAME];
    struct loop *loop;
    struct lookup *lookup; /* NULL: waits for its turn, or isn't started */
    struct resolve *next;
    void (*ended)(struct resolve *); /* in the loop, with done set */
};

/* False: that can't be a name, or nothing can be looked up now; err tells. True and `done`: it was an address ("[::1]" is ::1), and
 * `ended` is not called. Else `ended` will be, unless it is stopped first. */
bool resolve_start(struct resolve *, struct loop *, const char *name, void (*ended)(struct resolve *), struct err *);
void resolve_stop(struct resolve *); /* never waits; fine when it is done, or zeroed */

#endif
