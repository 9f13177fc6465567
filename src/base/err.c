#include "appliance/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static enum err_kind kind_of_errno(int code)
{
    switch (code) {
    case ENOENT:
    case ENOTDIR:
    case ESRCH: return ERR_MISSING;
    case EACCES:
    case EPERM:
    case EROFS: return ERR_DENIED;
    case EEXIST:
    case EADDRINUSE:
    case ENOTEMPTY: return ERR_CONFLICT;
    case EINVAL:
    case ENOEXEC:
    case E2BIG:
    case ENAMETOOLONG:
    case ELOOP:
    case EISDIR: return ERR_INVALID;
    case ETIMEDOUT: return ERR_TIMEOUT;
    case ECONNREFUSED: return ERR_REFUSED;
    case ECANCELED: return ERR_CANCELLED;
    default: return ERR_SYSTEM;
    }
}

bool err_set(struct err *err, enum err_kind kind, const char *format, ...)
{
    if (!err)
        return false;
    char text[sizeof err->text]; /* an argument may be err's own text */
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    memcpy(err->text, text, sizeof text);
    err->kind = kind;
    err->code = 0;
    return false;
}

bool err_errno(struct err *err, const char *format, ...)
{
    int code = errno;
    if (!err)
        return false;
    char text[sizeof err->text];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length >= 0 && (size_t)length < sizeof text)
        snprintf(text + length, sizeof text - (size_t)length, ": %s", strerror(code));
    memcpy(err->text, text, sizeof text);
    err->kind = kind_of_errno(code);
    err->code = code;
    errno = code;
    return false;
}

const char *err_kind_name(enum err_kind kind)
{
    static const char *const names[] = {
        [ERR_NONE] = "none",         [ERR_INVALID] = "invalid",     [ERR_MISSING] = "missing", [ERR_DENIED] = "denied",
        [ERR_CONFLICT] = "conflict", [ERR_THROTTLED] = "throttled", [ERR_TIMEOUT] = "timeout", [ERR_REFUSED] = "refused",
        [ERR_PROTOCOL] = "protocol", [ERR_CANCELLED] = "cancelled", [ERR_SYSTEM] = "system",
    };
    return (size_t)kind < sizeof names / sizeof *names ? names[kind] : "system";
}
