/* http_parse.h - HTTP/1.1 heads, queries and chunks (RFC 9112) as pure functions over bytes: no descriptor, no memory of its own.
 * Strict where two readers could understand one text differently (bare CR or LF, folded headers, two lengths).
 * Everything handed out points into the caller's bytes. Fuzzed by tests/fuzz/fuzz_http.c. */
#ifndef APPLIANCE_HTTP_PARSE_H
#define APPLIANCE_HTTP_PARSE_H

#include "appliance/bytes.h"
#include "appliance/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HTTP_HEAD_LIMIT = 16 * 1024, HTTP_BODY_LIMIT = 1024 * 1024, HTTP_HEADERS_LIMIT = 64 };

enum http_parse { HTTP_DONE, HTTP_MORE, HTTP_BAD };

struct http_request {
    struct bytes method, path, query, body; /* path and query are still escaped, but every escape in them is whole and none is %00 */
    struct bytes headers;                   /* all their lines, each with its CR LF: http_header_next, http_header */
    size_t head_length;                     /* 0 until the head is complete: then all but `body` is valid with HTTP_MORE, too */
    size_t content_length;                  /* 0 when absent */
    bool keep_alive;
    bool chunks_understood; /* the peer speaks 1.1: an answer without a known length may come in chunks */
    bool wants_continue;    /* it waits for "100 Continue" before it sends the body */
};

/* HTTP_DONE: *used bytes form one whole request. HTTP_BAD: err->code is the status to answer with, err->text the sentence. */
enum http_parse http_parse_request(const char *data, size_t length, struct http_request *, size_t *used, struct err *);

/* Takes the next header off such lines; false at their end. The value is trimmed. */
bool http_header_next(struct bytes *headers, struct bytes *name, struct bytes *value);
/* How often a request has that header, in whatever case its name is written; *value is the first one's, when there is one. */
int http_header(const struct http_request *, const char *name, struct bytes *value);

struct http_response {
    int status;
    size_t head_length;
    bool chunked;
    int64_t content_length; /* -1: not said; without chunks the body then ends with the connection */
};

/* HTTP_DONE: the head is complete. Whether a body follows depends on the request's method and the status, too. */
enum http_parse http_parse_response(const char *data, size_t length, struct http_response *, struct err *);

/* A body in chunks, read piece by piece. Zeroed = at its beginning. */
struct http_chunks {
    enum { CHUNK_SIZE, CHUNK_DATA, CHUNK_DATA_END, CHUNK_TRAILER, CHUNK_END } at;
    uint64_t left;   /* of the present chunk */
    size_t trailers; /* bytes of them so far; bounded as a head is */
};
/* One step: *used bytes are spent, *body is the run of body bytes among them (often empty).
 * HTTP_MORE with *used == 0: nothing can be done without more bytes. HTTP_DONE: the body is over. */
enum http_parse http_chunks_next(struct http_chunks *, const char *data, size_t length, size_t *used, struct bytes *body, struct err *);

/* Takes the next `name=value` off a query; false at its end. Both are still escaped. */
bool http_query_next(struct bytes *query, struct bytes *name, struct bytes *value);
/* Resolves escapes of a checked path or query into `out`, which has room for text.length bytes; returns how many it wrote. */
size_t http_unescape(struct bytes text, bool plus_is_blank, char *out);
/* "Not Found" for 404; "Unknown" for what we never say. */
const char *http_status_name(int status);

#endif
