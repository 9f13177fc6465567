#include "fetch_inner.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *name;
    enum err_kind kind;
    bool transient;
} failures[] = {
    [HTTP_OK] = {"none", ERR_NONE, false},
    [HTTP_NOT_RESOLVED] = {"not_resolved", ERR_MISSING, true},
    [HTTP_REFUSED] = {"refused", ERR_REFUSED, true},
    [HTTP_UNREACHABLE] = {"unreachable", ERR_SYSTEM, true},
    [HTTP_CONNECT_TIMEOUT] = {"connect_timeout", ERR_TIMEOUT, true},
    [HTTP_FIRST_BYTE_TIMEOUT] = {"first_byte_timeout", ERR_TIMEOUT, true},
    [HTTP_STALLED] = {"stalled", ERR_TIMEOUT, true},
    [HTTP_DEADLINE] = {"deadline", ERR_TIMEOUT, true},
    [HTTP_RESET] = {"reset", ERR_PROTOCOL, true},
    [HTTP_TRUNCATED] = {"truncated", ERR_PROTOCOL, true},
    [HTTP_TLS] = {"tls", ERR_DENIED, false},
    [HTTP_TOO_LARGE] = {"too_large", ERR_PROTOCOL, false},
    [HTTP_PROTOCOL] = {"protocol", ERR_PROTOCOL, true},
    [HTTP_STOPPED] = {"stopped", ERR_CANCELLED, false},
    [HTTP_FAILURE] = {"failure", ERR_SYSTEM, false},
};

const char *http_failure_name(enum http_failure failure)
{
    return failures[(size_t)failure < sizeof failures / sizeof *failures ? failure : HTTP_FAILURE].name;
}

bool http_failure_is_transient(enum http_failure failure)
{
    return (size_t)failure < sizeof failures / sizeof *failures && failures[failure].transient;
}

static double seconds(int64_t ms)
{
    return (double)ms / 1000;
}

static const char *doing(enum fetch_stage stage)
{
    static const char *const words[] = {
        [FETCH_QUEUED] = "it still waited for one of the connections to this place",
        [FETCH_RESOLVING] = "the name was still looked up",
        [FETCH_CONNECTING] = "the connection was not made yet",
        [FETCH_HANDSHAKE] = "the TLS handshake was not over",
        [FETCH_SENDING] = "the request was still being sent",
        [FETCH_WAITING] = "the request was sent and no answer had begun",
        [FETCH_RECEIVING] = "the answer was still coming",
    };
    return words[stage];
}

static void say_connect_timeout(char *out, size_t size, const struct fetch_facts *f)
{
    double limit = seconds(f->limit_ms);
    if (f->stage == FETCH_RESOLVING)
        snprintf(out, size, "no address for the name within %g s: the name servers do not answer (/etc/resolv.conf)", limit);
    else if (f->stage == FETCH_HANDSHAKE)
        snprintf(out, size, "%s took the connection, but the TLS handshake was not over within %g s", f->address, limit);
    else
        snprintf(out, size, "%s did not answer within %g s: a wrong address, no route, or a firewall or security group drops it",
                 f->address, limit);
}

static void say_tls(char *out, size_t size, const struct fetch_facts *f)
{
    const char *bundle = f->ca_file ? f->ca_file : "the system's bundle";
    switch (f->tls) {
    case FETCH_TLS_UNKNOWN_CA:
        snprintf(out, size, "its certificate is signed by no authority in %s (%s): add the authority to it, or name another bundle", bundle,
                 f->detail);
        break;
    case FETCH_TLS_TIME:
        snprintf(out, size, "its certificate is not valid now (%s): renew it, or set this machine's clock", f->detail);
        break;
    case FETCH_TLS_NAME: snprintf(out, size, "its certificate is for another name (%s): ask for the name it has", f->detail); break;
    case FETCH_TLS_BUNDLE:
        snprintf(out, size, "the bundle of authorities %s can't be read (%s): install ca-certificates, or name another", bundle, f->detail);
        break;
    case FETCH_TLS_NOT_TLS:
        snprintf(out, size, "what listens there does not speak TLS (%s): use http://, or another port", f->detail);
        break;
    case FETCH_TLS_OTHER: snprintf(out, size, "no TLS connection (%s)", f->detail); break;
    }
}

static void say_truncated(char *out, size_t size, const struct fetch_facts *f)
{
    if (f->expected >= 0)
        snprintf(out, size, "the connection ended after %lld of %lld bytes of the answer", (long long)f->received, (long long)f->expected);
    else
        snprintf(out, size, "the connection ended in the middle of the answer, after %lld bytes", (long long)f->received);
}

static void say(char *out, size_t size, enum http_failure failure, const struct fetch_facts *f)
{
    switch (failure) {
    case HTTP_OK: snprintf(out, size, "no failure"); break;
    case HTTP_NOT_RESOLVED: snprintf(out, size, "no address for this name: is it right, and does DNS work here?"); break;
    case HTTP_REFUSED:
        snprintf(out, size, "nobody listens at %s (connection refused): is it running, and is the port right?", f->address);
        break;
    case HTTP_UNREACHABLE:
        snprintf(out, size, "no connection to %s: %s", *f->address ? f->address : "it",
                 f->system_error ? strerror(f->system_error) : f->detail);
        break;
    case HTTP_CONNECT_TIMEOUT: say_connect_timeout(out, size, f); break;
    case HTTP_FIRST_BYTE_TIMEOUT:
        snprintf(out, size, "%s took the request, but no answer came within %g s", f->address, seconds(f->limit_ms));
        break;
    case HTTP_STALLED:
        snprintf(out, size, "%s became slower than %lld bytes/s for %g s (%lld bytes received)", f->address, (long long)f->stall_bytes,
                 seconds(f->limit_ms), (long long)f->received);
        break;
    case HTTP_DEADLINE: snprintf(out, size, "not done within %g s: %s", seconds(f->limit_ms), doing(f->stage)); break;
    case HTTP_RESET:
        snprintf(out, size, "the connection to %s broke while %s (%s)", f->address,
                 f->stage == FETCH_SENDING ? "the request was sent" : "the answer was awaited", f->detail);
        break;
    case HTTP_TRUNCATED: say_truncated(out, size, f); break;
    case HTTP_TLS: say_tls(out, size, f); break;
    case HTTP_TOO_LARGE:
        snprintf(out, size, "the %s of the answer is larger than the %zu bytes allowed", f->head_too_large ? "head" : "body", f->ceiling);
        break;
    case HTTP_PROTOCOL: snprintf(out, size, "what came from %s is no HTTP (%s)", f->address, f->detail); break;
    case HTTP_STOPPED: snprintf(out, size, "stopped by its owner"); break;
    case HTTP_FAILURE: snprintf(out, size, "%s", f->detail); break;
    }
}

void fetch_describe(struct err *err, enum http_failure failure, const struct fetch_facts *facts)
{
    char text[sizeof err->text];
    say(text, sizeof text, failure, facts);
    err_set(err, failures[failure].kind, "%.100s: %s", facts->origin, text);
    err->code = facts->system_error;
}

bool fetch_origin(const char *url, char origin[FETCH_ORIGIN_SIZE], struct err *err)
{
    size_t scheme = strncasecmp(url, "https://", 8) == 0 ? 8 : strncasecmp(url, "http://", 7) == 0 ? 7 : 0;
    if (!scheme)
        return err_set(err, ERR_INVALID, "%.60s: a URL must begin with http:// or https://", url);
    size_t length = scheme + strcspn(url + scheme, "/?#");
    if (length == scheme || length >= FETCH_ORIGIN_SIZE)
        return err_set(err, ERR_INVALID, "%.60s: a URL must have a host, of at most 253 characters", url);
    snprintf(origin, FETCH_ORIGIN_SIZE, "%.*s", (int)length, url);
    if (memchr(origin + scheme, '@', length - scheme))
        return err_set(err, ERR_INVALID, "a URL must not hold a user or password: use headers");
    if (strchr(url, '#'))
        return err_set(err, ERR_INVALID, "%.100s: a fragment is never sent: write # as %%23", origin);
    for (const char *c = url; *c; c++)
        if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f) /* libcurl would escape them by itself, and a signature be wrong */
            return err_set(err, ERR_INVALID, "%.100s: a URL holds visible ASCII only: write other bytes as %%20 and so on", origin);
    if (strlen(url) > HTTP_URL_LIMIT)
        return err_set(err, ERR_INVALID, "%.100s: the URL is longer than %d bytes", origin, HTTP_URL_LIMIT);
    return true;
}
