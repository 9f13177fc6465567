#include "transfer_inner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { SMALL_PIECE = 64 * 1024 };

static bool append(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);
    if (longer)
        *list = longer;
    return longer != NULL;
}

/* What libcurl would say of itself is silenced by an empty header; one that is empty for us ends with a semicolon for it. */
static bool set_headers(struct http_transfer *t, const struct http_spec *spec, bool upload)
{
    static const struct headers none;
    const struct headers *given = spec->headers ? spec->headers : &none;
    const char *name, *value;
    bool ok = true;
    for (size_t at = 0; ok && headers_next(given, &at, &name, &value);) {
        if (upload && strcasecmp(name, "Content-Length") == 0)
            continue; /* it says so itself */
        size_t size = strlen(name) + strlen(value) + 3;
        char *line = malloc(size);
        if (line)
            snprintf(line, size, *value ? "%s: %s" : "%s;", name, value);
        ok = line && append(&t->headers, line);
        free(line);
    }
    if (!headers_find(given, "Accept"))
        ok = ok && append(&t->headers, "Accept:");
    if (!headers_find(given, "Expect"))
        ok = ok && append(&t->headers, spec->expect_continue ? "Expect: 100-continue" : "Expect:");
    return ok;
}

#define SET(option, value) (ok = ok && curl_easy_setopt(t->easy, option, value) == CURLE_OK)

static bool set_request(struct http_transfer *t, const struct http_spec *spec)
{
    bool ok = true;
    const char *method = spec->method;
    const char *coding = spec->headers ? headers_find(spec->headers, "Transfer-Encoding") : NULL;
    /* These announce a body even when it is empty: S3 answers 411 else. */
    bool expects_body = strcmp(method, "PUT") == 0 || strcmp(method, "POST") == 0 || strcmp(method, "PATCH") == 0;
    bool upload = spec->body.kind != HTTP_NO_BODY || expects_body;
    SET(CURLOPT_URL, spec->url);
    SET(CURLOPT_PATH_AS_IS, 1L);
    if (upload) {
        SET(CURLOPT_UPLOAD, 1L);
        SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t)(coding ? -1 : t->body.from.length));
        SET(CURLOPT_UPLOAD_BUFFERSIZE, spec->body.length < 0 || spec->body.length > SMALL_PIECE ? (long)HTTP_PIECE : (long)SMALL_PIECE);
        SET(CURLOPT_CUSTOMREQUEST, method);
    } else if (strcmp(method, "HEAD") == 0) {
        SET(CURLOPT_NOBODY, 1L);
    } else if (strcmp(method, "GET") != 0) {
        SET(CURLOPT_CUSTOMREQUEST, method);
    }
    SET(CURLOPT_BUFFERSIZE,
        spec->push ? (long)HTTP_PIECE : (long)SMALL_PIECE); /* libcurl reads up to 100 of these before others have a turn */
    ok = ok && set_headers(t, spec, upload);
    SET(CURLOPT_HTTPHEADER, t->headers);
    return ok;
}

static bool set_connection(struct http_transfer *t, const struct http_spec *spec)
{
    bool ok = true;
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L); /* stopping must not wait for a look-up: its thread cleans up behind itself */
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_SSL_VERIFYPEER, 1L);
    SET(CURLOPT_SSL_VERIFYHOST, 2L);
    if (spec->ca_file)
        SET(CURLOPT_CAINFO, spec->ca_file);
    if (spec->no_proxy)
        SET(CURLOPT_PROXY, "");
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_TCP_KEEPIDLE, 30L);
    SET(CURLOPT_TCP_KEEPINTVL, 10L);
    SET(CURLOPT_CONNECTTIMEOUT_MS, spec->connect_ms ? (long)spec->connect_ms : 24L * 3600 * 1000);
    SET(CURLOPT_MAXAGE_CONN, (long)HTTP_IDLE_MS / 1000);
    if (spec->fresh) {
        SET(CURLOPT_FRESH_CONNECT, 1L);
        SET(CURLOPT_DNS_CACHE_TIMEOUT, 0L);
    }
    return ok;
}

bool transfer_options(struct http_transfer *t, const struct http_spec *spec)
{
    return set_request(t, spec) && set_connection(t, spec);
}
