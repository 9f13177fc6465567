/* fetch_inner.h - what http.c, the one file that knows libcurl, shares with its pure parts. */
#ifndef APPLIANCE_FETCH_INNER_H
#define APPLIANCE_FETCH_INNER_H

#include "appliance/http.h"

/* --- fetch_words.c: failures as sentences --- */

struct fetch_facts {
    const char *origin;  /* "https://host:port" */
    const char *address; /* the peer's, "" before one was tried */
    const char *detail;  /* libcurl's own words, or "" */
    const char *ca_file;
    int64_t limit_ms; /* the limit that was passed */
    int64_t received, expected;
    int64_t stall_bytes;
    size_t ceiling;
    int system_error; /* errno, or 0 */
    enum fetch_stage {
        FETCH_QUEUED,
        FETCH_RESOLVING,
        FETCH_CONNECTING,
        FETCH_HANDSHAKE,
        FETCH_SENDING,
        FETCH_WAITING,
        FETCH_RECEIVING
    } stage;
    bool head_too_large;
    enum fetch_tls { FETCH_TLS_OTHER, FETCH_TLS_UNKNOWN_CA, FETCH_TLS_TIME, FETCH_TLS_NAME, FETCH_TLS_BUNDLE, FETCH_TLS_NOT_TLS } tls;
};
void fetch_describe(struct err *, enum http_failure, const struct fetch_facts *);

/* "https://host:port" of a URL, for messages and as the name of a place; false with the reason when the URL is not one we send. */
enum { FETCH_ORIGIN_SIZE = 300 };
bool fetch_origin(const char *url, char origin[FETCH_ORIGIN_SIZE], struct err *);

/* --- fetch_body.c: where the bytes of a request come from --- */

struct fetch_body {
    struct http_body from;
    int64_t at; /* sent so far */
};
bool fetch_body_check(const struct http_spec *, struct err *);
/* Up to `size` bytes of a file from `at` on, of which the body wants those before `end`; HTTP_STOP when there are none: *err is filled. */
ssize_t fetch_file_read(int fd, int64_t at, int64_t end, char *room, size_t size, struct err *err);
/* Up to `size` bytes; 0 at the end, HTTP_PAUSE, HTTP_STOP (then *err is filled, unless pull said so). */
ssize_t fetch_body_read(struct fetch_body *, struct http_fetch *, char *room, size_t size, struct err *);
bool fetch_body_rewind(struct fetch_body *, struct http_fetch *);

/* --- fetch_head.c: the head of an answer, line by line --- */

struct fetch_head {
    size_t bytes, ceiling;
    bool done; /* the head of the answer itself is complete, not that of an interim one */
    bool too_large;
};
/* Takes one whole line, its end included, into status, headers and length of the fetch. False: the head is too large. */
bool fetch_head_line(struct fetch_head *, struct http_fetch *, const char *line, size_t length);

/* --- fetch_turns.c: so many at once to one place, the others in the order they came --- */

struct fetch_place;
struct fetch_turn { /* zeroed: neither has nor awaits one */
    struct fetch_place *place;
    struct fetch_turn *next;
    bool has; /* its turn: it may use a connection */
};
/* Asks for a turn at `origin`; `has` says whether it came at once. False: no memory. */
bool fetch_turn_ask(struct fetch_turn *, const char *origin);
/* Gives up, or back. Returns who has a turn because of it, or NULL. */
struct fetch_turn *fetch_turn_leave(struct fetch_turn *);

#endif
