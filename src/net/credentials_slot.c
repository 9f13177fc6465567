#include "credentials_slot.h"

#include "appliance/aws_date.h"
#include "appliance/clock.h"
#include "appliance/log.h"

#include <stdlib.h>

enum { IDLE_LIVES = 2 }; /* so many fetches of a role without anybody asking for it, and it is let go */

static const char *name_of(const struct credentials_slot *slot)
{
    return slot->role_arn ? slot->role_arn : "credentials";
}

int64_t credentials_slot_now_ms(const struct credentials_slot *slot)
{
    return clock_boot_ns() / NS_PER_MS + slot->world->ahead_ms;
}

/* --- time: what sources tell is wall time, what refresh reckons with is not --- */

static int64_t wall_ms(const struct credentials_slot *slot)
{
    return clock_wall_ms() + slot->world->ahead_ms;
}

static int64_t boot_of(const struct credentials_slot *slot, int64_t wall)
{
    return wall == CREDENTIALS_NEVER ? REFRESH_NEVER : credentials_slot_now_ms(slot) + (wall - wall_ms(slot));
}

/* An end that was put off must be seen by those who get the keys. */
static void show_end(struct credentials_slot *slot)
{
    if (slot->refresh.extended)
        slot->keys.expires_wall_ms = wall_ms(slot) + (slot->refresh.expires_ms - credentials_slot_now_ms(slot));
}

/* --- fetching --- */

static void begin_fetch(struct credentials_slot *);

static void warn_extended(struct credentials_slot *slot)
{
    show_end(slot);
    char until[AWS_DATE_ISO_SIZE];
    aws_date_iso(until, slot->keys.expires_wall_ms);
    log_warn("%s: the time of the present ones is over and %s gives no newer ones: they are used until %s all the same, and each service "
             "decides whether it takes them",
             name_of(slot), slot->source, until);
}

static bool is_lasting(const struct err *err)
{
    return err->kind == ERR_DENIED || err->kind == ERR_MISSING || err->kind == ERR_INVALID;
}

static void end_fetch(struct credentials_slot *slot)
{
    if (slot->fetch)
        credentials_fetch_stop(slot->fetch);
    free(slot->fetch);
    slot->fetch = NULL;
    credentials_ask_stop(&slot->base);
    credentials_exchange_stop(&slot->exchange);
}

static void failed(struct credentials_slot *slot, const struct err *why)
{
    slot->failure = *why;
    end_fetch(slot);
    struct refresh_step step =
        refresh_failed(&slot->refresh, credentials_slot_now_ms(slot), is_lasting(&slot->failure), credentials_dice());
    if (step.extended)
        warn_extended(slot);
    if (step.answer == REFRESH_FAILED) {
        slot->settled(slot, &slot->failure);
    } else {
        if (!slot->told)
            log_warn("%s: newer ones can't be had, the present ones are used meanwhile: %s", name_of(slot), slot->failure.text);
        slot->told = true;
        slot->settled(slot, NULL);
    }
    credentials_slot_arm(slot);
}

static bool is_same(const struct credentials_slot *slot, const struct credentials *keys)
{
    const char *held = slot->keys.session_token ? slot->keys.session_token : "", *came = keys->session_token ? keys->session_token : "";
    return slot->refresh.held && strcmp(slot->keys.access_key_id, keys->access_key_id) == 0 &&
           strcmp(slot->keys.secret_access_key, keys->secret_access_key) == 0 && strcmp(held, came) == 0;
}

static void fetched(struct credentials_slot *slot, struct credentials *keys, const char *source, bool keeps_expired)
{
    int64_t end = keys->expires_wall_ms;
    slot->refresh.keeps_expired = keeps_expired;
    uint64_t generation = slot->refresh.generation;
    struct refresh_step step =
        refresh_fetched(&slot->refresh, credentials_slot_now_ms(slot), boot_of(slot, end), is_same(slot, keys), credentials_dice());
    if (step.answer == REFRESH_FAILED) {
        char until[AWS_DATE_ISO_SIZE];
        aws_date_iso(until, end);
        err_set(&slot->failure, ERR_PROTOCOL, "%s: what came from %s had expired at %s: is the clock of this machine right?", name_of(slot),
                source, until);
        end_fetch(slot);
        slot->settled(slot, &slot->failure);
        credentials_slot_arm(slot);
        return;
    }
    if (slot->told)
        log_info("%s: newer ones can be had again", name_of(slot));
    else if (generation == 0)
        log_debug("%s: from %s", name_of(slot), source);
    slot->told = false;
    credentials_free(&slot->keys);
    slot->keys = *keys;
    *keys = (struct credentials){0};
    slot->source = source;
    if (step.extended)
        warn_extended(slot);
    show_end(slot);
    end_fetch(slot);
    slot->settled(slot, NULL);
    credentials_slot_arm(slot);
}

static void chain_done(struct credentials_fetch *fetch)
{
    struct credentials_slot *slot = fetch->owner;
    if (fetch->ok)
        fetched(slot, &fetch->keys, credentials_source_name(fetch->source), fetch->keeps_expired);
    else
        failed(slot, &fetch->err);
}

static void exchanged(struct credentials_exchange *exchange)
{
    struct credentials_slot *slot = (struct credentials_slot *)(void *)((char *)exchange - offsetof(struct credentials_slot, exchange));
    if (exchange->ok) {
        fetched(slot, &exchange->keys, "assumed role", false);
    } else if (exchange->expired && !slot->once_more && credentials_refused(slot->store, NULL, slot->base.generation)) {
        end_fetch(slot);
        begin_fetch(slot);
        slot->once_more = true;
    } else {
        failed(slot, &exchange->err);
    }
}

static void base_told(struct credentials_ask *base)
{
    struct credentials_slot *slot = (struct credentials_slot *)(void *)((char *)base - offsetof(struct credentials_slot, base));
    const struct recipe_role role = {.role_arn = slot->role_arn};
    if (base->ok)
        credentials_exchange_start(&slot->exchange, slot->world, &role, &base->keys, NULL, exchanged);
    else
        failed(slot, &base->err);
}

static void begin_fetch(struct credentials_slot *slot)
{
    struct err err;
    timer_stop(&slot->due);
    slot->once_more = false;
    if (slot->role_arn) {
        if (!credentials_ask_start(&slot->base, slot->store, NULL, base_told, &err))
            failed(slot, &err);
        return;
    }
    slot->fetch = malloc(sizeof *slot->fetch);
    if (!slot->fetch) {
        err_set(&err, ERR_SYSTEM, "no memory to fetch credentials");
        failed(slot, &err);
        return;
    }
    credentials_fetch_start(slot->fetch, slot->world, chain_done, slot);
}

static void is_due(struct timer *timer)
{
    struct credentials_slot *slot = (struct credentials_slot *)(void *)((char *)timer - offsetof(struct credentials_slot, due));
    bool is_time = credentials_slot_now_ms(slot) >= refresh_due(&slot->refresh);
    if (slot->role_arn && is_time && slot->idle++ >= IDLE_LIVES)
        return; /* nobody has asked for long: whoever does begins anew */
    struct refresh_step step = refresh_timed(&slot->refresh, credentials_slot_now_ms(slot), credentials_dice());
    if (step.extended)
        warn_extended(slot);
    if (step.fetch)
        begin_fetch(slot);
    else
        credentials_slot_arm(slot);
}

void credentials_slot_arm(struct credentials_slot *slot)
{
    enum { LEAST_MS = 20, LONGEST_MS = 3600 * 1000 }; /* the timer's clock stands still in a suspend: looked at again after an hour */
    int64_t due = refresh_due(&slot->refresh);
    timer_stop(&slot->due);
    if (due == REFRESH_NEVER || !slot->refresh.held)
        return; /* with nothing held, the next who asks begins */
    int64_t delay = due - credentials_slot_now_ms(slot);
    delay = delay < LEAST_MS ? LEAST_MS : delay < LONGEST_MS ? delay : LONGEST_MS;
    timer_start(&slot->due, slot->world->loop, delay, is_due);
}

enum refresh_answer credentials_slot_ask(struct credentials_slot *slot)
{
    slot->idle = 0;
    struct refresh_step step = refresh_asked(&slot->refresh, credentials_slot_now_ms(slot), credentials_dice());
    if (step.extended)
        warn_extended(slot);
    if (step.fetch)
        begin_fetch(slot);
    else if (!slot->refresh.in_flight && !timer_is_started(&slot->due))
        credentials_slot_arm(slot);
    return step.answer;
}

void credentials_slot_free(struct credentials_slot *slot)
{
    timer_stop(&slot->due);
    end_fetch(slot);
    credentials_free(&slot->keys);
    free(slot->role_arn);
    free(slot);
}

struct credentials_slot *credentials_slot_new(struct credentials_store *store, struct credentials_world *world, const char *role_arn,
                                              void (*settled)(struct credentials_slot *, const struct err *))
{
    struct credentials_slot *slot = calloc(1, sizeof *slot);
    if (!slot)
        return NULL;
    slot->store = store;
    slot->world = world;
    slot->settled = settled;
    slot->role_arn = role_arn ? strdup(role_arn) : NULL;
    if (role_arn && !slot->role_arn) {
        free(slot);
        return NULL;
    }
    refresh_init(&slot->refresh, false);
    return slot;
}
