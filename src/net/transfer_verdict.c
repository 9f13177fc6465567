#include "appliance/clock.h"
#include "transfer_inner.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static enum http_failure connect_failure(struct http_transfer *t, struct fetch_facts *facts)
{
    long code = 0;
    curl_easy_getinfo(t->easy, CURLINFO_OS_ERRNO, &code);
    facts->system_error = t->socket_error ? t->socket_error : (int)code;
    switch (facts->system_error) {
    case ECONNREFUSED: return HTTP_REFUSED;
    case ETIMEDOUT: return HTTP_CONNECT_TIMEOUT;
    default: return HTTP_UNREACHABLE;
    }
}

static enum http_failure tls_failure(struct http_transfer *t, CURLcode code, struct fetch_facts *facts)
{
    enum { NOT_SAID = 1, NOT_YET = 9, EXPIRED = 10 }; /* of X509_V_ERR_...; all above 1 are about the chain */
    long verdict = 0;
    curl_easy_getinfo(t->easy, CURLINFO_SSL_VERIFYRESULT, &verdict);
    if (code == CURLE_SSL_CACERT_BADFILE)
        facts->tls = FETCH_TLS_BUNDLE;
    else if (code == CURLE_PEER_FAILED_VERIFICATION)
        facts->tls = verdict == NOT_YET || verdict == EXPIRED ? FETCH_TLS_TIME : verdict > NOT_SAID ? FETCH_TLS_UNKNOWN_CA : FETCH_TLS_NAME;
    else if (strstr(t->detail, "wrong version number") || strstr(t->detail, "packet length too long") || strstr(t->detail, "http request"))
        facts->tls = FETCH_TLS_NOT_TLS;
    else if (strstr(t->detail, "SSL_ERROR_SYSCALL") || strstr(t->detail, "unexpected eof"))
        return HTTP_RESET;
    return HTTP_TLS;
}

/* libcurl's word for it as ours. */
static enum http_failure judge(struct http_transfer *t, CURLcode code, struct fetch_facts *facts)
{
    switch (code) {
    case CURLE_OK: return t->head.done ? HTTP_OK : HTTP_PROTOCOL;
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST: return HTTP_NOT_RESOLVED;
    case CURLE_COULDNT_CONNECT: return connect_failure(t, facts);
    case CURLE_OPERATION_TIMEDOUT: return HTTP_CONNECT_TIMEOUT; /* it knows of no other limit */
    case CURLE_PARTIAL_FILE: return HTTP_TRUNCATED;
    case CURLE_RECV_ERROR: return t->head.done && strstr(t->detail, "unexpected eof") ? HTTP_TRUNCATED : HTTP_RESET;
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_SEND_FAIL_REWIND: return HTTP_RESET;
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR: return tls_failure(t, code, facts);
    case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9, or nothing of the kind */
    case CURLE_WEIRD_SERVER_REPLY: return HTTP_PROTOCOL;
    case CURLE_OUT_OF_MEMORY: /* its word for a header line above 100 KiB, too */
        facts->head_too_large = t->stage == FETCH_RECEIVING && !t->head.done;
        return facts->head_too_large ? HTTP_TOO_LARGE : HTTP_FAILURE;
    default: return HTTP_FAILURE;
    }
}

static int64_t limit_of(const struct http_transfer *t, enum http_failure failure)
{
    return failure == HTTP_DEADLINE             ? t->deadline_ms
           : failure == HTTP_FIRST_BYTE_TIMEOUT ? t->first_byte_ms
           : failure == HTTP_STALLED            ? t->stall_ms
                                                : t->connect_ms;
}

void transfer_conclude(struct http_transfer *t, CURLcode code)
{
    struct http_fetch *fetch = t->fetch;
    long connects = 0;
    curl_easy_getinfo(t->easy, CURLINFO_NUM_CONNECTS, &connects);
    fetch->reused = fetch->connected_ns && connects == 0;
    fetch->total_ns = clock_ns() - t->started_ns;
    if (!*t->detail && code != CURLE_OK)
        snprintf(t->detail, sizeof t->detail, "%s", curl_easy_strerror(code));
    struct fetch_facts facts = {.origin = t->origin,
                                .address = fetch->address,
                                .detail = t->detail,
                                .ca_file = t->ca_file,
                                .received = fetch->received,
                                .expected = fetch->length,
                                .stall_bytes = t->stall_bytes,
                                .stage = t->stage};
    fetch->failure = t->failure ? t->failure : judge(t, code, &facts);
    facts.head_too_large |= t->head.too_large;
    facts.ceiling = facts.head_too_large ? t->head.ceiling : fetch->body.ceiling;
    facts.limit_ms = limit_of(t, fetch->failure);
    if (t->err.kind != ERR_NONE)
        err_set(&fetch->err, t->err.kind, "%.100s: %s", t->origin, t->err.text);
    else if (fetch->failure && !(fetch->failure == HTTP_STOPPED && fetch->err.kind != ERR_NONE)) /* who stopped it may have said why */
        fetch_describe(&fetch->err, fetch->failure, &facts);
}
