/* err.h - what went wrong, as a kind to branch on and a sentence to read.
 * A function that can fail is `bool f(..., struct err *)`: false and *err filled, or true and *err untouched.
 * The text is a whole sentence that names its subject: "/etc/x.conf: permission denied". err may be NULL everywhere. */
#ifndef APPLIANCE_ERR_H
#define APPLIANCE_ERR_H

#include <stdarg.h>
#include <stdbool.h>

enum err_kind {
    ERR_NONE,
    ERR_INVALID,   /* the input is wrong; trying again cannot help */
    ERR_MISSING,   /* what was asked for is not there */
    ERR_DENIED,    /* it is there, and we may not */
    ERR_CONFLICT,  /* somebody else was first, or the state does not allow it */
    ERR_THROTTLED, /* asked too often */
    ERR_TIMEOUT,   /* no answer in time */
    ERR_REFUSED,   /* nobody listens */
    ERR_PROTOCOL,  /* the peer's answer makes no sense */
    ERR_CANCELLED, /* we gave it up ourselves */
    ERR_SYSTEM,    /* the kernel said no: code is its errno */
};

struct err {
    enum err_kind kind;
    int code; /* errno, HTTP status or 0 */
    char text[240];
};

/* Both return false, so that a failure is one line: `return err_set(err, ERR_MISSING, "%s: no such profile", name);` */
bool err_set(struct err *, enum err_kind, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* "<sentence>: <strerror(errno)>", with the kind that fits errno (ENOENT -> MISSING, EACCES -> DENIED ...). */
bool err_errno(struct err *, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The lower-case word people and Lua see: "missing". Never NULL. */
const char *err_kind_name(enum err_kind);

#endif
