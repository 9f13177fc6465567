#include "appliance/credentials.h"

#include "appliance/aws_date.h"
#include "appliance/clock.h"
#include "appliance/credentials_fetch.h"
#include "appliance/credentials_refresh.h"
#include "appliance/log.h"
#include "credentials_inner.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    ROLES_LIMIT = 256,
    IDLE_LIVES = 2, /* so many fetches of a role without anybody asking for it, and it is let go */
};

/* The credentials of one role, or the chain's own. */
struct credentials_slot {
    struct credentials_store *store;
    struct credentials_slot *next;
    char *role_arn; /* NULL: the chain's own */
    struct credentials_refresh refresh;
    struct credentials keys; /* held, when refresh.held */
    const char *source;
    struct err failure; /* of the last fetch, when it failed */
    bool told;          /* that failure is in the log */
    int idle;           /* fetches since somebody asked */
    struct timer due;
    /* The fetch that is under way: the chain's, or for a role the chain's own credentials and an exchange. */
    struct credentials_fetch *fetch;
    struct credentials_ask base;
    struct credentials_exchange exchange;
    bool once_more; /* the base was said to be expired, and is asked again */
};

struct credentials_store {
    struct credentials_world world;
    struct credentials_slot *slots; /* the first is the chain's own */
    struct credentials_ask *asks;   /* under way, the oldest first */
    struct timer settled;
    int roles;
    int64_t ahead_ms; /* of the clocks: for tests, which can't wait for half a life */
};

static int64_t now_ms(const struct credentials_slot *slot)
{
    return clock_boot_ns() / NS_PER_MS + slot->store->ahead_ms;
}

static const char *name_of(const struct credentials_slot *slot)
{
    return slot->role_arn ? slot->role_arn : "credentials";
}

/* --- time: what sources tell is wall time, what refresh reckons with is not --- */

static int64_t wall_ms(const struct credentials_slot *slot)
{
    return clock_wall_ms() + slot->store->ahead_ms;
}

static int64_t boot_of(const struct credentials_slot *slot, int64_t wall)
{
    return wall == CREDENTIALS_NEVER ? REFRESH_NEVER : now_ms(slot) + (wall - wall_ms(slot));
}

/* An end that was put off must be seen by those who get the keys. */
static void show_end(struct credentials_slot *slot)
{
    if (slot->refresh.extended)
        slot->keys.expires_wall_ms = wall_ms(slot) + (slot->refresh.expires_ms - now_ms(slot));
}

/* --- answers --- */

static void settle_asks(struct timer *);

static void settle(struct credentials_ask *ask)
{
    struct credentials_slot *slot = ask->slot;
    ask->settled = true;
    ask->ok = credentials_copy(&ask->keys, &slot->keys, &ask->err);
    ask->source = slot->source;
    ask->generation = slot->refresh.generation;
    ask->extended = slot->refresh.extended;
}

static void settle_with(struct credentials_ask *ask, const struct err *err)
{
    ask->settled = true;
    ask->err = *err;
}

static void answer_soon(struct credentials_store *store)
{
    timer_start(&store->settled, store->world.loop, 0, settle_asks);
}

static struct credentials_ask *take_settled(struct credentials_store *store)
{
    for (struct credentials_ask **at = &store->asks; *at; at = &(*at)->next)
        if ((*at)->settled) {
            struct credentials_ask *ask = *at;
            *at = ask->next;
            ask->store = NULL;
            return ask;
        }
    return NULL;
}

/* One at a time, each from a turn of its own: whoever is told may stop others, ask again, or close the store. */
static void settle_asks(struct timer *timer)
{
    struct credentials_store *store = (struct credentials_store *)(void *)((char *)timer - offsetof(struct credentials_store, settled));
    struct credentials_ask *ask = take_settled(store);
    if (!ask)
        return;
    answer_soon(store); /* before the call, in which the store may go away */
    ask->done(ask);
}

static void answer_all(struct credentials_slot *slot, const struct err *err)
{
    for (struct credentials_ask *ask = slot->store->asks; ask; ask = ask->next) {
        if (ask->slot != slot || ask->settled)
            continue;
        if (err)
            settle_with(ask, err);
        else
            settle(ask);
    }
    answer_soon(slot->store);
}

/* --- fetching --- */

static void begin_fetch(struct credentials_slot *);
static void arm(struct credentials_slot *);

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
    struct refresh_step step = refresh_failed(&slot->refresh, now_ms(slot), is_lasting(&slot->failure), credentials_dice());
    if (step.extended)
        warn_extended(slot);
    if (step.answer == REFRESH_FAILED) {
        answer_all(slot, &slot->failure);
    } else {
        if (!slot->told)
            log_warn("%s: newer ones can't be had, the present ones are used meanwhile: %s", name_of(slot), slot->failure.text);
        slot->told = true;
        answer_all(slot, NULL);
    }
    arm(slot);
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
    struct refresh_step step = refresh_fetched(&slot->refresh, now_ms(slot), boot_of(slot, end), is_same(slot, keys), credentials_dice());
    if (step.answer == REFRESH_FAILED) {
        char until[AWS_DATE_ISO_SIZE];
        aws_date_iso(until, end);
        err_set(&slot->failure, ERR_PROTOCOL, "%s: what came from %s had expired at %s: is the clock of this machine right?", name_of(slot),
                source, until);
        end_fetch(slot);
        answer_all(slot, &slot->failure);
        arm(slot);
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
    answer_all(slot, NULL);
    arm(slot);
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
        credentials_exchange_start(&slot->exchange, &slot->store->world, &role, &base->keys, NULL, exchanged);
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
    credentials_fetch_start(slot->fetch, &slot->store->world, chain_done, slot);
}

static void is_due(struct timer *timer)
{
    struct credentials_slot *slot = (struct credentials_slot *)(void *)((char *)timer - offsetof(struct credentials_slot, due));
    bool is_time = now_ms(slot) >= refresh_due(&slot->refresh);
    if (slot->role_arn && is_time && slot->idle++ >= IDLE_LIVES)
        return; /* nobody has asked for long: whoever does begins anew */
    struct refresh_step step = refresh_timed(&slot->refresh, now_ms(slot), credentials_dice());
    if (step.extended)
        warn_extended(slot);
    if (step.fetch)
        begin_fetch(slot);
    else
        arm(slot);
}

static void arm(struct credentials_slot *slot)
{
    enum { LEAST_MS = 20, LONGEST_MS = 3600 * 1000 }; /* the timer's clock stands still in a suspend: looked at again after an hour */
    int64_t due = refresh_due(&slot->refresh);
    timer_stop(&slot->due);
    if (due == REFRESH_NEVER || !slot->refresh.held)
        return; /* with nothing held, the next who asks begins */
    int64_t delay = due - now_ms(slot);
    delay = delay < LEAST_MS ? LEAST_MS : delay < LONGEST_MS ? delay : LONGEST_MS;
    timer_start(&slot->due, slot->store->world.loop, delay, is_due);
}

/* --- slots --- */

static struct credentials_slot *find(const struct credentials_store *store, const char *role_arn)
{
    if (!role_arn)
        return store->slots;
    for (struct credentials_slot *slot = store->slots->next; slot; slot = slot->next)
        if (strcmp(slot->role_arn, role_arn) == 0)
            return slot;
    return NULL;
}

static void free_slot(struct credentials_slot *slot)
{
    timer_stop(&slot->due);
    end_fetch(slot);
    credentials_free(&slot->keys);
    free(slot->role_arn);
    free(slot);
}

static struct credentials_slot *new_slot(struct credentials_store *store, const char *role_arn)
{
    struct credentials_slot *slot = calloc(1, sizeof *slot);
    if (!slot)
        return NULL;
    slot->store = store;
    slot->role_arn = role_arn ? strdup(role_arn) : NULL;
    if (role_arn && !slot->role_arn) {
        free(slot);
        return NULL;
    }
    refresh_init(&slot->refresh, false);
    return slot;
}

static bool is_wanted(const struct credentials_slot *slot)
{
    for (const struct credentials_ask *ask = slot->store->asks; ask; ask = ask->next)
        if (ask->slot == slot)
            return true;
    return slot->refresh.in_flight;
}

/* Makes room for another role: of those that nobody waits for, the one that was asked for the longest ago. */
static bool drop_one(struct credentials_store *store)
{
    struct credentials_slot **victim = NULL;
    for (struct credentials_slot **at = &store->slots->next; *at; at = &(*at)->next)
        if (!is_wanted(*at))
            victim = at; /* new ones come first */
    if (!victim)
        return false;
    struct credentials_slot *slot = *victim;
    *victim = slot->next;
    free_slot(slot);
    store->roles--;
    return true;
}

static struct credentials_slot *find_or_make(struct credentials_store *store, const char *role_arn, struct err *err)
{
    struct credentials_slot *slot = find(store, role_arn);
    if (slot)
        return slot;
    const struct recipe_role role = {.role_arn = role_arn};
    if (!recipe_role_check(&role, "role", err))
        return NULL;
    if (store->roles >= ROLES_LIMIT && !drop_one(store)) {
        err_set(err, ERR_CONFLICT, "%.100s: %d roles are asked for at once, which is all there is room for", role_arn, ROLES_LIMIT);
        return NULL;
    }
    slot = new_slot(store, role_arn);
    if (!slot) {
        err_set(err, ERR_SYSTEM, "no memory for the credentials of %.100s", role_arn);
        return NULL;
    }
    slot->next = store->slots->next;
    store->slots->next = slot;
    store->roles++;
    return slot;
}

/* --- asking --- */

/* Somebody needs them: looks at the state, and begins a fetch where one is due. */
static enum refresh_answer look_at(struct credentials_slot *slot)
{
    slot->idle = 0;
    struct refresh_step step = refresh_asked(&slot->refresh, now_ms(slot), credentials_dice());
    if (step.extended)
        warn_extended(slot);
    if (step.fetch)
        begin_fetch(slot);
    else if (!slot->refresh.in_flight && !timer_is_started(&slot->due))
        arm(slot);
    return step.answer;
}

bool credentials_ask_start(struct credentials_ask *ask, struct credentials_store *store, const char *role_arn,
                           void (*done)(struct credentials_ask *), struct err *err)
{
    memset(ask, 0, sizeof *ask);
    struct credentials_slot *slot = find_or_make(store, role_arn, err);
    if (!slot)
        return false;
    ask->done = done;
    ask->store = store;
    ask->slot = slot;
    struct credentials_ask **last = &store->asks;
    while (*last)
        last = &(*last)->next;
    *last = ask;
    switch (look_at(slot)) {
    case REFRESH_USE: settle(ask); break;
    case REFRESH_FAILED: settle_with(ask, &slot->failure); break;
    case REFRESH_WAIT: return true; /* unless begin_fetch failed at once, and has settled it */
    }
    answer_soon(store);
    return true;
}

void credentials_ask_stop(struct credentials_ask *ask)
{
    credentials_free(&ask->keys);
    if (!ask->store)
        return;
    for (struct credentials_ask **at = &ask->store->asks; *at; at = &(*at)->next)
        if (*at == ask) {
            *at = ask->next;
            break;
        }
    ask->store = NULL;
}

const struct credentials *credentials_held(struct credentials_store *store, const char *role_arn, uint64_t *generation)
{
    struct credentials_slot *slot = find(store, role_arn);
    if (!slot || !slot->refresh.held || look_at(slot) != REFRESH_USE)
        return NULL;
    if (generation)
        *generation = slot->refresh.generation;
    return &slot->keys;
}

bool credentials_refused(struct credentials_store *store, const char *role_arn, uint64_t generation)
{
    struct credentials_slot *slot = find(store, role_arn);
    return !slot || refresh_rejected(&slot->refresh, generation, now_ms(slot));
}

bool credentials_is_asked(const struct credentials_store *store)
{
    return store->asks || store->world.regions;
}

struct credentials_look *credentials_look_now(struct credentials_store *store, struct err *err)
{
    return credentials_world_look(&store->world, err);
}

struct imds *credentials_imds(struct credentials_store *store)
{
    struct credentials_look *look = credentials_world_look(&store->world, NULL);
    credentials_look_free(look);
    return store->world.imds;
}

void credentials_region_start(struct credentials_region *ask, struct credentials_store *store, void (*done)(struct credentials_region *))
{
    credentials_region_begin(ask, &store->world, done);
}

/* --- the store --- */

void credentials_pass_time(struct credentials_store *store, int64_t ms)
{
    store->ahead_ms += ms;
    for (struct credentials_slot *slot = store->slots; slot; slot = slot->next)
        arm(slot);
}

struct credentials_store *credentials_open(struct loop *loop, const struct credentials_spec *spec, struct err *err)
{
    struct credentials_store *store = calloc(1, sizeof *store);
    if (store)
        store->slots = new_slot(store, NULL);
    if (!store || !store->slots) {
        free(store);
        err_set(err, ERR_SYSTEM, "no memory for credentials");
        return NULL;
    }
    if (!credentials_world_open(&store->world, loop, spec, err)) {
        free_slot(store->slots);
        free(store);
        return NULL;
    }
    return store;
}

void credentials_close(struct credentials_store *store)
{
    if (!store)
        return;
    while (store->asks) { /* they keep what they have, and hear nothing */
        struct credentials_ask *ask = store->asks;
        store->asks = ask->next;
        ask->store = NULL;
    }
    timer_stop(&store->settled);
    for (struct credentials_slot *slot = store->slots, *next; slot; slot = next) {
        next = slot->next;
        free_slot(slot);
    }
    credentials_world_close(&store->world);
    free(store);
}
