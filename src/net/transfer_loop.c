#include "transfer_inner.h"

#include <stdio.h>
#include <stdlib.h>

/* libcurl takes these by their bits; sys/epoll.h is the loop's alone. */
enum { READABLE = 0x001, WRITABLE = 0x004, BROKEN = 0x008, HUNG_UP = 0x010, PEER_DONE = 0x2000 };

struct http_transfers transfers;

static void on_soon(struct timer *unused)
{
    (void)unused;
    transfer_settle();
}

void transfer_settle_soon(void)
{
    if (transfers.listed && !transfers.inside && !transfers.settling)
        timer_start_ns(&transfers.soon, transfers.loop, 0, on_soon);
}

void transfer_list(struct http_transfer *t)
{
    if (t->listed)
        return;
    t->listed = true;
    t->next_listed = transfers.listed;
    transfers.listed = t;
}

static void on_ready(struct watch *w, uint32_t events)
{
    int bits = (events & (READABLE | HUNG_UP | PEER_DONE) ? CURL_CSELECT_IN : 0) | (events & WRITABLE ? CURL_CSELECT_OUT : 0) |
               (events & BROKEN ? CURL_CSELECT_ERR : 0);
    int running;
    transfers.inside++;
    curl_multi_socket_action(transfers.multi, w->fd, bits, &running); /* may free the watch */
    transfers.inside--;
    transfer_settle();
}

static void on_due(struct timer *unused)
{
    (void)unused;
    int running;
    transfers.inside++;
    curl_multi_socket_action(transfers.multi, CURL_SOCKET_TIMEOUT, 0, &running);
    transfers.inside--;
    transfer_settle();
}

static int on_timer(CURLM *multi, long delay_ms, void *unused)
{
    (void)multi, (void)unused;
    if (delay_ms < 0)
        timer_stop(&transfers.due);
    else
        timer_start(&transfers.due, transfers.loop, delay_ms, on_due);
    return 0;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *unused, void *known)
{
    (void)unused;
    struct watch *w = known;
    struct http_transfer *t = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &t);
    if (t)
        t->fd = what == CURL_POLL_REMOVE ? -1 : fd;
    if (t && t->stage == FETCH_CONNECTING && what == CURL_POLL_IN) /* a connection that is being made becomes writable */
        t->stage = FETCH_HANDSHAKE;
    if (what == CURL_POLL_REMOVE) {
        if (w)
            watch_stop(w);
        free(w);
        return 0;
    }
    uint32_t events = (what & CURL_POLL_IN ? READABLE : 0) | (what & CURL_POLL_OUT ? WRITABLE : 0);
    struct err err;
    bool ok;
    if (w) {
        ok = watch_change(w, events, &err);
    } else {
        w = calloc(1, sizeof *w);
        ok = w ? watch_start(w, transfers.loop, fd, events, on_ready, &err) : err_set(&err, ERR_SYSTEM, "no memory");
        if (ok)
            curl_multi_assign(transfers.multi, fd, w);
        else
            free(w);
    }
    if (!ok && t && t->fetch) {
        t->failure = HTTP_FAILURE; /* an error from here would end every transfer of libcurl */
        t->err = err;
        transfer_list(t);
    }
    return 0;
}

static void add(struct http_transfer *t)
{
    t->added = true;
    t->stage = FETCH_RESOLVING;
    transfers.inside++;
    CURLMcode code = curl_multi_add_handle(transfers.multi, t->easy);
    transfers.inside--;
    if (code == CURLM_OK)
        return;
    t->added = false;
    t->failure = HTTP_FAILURE;
    snprintf(t->detail, sizeof t->detail, "%s", curl_multi_strerror(code));
    transfer_list(t);
}

static void attend(struct http_transfer *t)
{
    if (!t->fetch || t->failure) {
        transfer_finish(t, CURLE_OK);
    } else if (t->turn.has && !t->added) {
        add(t);
    } else if (t->resume) {
        t->resume = false;
        if (!t->paused)
            return;
        t->paused = false;
        transfer_enter(t, t->stage);
        transfers.inside++;
        CURLcode code = curl_easy_pause(t->easy, CURLPAUSE_CONT); /* hands over what it had kept, so it may fail as a transfer does */
        transfers.inside--;
        if (code != CURLE_OK && !t->failure)
            t->failure = HTTP_FAILURE;
        if (code != CURLE_OK)
            transfer_list(t);
    }
}

void transfer_settle(void)
{
    if (transfers.inside || transfers.settling)
        return;
    transfers.settling = true;
    while (transfers.multi) {
        int left;
        struct CURLMsg *message = curl_multi_info_read(transfers.multi, &left);
        if (message && message->msg == CURLMSG_DONE) {
            struct http_transfer *t = NULL;
            CURLcode code = message->data.result;
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &t);
            if (!transfer_try_again(t, code))
                transfer_finish(t, code);
        } else if (transfers.listed) {
            struct http_transfer *t = transfers.listed;
            transfers.listed = t->next_listed;
            t->listed = false;
            attend(t);
        } else {
            break;
        }
    }
    transfers.settling = false;
    timer_stop(&transfers.soon);
}

bool transfer_open(struct loop *loop, struct err *err)
{
    static bool initialized;
    if (!initialized && curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return err_set(err, ERR_SYSTEM, "libcurl can't be used: its initialization failed");
    initialized = true;
    transfers.loop = loop;
    timer_stop(&transfers.idle);
    if (transfers.multi)
        return true;
    transfers.multi = curl_multi_init();
    if (!transfers.multi)
        return err_set(err, ERR_SYSTEM, "libcurl: no memory or descriptors");
    curl_multi_setopt(transfers.multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(transfers.multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(transfers.multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
    curl_multi_setopt(transfers.multi, CURLMOPT_MAXCONNECTS, 2L * HTTP_CONNECTIONS);
    return true;
}

void transfer_close_all(struct timer *unused)
{
    (void)unused;
    transfers.inside++;
    curl_multi_cleanup(transfers.multi);
    transfers.inside--;
    transfers.multi = NULL;
    timer_stop(&transfers.due);
}
