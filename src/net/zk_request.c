/* zk_request.c - from the caller to the library and back: who waits for a connection, who for an answer. */
#include "appliance/clock.h"
#include "zk_inner.h"

#include <stdlib.h>
#include <string.h>

/* What came back, kept until the request is stopped: the message, and the results of a multi. */
struct zk_answer {
    struct zk_message *message;
    struct zk_multi *multi;
};

const char *zk_verb_name(enum zk_verb verb)
{
    static const char *const names[] = {"get", "exists", "children", "set", "create", "delete", "sync", "rights", "check", "multi"};
    return names[verb];
}

/* --- two lists, first in, first out --- */

void zk_requests_init(struct zk_client *c)
{
    c->waiting_end = &c->waiting;
    c->sent_end = &c->sent;
}

static void list(struct zk_request *r, struct zk_request ***end)
{
    r->next = NULL;
    r->at = *end;
    **end = r;
    *end = &r->next;
}

static void unlist(struct zk_request *r)
{
    struct zk_client *c = r->client;
    if (!r->at)
        return;
    *r->at = r->next;
    if (r->next)
        r->next->at = r->at;
    else if (c->waiting_end == &r->next)
        c->waiting_end = r->at;
    else
        c->sent_end = r->at;
    r->at = NULL;
    timer_stop(&r->limit);
    c->requests--;
    c->bytes -= r->size;
}

static void end(struct zk_request *r, int code)
{
    unlist(r);
    r->code = code;
    r->ended(r);
}

static void limit_over(struct timer *timer)
{
    struct zk_request *r = (struct zk_request *)(void *)((char *)timer - offsetof(struct zk_request, limit));
    end(r, ZK_CONNECTIONLOSS);
}

/* --- sending --- */

static uint64_t next_id(struct zk_client *c)
{
    if (++c->last_id == 0)
        c->last_id = 1;
    return (uint64_t)zk_handle_tag(c->handle) << 32 | c->last_id;
}

static int hand_over(struct zk_request *r)
{
    struct zk_client *c = r->client;
    r->id = next_id(c);
    r->session = zk_client_view(c)->id;
    uint64_t point = r->watch ? zk_point_arm(r->watch, zk_handle_tag(c->handle)) : 0;
    r->sent_ns = clock_boot_ns(); /* before, so that it is never later than what the server saw */
    return zk_handle_send(c->handle, r, point);
}

void zk_requests_flush(struct zk_client *c)
{
    while (c->waiting && c->handle && zk_client_view(c)->state == ZK_CONNECTED) {
        struct zk_request *r = c->waiting;
        int code = hand_over(r);
        if (code == ZK_CONNECTIONLOSS) { /* the library knows of a loss that we shall hear of next */
            r->sent_ns = 0;
            return;
        }
        if (code != ZK_OK) {
            end(r, code);
            continue;
        }
        unlist(r);
        c->requests++;
        c->bytes += r->size;
        list(r, &c->sent_end);
    }
}

static void wait_for_connection(struct zk_request *r)
{
    struct zk_client *c = r->client;
    const struct zk_view *view = zk_client_view(c);
    r->session = view->id;
    r->sent_ns = 0;
    list(r, &c->waiting_end);
    timer_start(&r->limit, c->loop, view->timeout_ms > 0 ? view->timeout_ms : c->session_ms, limit_over);
}

static int fault_of_part(const struct zk_part *part, struct err *err)
{
    bool is_sequential = part->verb == ZK_CREATE && (part->mode & ZK_SEQUENTIAL);
    size_t length = strlen(part->path);
    const char *fault = length >= ZK_PATH_SIZE ? "it is too long" : zk_path_fault(part->path, length, is_sequential);
    if (!fault)
        return ZK_OK;
    char shown[80];
    err_set(err, ERR_INVALID, "zk %s %s: %s (BADARGUMENTS)", zk_verb_name(part->verb),
            bytes_shown(bytes_of(part->path), shown, sizeof shown), fault);
    if (err)
        err->code = ZK_BADARGUMENTS;
    return ZK_BADARGUMENTS;
}

static bool check(struct zk_request *r, const struct zk_client *c, struct err *err)
{
    const struct zk_part *parts = r->what.verb == ZK_MULTI ? r->parts : &r->what;
    int count = r->what.verb == ZK_MULTI ? r->part_count : 1;
    const char *verb = zk_verb_name(r->what.verb), *path = r->what.verb == ZK_MULTI ? NULL : r->what.path;
    r->size = 0;
    for (int i = 0; i < count; i++) {
        if (fault_of_part(&parts[i], err) != ZK_OK)
            return false;
        r->size += parts[i].data.length + strlen(parts[i].path) + (count > 1 ? 64 : 0);
    }
    if (r->size > ZK_DATA)
        return zk_fail(err, ZK_TOOLARGE, verb, path);
    if (c->closed)
        return zk_fail(err, ZK_CLOSING, verb, path);
    if (c->requests >= ZK_REQUESTS || c->bytes + r->size > ZK_BYTES)
        return zk_fail(err, ZK_QUEUEFULL, verb, path);
    return true;
}

bool zk_request_start(struct zk_request *r, struct zk_client *c, struct err *err)
{
    if (!check(r, c, err))
        return false;
    r->client = c;
    c->users++;
    c->requests++;
    c->bytes += r->size;
    if (r->watch)
        r->watch->is_fired = false;
    /* Nobody overtakes who waits already. */
    if (zk_client_view(c)->state != ZK_CONNECTED || c->waiting) {
        wait_for_connection(r);
        return true;
    }
    int code = hand_over(r);
    if (code == ZK_OK) {
        list(r, &c->sent_end);
        return true;
    }
    if (code == ZK_CONNECTIONLOSS) { /* the library knows of a loss that we shall hear of next */
        wait_for_connection(r);
        return true;
    }
    c->requests--;
    c->bytes -= r->size;
    zk_client_unuse(c);
    r->client = NULL;
    return zk_fail(err, code, zk_verb_name(r->what.verb), r->what.path);
}

void zk_request_stop(struct zk_request *r)
{
    if (r->client) {
        unlist(r);
        zk_client_unuse(r->client);
    }
    r->client = NULL;
    if (r->answer) {
        free(r->answer->message);
        zk_multi_free(r->answer->multi);
        free(r->answer);
    }
    r->answer = NULL;
}

/* --- answers --- */

/* `ended` only wakes a task, so nothing joins or leaves a list meanwhile but by us. */
static void fail_list(struct zk_request *first, int code, bool with_session_only)
{
    for (struct zk_request *r = first, *next; r; r = next) {
        next = r->next;
        if (!with_session_only || r->session != 0)
            end(r, code);
    }
}

/* Who came while there was no session yet waits on for the next one; who knew the one that has expired must hear of it. */
void zk_requests_fail(struct zk_client *c, int code)
{
    fail_list(c->sent, code, false);
    fail_list(c->waiting, code, code == ZK_SESSIONEXPIRED);
}

static struct zk_request *find_sent(struct zk_client *c, uint64_t id)
{
    struct zk_request *r = c->sent; /* answers come in order, so it is the first, or those before it were given up */
    while (r && r->id != id)
        r = r->next;
    return r;
}

static bool keep(struct zk_request *r, struct zk_client *c, struct zk_message *m)
{
    r->answer = calloc(1, sizeof *r->answer);
    if (!r->answer)
        return false;
    r->answer->message = m;
    r->has_stat = m->has_stat;
    r->stat = m->stat;
    r->text = (struct bytes){m->data, m->length};
    r->count = m->count;
    if (m->multi) {
        zk_multi_take(c->handle, m->multi);
        r->answer->multi = m->multi;
        r->outcomes = zk_multi_outcomes(m->multi, &r->count);
        m->multi = NULL;
    }
    return true;
}

bool zk_requests_answer(struct zk_client *c, struct zk_message *m)
{
    struct zk_request *r = find_sent(c, m->id);
    /* How the library calls a connection that it has cut: for its silence, or for an answer to something else. */
    if (m->code == ZK_OPERATIONTIMEOUT || m->code == ZK_RUNTIME)
        m->code = ZK_CONNECTIONLOSS;
    bool is_kept = r && keep(r, c, m);
    zk_handle_answered(c->handle, m->multi);
    if (r)
        end(r, is_kept ? m->code : ZK_NOMEMORY);
    return is_kept;
}
