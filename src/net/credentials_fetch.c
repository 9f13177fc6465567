#include "appliance/credentials_fetch.h"

#include "appliance/credentials_document.h"
#include "credentials_inner.h"

#include <stdio.h>
#include <stdlib.h>

#define OF(pointer, member) ((struct credentials_fetch *)(void *)((char *)(pointer)-offsetof(struct credentials_fetch, member)))

static void fail(struct credentials_fetch *f, const struct err *err)
{
    f->err = *err;
    f->done(f); /* may free it */
}

static void role_assumed(struct credentials_exchange *);

/* The keys are those of the base, or of the role before: on to the next role, or done. */
static void go_on(struct credentials_fetch *f)
{
    const struct credentials_recipe *recipe = &f->look->chain.recipe;
    if (++f->role < recipe->role_count) {
        credentials_exchange_start(&f->exchange, f->world, &recipe->roles[f->role], &f->keys, NULL, role_assumed);
        return;
    }
    f->ok = true;
    f->keeps_expired = recipe->base == RECIPE_IMDS && recipe->role_count == 0;
    f->done(f);
}

static void take(struct credentials_fetch *f, struct credentials *keys)
{
    credentials_free(&f->keys);
    f->keys = *keys;
    *keys = (struct credentials){0};
}

/* --- what came of each --- */

static void role_assumed(struct credentials_exchange *exchange)
{
    struct credentials_fetch *f = OF(exchange, exchange);
    if (!exchange->ok) {
        fail(f, &exchange->err);
        return;
    }
    take(f, &exchange->keys);
    credentials_exchange_stop(exchange);
    go_on(f);
}

static void instance_told(struct imds_get *get)
{
    struct credentials_fetch *f = OF(get, imds);
    if (!get->ok) {
        fail(f, &get->err);
        return;
    }
    take(f, &get->keys);
    go_on(f);
}

static void agent_told(struct credentials_agent *agent)
{
    struct credentials_fetch *f = OF(agent, agent);
    if (!agent->ok) {
        fail(f, &agent->err);
        return;
    }
    take(f, &agent->keys);
    go_on(f);
}

static void process_ended(struct credentials_process *process)
{
    struct credentials_fetch *f = OF(process, process);
    struct credentials keys;
    struct err err = process->err;
    if (!process->ok || !credentials_document_read(DOCUMENT_PROCESS, buf_bytes(&process->output), f->name, &keys, &err)) {
        fail(f, &err);
        return;
    }
    take(f, &keys);
    go_on(f);
}

/* --- the base --- */

static bool begin(struct credentials_fetch *f, struct err *err)
{
    const struct credentials_recipe *recipe = &f->look->chain.recipe;
    switch (recipe->base) {
    case RECIPE_KEYS:
        if (!credentials_recipe_keys(recipe, &f->keys, err))
            return false;
        go_on(f);
        return true;
    case RECIPE_WEB_IDENTITY:
        credentials_exchange_start(&f->exchange, f->world, &recipe->web, NULL, recipe->token_file, role_assumed);
        return true;
    case RECIPE_PROCESS:
        snprintf(f->name, sizeof f->name, "the credential_process of profile %.60s", recipe->profile);
        return credentials_process_start(&f->process, f->world->loop, f->name, recipe->command, credentials_world_environment(f->world),
                                         CREDENTIALS_PROCESS_MS, process_ended, err);
    case RECIPE_CONTAINER:
        credentials_agent_start(&f->agent, f->world->loop, &f->look->chain.container, f->ca_file[0] ? f->ca_file : NULL, agent_told);
        return true;
    case RECIPE_IMDS: return imds_get_start(&f->imds, f->world->imds, NULL, instance_told, err);
    case RECIPE_ENVIRONMENT: /* the chain has put its keys into the recipe */
    case RECIPE_NOTHING: break;
    }
    return err_set(err, ERR_INVALID, "the chain of credentials has no source");
}

static void look(struct timer *timer)
{
    struct credentials_fetch *f = OF(timer, soon);
    struct err err = {0};
    f->look = credentials_world_look(f->world, &err);
    if (f->look && f->look->answer != CREDENTIALS_READY)
        err = f->look->err;
    if (err.kind != ERR_NONE) {
        fail(f, &err);
        return;
    }
    const char *ca_file = f->world->spec.ca_file ? f->world->spec.ca_file : credentials_look_ca_file(f->look);
    snprintf(f->ca_file, sizeof f->ca_file, "%s", ca_file ? ca_file : "");
    f->source = (enum credentials_source)f->look->chain.chosen;
    if (!begin(f, &err))
        fail(f, &err);
}

void credentials_fetch_start(struct credentials_fetch *f, struct credentials_world *world, void (*done)(struct credentials_fetch *),
                             void *owner)
{
    memset(f, 0, sizeof *f);
    f->done = done;
    f->owner = owner;
    f->world = world;
    f->role = -1;
    timer_start(&f->soon, world->loop, 0, look);
}

void credentials_fetch_stop(struct credentials_fetch *f)
{
    timer_stop(&f->soon);
    imds_get_stop(&f->imds);
    credentials_agent_stop(&f->agent);
    credentials_process_stop(&f->process);
    credentials_exchange_stop(&f->exchange);
    credentials_free(&f->keys);
    credentials_look_free(f->look);
    f->look = NULL;
}
