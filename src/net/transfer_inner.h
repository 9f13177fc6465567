/* transfer_inner.h - one transfer of libcurl, between the files of the HTTP client. Only these know curl.h: http.c (start and stop) and
 * transfer_{options,callbacks,limits,verdict,loop}.c. What can do without libcurl is in fetch_*.c. */
#ifndef APPLIANCE_TRANSFER_INNER_H
#define APPLIANCE_TRANSFER_INNER_H

#include "appliance/http.h"
#include "fetch_inner.h"

#include <curl/curl.h>

#define OWNER(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

struct http_transfer {
    struct http_fetch *fetch; /* NULL: given up from within a callback of libcurl; to be buried once we are outside of it */
    CURL *easy;
    struct curl_slist *headers;
    struct fetch_turn turn;
    struct fetch_body body;
    ssize_t (*push)(struct http_fetch *, const char *, size_t);
    struct timer timer;
    enum fetch_stage stage;
    bool added, paused, resume, listed, second_try;
    int64_t connect_ms, first_byte_ms, stall_ms, stall_bytes, deadline_ms;
    int64_t started_ns, stage_due_ns, deadline_ns;
    int64_t window_bytes; /* moved when the stall window began */
    int fd;               /* of its connection while libcurl waits for it, which may have been there before us; -1 */
    int unsent;           /* in the kernel's buffer when the stage or its window began */
    struct fetch_head head;
    int socket_error;
    enum http_failure failure; /* ours; beats what libcurl says */
    struct err err;
    struct http_transfer *next, *previous, *next_listed;
    char *ca_file;
    char origin[FETCH_ORIGIN_SIZE];
    char detail[CURL_ERROR_SIZE];
};

/* All of them, and libcurl's multi handle, which is closed when it had nothing to do for HTTP_IDLE_MS. */
struct http_transfers {
    struct loop *loop;
    CURLM *multi;
    struct timer due, idle, soon;
    struct http_transfer *first, *listed; /* listed: something is to be done for them outside of libcurl */
    int count, inside;                    /* inside: libcurl calls us back, and must not be called */
    bool settling;
};
extern struct http_transfers transfers;

/* transfer_options.c: what libcurl is asked for. False: no memory. */
bool transfer_options(struct http_transfer *, const struct http_spec *);

/* transfer_callbacks.c: what libcurl tells of a transfer comes here. False: no memory. */
bool transfer_callbacks(struct http_transfer *);

/* transfer_limits.c: a stage has its limit of time, all of it a deadline. */
void transfer_enter(struct http_transfer *, enum fetch_stage);
void transfer_pause(struct http_transfer *); /* the peer can't help that it is slow now */
void transfer_arm(struct http_transfer *);

/* transfer_verdict.c: how it ended, in our words, into its fetch. */
void transfer_conclude(struct http_transfer *, CURLcode);

/* transfer_loop.c: the loop on behalf of libcurl. */
bool transfer_open(struct loop *, struct err *);
void transfer_close_all(struct timer *);
void transfer_list(struct http_transfer *); /* something is to be done for it outside of libcurl */
/* After every call into libcurl: what ended, and what its callbacks left for later. Owners' callbacks run from here, and may start and
 * stop as they like. */
void transfer_settle(void);
/* For what the owner asks for: no callback of anybody comes from within these calls. */
void transfer_settle_soon(void);

/* http.c; only outside of libcurl */
void transfer_finish(struct http_transfer *, CURLcode);
bool transfer_try_again(struct http_transfer *, CURLcode);

#endif
