#include "appliance/zk_words.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct meaning {
    int code;
    enum err_kind kind;
    const char *name, *text;
} meanings[] = {
    /* clang-format off */
    {ZK_OK, ERR_NONE, "OK", "done"},
    {-1, ERR_SYSTEM, "SYSTEMERROR", "the system said no"},
    {ZK_RUNTIME, ERR_PROTOCOL, "RUNTIMEINCONSISTENCY", "not done, for another part of it failed"},
    {-3, ERR_PROTOCOL, "DATAINCONSISTENCY", "the answer makes no sense"},
    {ZK_CONNECTIONLOSS, ERR_TIMEOUT, "CONNECTIONLOSS", "no connection to ZooKeeper, so nobody knows whether it was done"},
    {ZK_MARSHALLING, ERR_PROTOCOL, "MARSHALLINGERROR", "it can't be put into ZooKeeper's words"},
    {-6, ERR_INVALID, "UNIMPLEMENTED", "this server can't do that"},
    {ZK_OPERATIONTIMEOUT, ERR_TIMEOUT, "OPERATIONTIMEOUT", "no answer in time, so nobody knows whether it was done"},
    {ZK_BADARGUMENTS, ERR_INVALID, "BADARGUMENTS", "ZooKeeper does not take these arguments"},
    {ZK_INVALIDSTATE, ERR_CANCELLED, "INVALIDSTATE", "the client is closed"},
    {ZK_NONODE, ERR_MISSING, "NONODE", "no such node"},
    {ZK_NOAUTH, ERR_DENIED, "NOAUTH", "its access list does not allow that"},
    {ZK_BADVERSION, ERR_CONFLICT, "BADVERSION", "somebody else changed it meanwhile"},
    {ZK_NOCHILDRENFOREPHEMERALS, ERR_INVALID, "NOCHILDRENFOREPHEMERALS", "its parent is ephemeral, and such nodes have no children"},
    {ZK_NODEEXISTS, ERR_CONFLICT, "NODEEXISTS", "there is such a node already"},
    {ZK_NOTEMPTY, ERR_CONFLICT, "NOTEMPTY", "it has children"},
    {ZK_SESSIONEXPIRED, ERR_CONFLICT, "SESSIONEXPIRED", "the session it belongs to has expired"},
    {-114, ERR_INVALID, "INVALIDACL", "ZooKeeper does not take this access list; with `auth` given it must be that of somebody"},
    {ZK_AUTHFAILED, ERR_DENIED, "AUTHFAILED", "ZooKeeper refuses the credentials"},
    {ZK_CLOSING, ERR_CANCELLED, "CLOSING", "the client is closed"},
    {-118, ERR_TIMEOUT, "SESSIONMOVED", "the session went on by another connection"},
    {-119, ERR_REFUSED, "NOTREADONLY", "this server only reads"},
    {-120, ERR_INVALID, "EPHEMERALONLOCALSESSION", "a local session can't have ephemeral nodes"},
    {-121, ERR_MISSING, "NOWATCHER", "nobody watches it"},
    {-127, ERR_THROTTLED, "THROTTLEDOP", "the server has too much to do, and did not do it"},
    {ZK_QUEUEFULL, ERR_THROTTLED, "QUEUEFULL", "too many operations are under way"},
    {ZK_TOOLARGE, ERR_INVALID, "TOOLARGE", "more than the 1 MiB that a server takes"},
    {ZK_NOMEMORY, ERR_SYSTEM, "NOMEMORY", "no memory"},
    /* clang-format on */
};

static const struct meaning *meaning_of(int code)
{
    static const struct meaning unknown = {0, ERR_PROTOCOL, "ERROR", "an error that this version does not know"};
    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
        if (meanings[i].code == code)
            return &meanings[i];
    return &unknown;
}

const char *zk_code_name(int code)
{
    return meaning_of(code)->name;
}

enum err_kind zk_code_kind(int code)
{
    return meaning_of(code)->kind;
}

const char *zk_code_text(int code)
{
    return meaning_of(code)->text;
}

bool zk_fail(struct err *err, int code, const char *verb, const char *path)
{
    const struct meaning *m = meaning_of(code);
    char subject[160];
    snprintf(subject, sizeof subject, "zk%s%s%s%s", verb ? " " : "", verb ? verb : "", path ? " " : "", path ? path : "");
    if (m->code == code)
        err_set(err, m->kind, "%s: %s (%s)", subject, m->text, m->name);
    else
        err_set(err, m->kind, "%s: %s (%s %d)", subject, m->text, m->name, code);
    if (err)
        err->code = code;
    return false;
}

const char *zk_path_fault(const char *path, size_t length, bool is_sequential)
{
    if (length == 0 || path[0] != '/')
        return "a path begins with a slash";
    if (length == 1)
        return NULL;
    if (path[length - 1] == '/' && !is_sequential)
        return "a path does not end with a slash";
    size_t part = 1; /* where the current name begins */
    for (size_t i = 1; i <= length; i++) {
        unsigned char c = i < length ? (unsigned char)path[i] : '/';
        if (c == '/') {
            size_t size = i - part;
            bool is_prefix = i == length && is_sequential; /* a number follows */
            if (size == 0 && !is_prefix)
                return "a path has no empty names";
            if (!is_prefix && ((size == 1 && path[part] == '.') || (size == 2 && path[part] == '.' && path[part + 1] == '.')))
                return "a path has no names like . and ..";
            part = i + 1;
        } else if (c < 0x20 || c == 0x7f) {
            return "a path has no control characters";
        }
    }
    return NULL;
}

/* Behind the last "@<digits>: " of the head. */
static const char *message_of(const char *line)
{
    for (const char *at = strchr(line, '@'); at; at = strchr(at + 1, '@')) {
        const char *digits = at + 1;
        while (isdigit((unsigned char)*digits))
            digits++;
        if (digits > at + 1 && digits[0] == ':' && digits[1] == ' ')
            return digits + 2;
    }
    return line;
}

bool zk_log_words(const char *line, char *out, size_t size)
{
    const char *text = message_of(line);
    if (strncmp(text, "Socket ", 7) != 0) {
        snprintf(out, size, "%s", text);
        out[strcspn(out, "\n")] = 0;
        return out[0] != 0;
    }
    const char *server = text + 7;
    size_t server_length = strcspn(server, " ");
    if (server_length > 2 && server[0] == '[' && server[server_length - 1] == ']')
        server++, server_length -= 2;
    const char *number = strstr(text, "errno=");
    const char *open = number ? strchr(number, '(') : NULL;
    const char *close = open ? strstr(open, "): ") : NULL;
    if (!close)
        return false;
    const char *rest = close + 3;
    if (strstr(rest, "has expired"))
        return false; /* the client says so itself, in more words */
    /* The library's own number for an end of the stream; without any, the rest says more. */
    if (atoi(number + 6) == EHOSTDOWN)
        snprintf(out, size, "%.*s: it has closed the connection", (int)server_length, server);
    else if (atoi(number + 6) == 0)
        snprintf(out, size, "%.*s: %s", (int)server_length, server, rest);
    else
        snprintf(out, size, "%.*s: %.*s", (int)server_length, server, (int)(close - open - 1), open + 1);
    out[strcspn(out, "\n")] = 0;
    return true;
}
