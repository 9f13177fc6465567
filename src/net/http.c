#include "appliance/http.h"
#include "appliance/clock.h"
#include "transfer_inner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the end of a transfer --- */

static void bury(struct http_transfer *t)
{
    if (t->added)
        curl_multi_remove_handle(transfers.multi, t->easy);
    curl_easy_cleanup(t->easy);
    curl_slist_free_all(t->headers);
    timer_stop(&t->timer);
    struct fetch_turn *heir = fetch_turn_leave(&t->turn);
    if (heir)
        transfer_list(OWNER(heir, struct http_transfer, turn));
    if (t->listed)
        for (struct http_transfer **at = &transfers.listed; *at; at = &(*at)->next_listed)
            if (*at == t) {
                *at = t->next_listed;
                break;
            }
    if (t->next)
        t->next->previous = t->previous;
    if (t->previous)
        t->previous->next = t->next;
    else
        transfers.first = t->next;
    free(t->ca_file);
    free(t);
    if (--transfers.count == 0)
        timer_start(&transfers.idle, transfers.loop, HTTP_IDLE_MS, transfer_close_all);
}

/* Only outside of libcurl. */
void transfer_finish(struct http_transfer *t, CURLcode code)
{
    struct http_fetch *fetch = t->fetch;
    if (fetch) {
        transfer_conclude(t, code);
        fetch->transfer = NULL;
        t->fetch = NULL;
    }
    bury(t);
    if (fetch)
        fetch->done(fetch);
}

/* A kept connection may have been closed by the peer just as the request went out. libcurl tries again only in some of these cases. */
bool transfer_try_again(struct http_transfer *t, CURLcode code)
{
    long connects = 1;
    bool broke = code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR || code == CURLE_GOT_NOTHING;
    curl_easy_getinfo(t->easy, CURLINFO_NUM_CONNECTS, &connects);
    if (!broke || t->second_try || connects > 0 || t->head.bytes > 0 || t->failure || !t->fetch || !t->fetch->connected_ns)
        return false;
    t->second_try = true;
    transfers.inside++; /* its owner may stop it from there: then it waits for its burial */
    bool rewound = fetch_body_rewind(&t->body, t->fetch);
    transfers.inside--;
    if (!rewound)
        return false;
    if (!t->fetch)
        return true;
    curl_multi_remove_handle(transfers.multi, t->easy);
    curl_easy_setopt(t->easy, CURLOPT_FRESH_CONNECT, 1L);
    t->added = false;
    t->paused = false;
    t->fetch->sent = 0;
    t->fetch->connected_ns = 0;
    *t->detail = 0;
    transfer_enter(t, FETCH_RESOLVING);
    transfer_list(t);
    return true;
}

/* --- start and stop --- */

static struct http_transfer *new_transfer(const struct http_spec *spec, const char *origin)
{
    struct http_transfer *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    *t = (struct http_transfer){
        .body.from = spec->body,
        .push = spec->push,
        .connect_ms = spec->connect_ms,
        .first_byte_ms = spec->first_byte_ms,
        .stall_ms = spec->stall_ms,
        .stall_bytes = spec->stall_bytes,
        .deadline_ms = spec->deadline_ms,
        .stage_due_ns = INT64_MAX,
        .deadline_ns = INT64_MAX,
        .fd = -1,
        .head.ceiling = spec->head_ceiling,
        .started_ns = clock_ns(),
    };
    snprintf(t->origin, sizeof t->origin, "%s", origin);
    if (spec->deadline_ms)
        t->deadline_ns = t->started_ns + spec->deadline_ms * NS_PER_MS;
    if (spec->body.kind == HTTP_NO_BODY)
        t->body.from.length = 0;
    t->ca_file = spec->ca_file ? strdup(spec->ca_file) : NULL;
    t->easy = curl_easy_init();
    if (t->easy && transfer_options(t, spec) && transfer_callbacks(t) && (!spec->ca_file || t->ca_file) && fetch_turn_ask(&t->turn, origin))
        return t;
    curl_easy_cleanup(t->easy);
    curl_slist_free_all(t->headers);
    free(t->ca_file);
    free(t);
    return NULL;
}

bool http_fetch_start(struct http_fetch *fetch, struct loop *loop, const struct http_spec *spec, void (*done)(struct http_fetch *),
                      struct err *err)
{
    char origin[FETCH_ORIGIN_SIZE];
    *fetch = (struct http_fetch){.done = done, .length = -1};
    headers_init(&fetch->headers, spec->head_ceiling);
    buf_init(&fetch->body, spec->ceiling);
    if (!fetch_origin(spec->url, origin, err) || !fetch_body_check(spec, err) || !transfer_open(loop, err))
        return false;
    struct http_transfer *t = new_transfer(spec, origin);
    if (!t) {
        if (transfers.count == 0)
            timer_start(&transfers.idle, transfers.loop, HTTP_IDLE_MS, transfer_close_all);
        return err_set(err, ERR_SYSTEM, "%.100s: no memory for the request", origin);
    }
    t->fetch = fetch;
    fetch->transfer = t;
    t->next = transfers.first;
    if (transfers.first)
        transfers.first->previous = t;
    transfers.first = t;
    transfers.count++;
    transfer_arm(t);
    if (t->turn.has)
        transfer_list(t);
    transfer_settle_soon();
    return true;
}

void http_fetch_stop(struct http_fetch *fetch)
{
    struct http_transfer *t = fetch->transfer;
    fetch->transfer = NULL;
    headers_free(&fetch->headers);
    buf_free(&fetch->body);
    if (!t)
        return;
    t->fetch = NULL;
    timer_stop(&t->timer);
    if (transfers.inside) {
        transfer_list(t);
        return;
    }
    bury(t);
    transfer_settle_soon();
}

void http_fetch_resume(struct http_fetch *fetch)
{
    struct http_transfer *t = fetch->transfer;
    if (!t)
        return;
    t->resume = true;
    transfer_list(t);
    transfer_settle_soon();
}

int http_fetch_count(void)
{
    return transfers.count;
}

void http_shutdown(void)
{
    if (!transfers.loop)
        return;
    for (struct http_transfer *t = transfers.first; t; t = t->next)
        fetch_turn_leave(&t->turn);
    while (transfers.first) {
        if (transfers.first->fetch)
            transfers.first->fetch->transfer = NULL;
        bury(transfers.first);
    }
    timer_stop(&transfers.idle);
    timer_stop(&transfers.soon);
    if (transfers.multi)
        transfer_close_all(NULL);
    transfers.loop = NULL;
}
