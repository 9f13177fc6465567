#include "appliance/credentials.h"

#include "credentials_slot.h"

#include <stdlib.h>

enum { ROLES_LIMIT = 256 };

struct credentials_store {
    struct credentials_world world;
    struct credentials_slot *slots; /* the first is the chain's own */
    struct credentials_ask *asks;   /* under way, the oldest first */
    struct timer settled;
    int roles;
};

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
    credentials_slot_free(slot);
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
    slot = credentials_slot_new(store, &store->world, role_arn, answer_all);
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
    switch (credentials_slot_ask(slot)) {
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
    if (!slot || !slot->refresh.held || credentials_slot_ask(slot) != REFRESH_USE)
        return NULL;
    if (generation)
        *generation = slot->refresh.generation;
    return &slot->keys;
}

bool credentials_refused(struct credentials_store *store, const char *role_arn, uint64_t generation)
{
    struct credentials_slot *slot = find(store, role_arn);
    return !slot || refresh_rejected(&slot->refresh, generation, credentials_slot_now_ms(slot));
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
    store->world.ahead_ms += ms;
    for (struct credentials_slot *slot = store->slots; slot; slot = slot->next)
        credentials_slot_arm(slot);
}

struct credentials_store *credentials_open(struct loop *loop, const struct credentials_spec *spec, struct err *err)
{
    struct credentials_store *store = calloc(1, sizeof *store);
    if (store)
        store->slots = credentials_slot_new(store, &store->world, NULL, answer_all);
    if (!store || !store->slots) {
        free(store);
        err_set(err, ERR_SYSTEM, "no memory for credentials");
        return NULL;
    }
    if (!credentials_world_open(&store->world, loop, spec, err)) {
        credentials_slot_free(store->slots);
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
        credentials_slot_free(slot);
    }
    credentials_world_close(&store->world);
    free(store);
}
