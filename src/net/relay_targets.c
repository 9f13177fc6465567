/* relay_targets.c - where a relay leads, and who waits for it.
 * As long as targets answer, each new connection tries by itself. When a whole round of tries has failed the relay is `down`: then one
 * connection at a time looks for a target, with growing pauses, and when it has found one all the others follow. */
#include "appliance/log.h"
#include "appliance/sys.h"
#include "relay_inner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    RETRY_FIRST_MS = 100,
    RETRY_MOST_MS = 1000,
    STARTS_A_TURN = 32, /* connections let through at once when a target is there again */
    TELL_MS = 10000,    /* between two lines about those whose time was over */
};

static void let_some_try(struct relay *);

static void retry_now(struct timer *t)
{
    let_some_try(RELAY_OWNER(t, struct relay, retry));
}

/* While down: one, when nobody is on his way. Else as many as one turn of the loop should have, and the others a turn later. */
static void let_some_try(struct relay *relay)
{
    int starts = 0;
    timer_stop(&relay->retry);
    while (relay->held.first && relay->target_count > 0) {
        if (relay->down ? relay->connecting > 0 || timer_is_started(&relay->retry) : starts == STARTS_A_TURN)
            break;
        struct relay_session *s = relay->held.first;
        list_remove(&relay->held, s);
        list_append(&relay->others, s);
        relay->connecting++;
        starts++;
        session_connect(s);
    }
    if (!relay->down && starts == STARTS_A_TURN && relay->held.first && !timer_is_started(&relay->retry))
        timer_start(&relay->retry, relay->loop, 0, retry_now);
}

/* Each waiting connection has a try of its own under way or is in `held`; behind those who came before it. */
void relay_welcome(struct relay_session *s)
{
    struct relay *relay = s->relay;
    list_append(&relay->held, s);
    if (!timer_is_started(&relay->retry))
        let_some_try(relay);
}

void relay_session_up(struct relay_session *s)
{
    struct relay *relay = s->relay;
    relay->connecting--;
    relay->flowing++;
    relay->served++;
    relay->preferred = s->index;
    relay->retry_ms = 0;
    if (!relay->down)
        return;
    relay->down = false;
    log_info("%s: %s answers", relay->name, s->address.text);
    timer_start(&relay->retry, relay->loop, 0, retry_now); /* not from here: whoever calls is in the midst of its own */
}

void relay_session_failed(struct relay_session *s, const struct err *err)
{
    struct relay *relay = s->relay;
    if (!relay->down && !s->overdue)
        log_warn("%s: no target answers (%s); connections wait up to %g s for one that does", relay->name, err->text,
                 (double)relay->hold_ms / 1000);
    relay->down = true;
    list_remove(&relay->others, s);
    list_prepend(&relay->held, s);
    relay->connecting--;
    session_hold(s);
    if (s->overdue)
        relay_session_expired(s);
    if (timer_is_started(&relay->retry))
        return;
    int64_t next_ms = relay->retry_ms * 2;
    relay->retry_ms = next_ms < RETRY_FIRST_MS ? RETRY_FIRST_MS : next_ms > RETRY_MOST_MS ? RETRY_MOST_MS : next_ms;
    timer_start(&relay->retry, relay->loop, relay->retry_ms, retry_now);
}

/* --- those whose time was over --- */

static void tell_expired(struct timer *t)
{
    struct relay *relay = RELAY_OWNER(t, struct relay, tell_again);
    uint64_t count = relay->expired - relay->told_expired;
    if (count == 0)
        return;
    relay->told_expired = relay->expired;
    log_warn("%s: %llu %s waited %g s and %s closed: %s", relay->name, (unsigned long long)count, count == 1 ? "connection" : "connections",
             (double)relay->hold_ms / 1000, count == 1 ? "was" : "were",
             relay->target_count > 0 ? "no target answers" : "there is no target");
    timer_start(t, relay->loop, TELL_MS, tell_expired);
}

void relay_session_expired(struct relay_session *s)
{
    struct relay *relay = s->relay;
    relay->expired++;
    session_close(s);
    if (!timer_is_started(&relay->tell_again))
        tell_expired(&relay->tell_again);
}

/* --- the targets --- */

static int place_of(const struct relay *relay, const struct relay_address *address)
{
    for (int i = 0; i < relay->target_count; i++)
        if (strcmp(relay->targets[i].text, address->text) == 0)
            return i;
    return -1;
}

static bool parse_all(struct relay_address *targets, const char *const *addresses, size_t count, struct err *err)
{
    for (size_t i = 0; i < count; i++)
        if (!relay_address_parse(&targets[i], addresses[i], err))
            return false;
    return true;
}

/* A server that has lost its quorum accepts and closes, one that hangs accepts and is silent; and a client that knows only this relay can't
 * try another one by itself. So when a client gives a connection up, or the target has ended it without a word, the next connection begins
 * at the next target. */
void relay_doubt(struct relay_session *s)
{
    struct relay *relay = s->relay;
    if (!s->doubted && relay->target_count > 1 && place_of(relay, &s->address) == relay->preferred)
        relay->preferred = (relay->preferred + 1) % relay->target_count;
    s->doubted = true;
}

/* What becomes of those who are connected, or about to be, to a target that is none any more. Returns how many were cut. */
static int leave_old_targets(struct relay *relay)
{
    int cut = 0;
    for (struct relay_session *s = relay->others.first, *next; s; s = next) {
        next = s->next;
        int place = place_of(relay, &s->address);
        if (s->state == CONNECTING && place < 0) {
            list_remove(&relay->others, s);
            list_prepend(&relay->held, s);
            relay->connecting--;
            session_hold(s);
        } else if (s->state == CONNECTING) {
            s->index = place;
            s->tries_left = relay->target_count;
        } else if (place < 0 && !relay->keep) {
            relay->cut++;
            cut++;
            session_reset(s);
        }
    }
    return cut;
}

static void tell_targets(const struct relay *relay, int cut)
{
    char where[200] = "", lost[80] = "";
    for (int i = 0; i < relay->target_count; i++) {
        size_t length = strlen(where);
        snprintf(where + length, sizeof where - length, "%s%s", i > 0 ? ", " : "", relay->targets[i].text);
    }
    if (cut > 0)
        snprintf(lost, sizeof lost, "; reset %d %s to where it led before", cut, cut == 1 ? "connection" : "connections");
    if (relay->target_count > 0)
        log_info("%s: leads to %s%s", relay->name, where, lost);
    else
        log_info("%s: leads nowhere%s; new connections wait up to %g s", relay->name, lost, (double)relay->hold_ms / 1000);
}

static bool are_same(const struct relay *relay, const struct relay_address *targets, size_t count)
{
    if ((size_t)relay->target_count != count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (strcmp(relay->targets[i].text, targets[i].text) != 0)
            return false;
    return true;
}

bool relay_target(struct relay *relay, const char *const *addresses, size_t count, struct err *err)
{
    if (count > RELAY_TARGETS)
        return err_set(err, ERR_INVALID, "%s: %zu targets: at most %d can be tried in turns", relay->name, count, RELAY_TARGETS);
    struct relay_address *targets = calloc(count + 1, sizeof *targets);
    if (!targets)
        return err_errno(err, "%s", relay->name);
    bool parsed = parse_all(targets, addresses, count, err);
    if (!parsed || are_same(relay, targets, count)) {
        free(targets);
        return parsed;
    }
    struct relay_address *old = relay->targets;
    struct relay_address preferred = relay->preferred < relay->target_count ? old[relay->preferred] : (struct relay_address){0};
    relay->targets = targets;
    relay->target_count = (int)count;
    free(old);
    int place = place_of(relay, &preferred);
    relay->preferred = place < 0 ? 0 : place;
    relay->down = false; /* nothing is known of the new ones */
    relay->retry_ms = 0;
    tell_targets(relay, leave_old_targets(relay));
    let_some_try(relay);
    return true;
}

/* Who looked for all the others has left. */
void relay_look_again(struct relay *relay)
{
    if (relay->down && !timer_is_started(&relay->retry))
        timer_start(&relay->retry, relay->loop, 0, retry_now);
}

void relay_stop_waiting(struct relay *relay)
{
    timer_stop(&relay->retry);
    timer_stop(&relay->tell_again);
}
