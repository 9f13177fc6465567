#include "credentials_inner.h"

#include "appliance/aws_region.h"
#include "appliance/clock.h"
#include "appliance/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

/* --- small things --- */

uint32_t credentials_dice(void)
{
    uint32_t value;
    /* Early at boot there may be no random yet: then the clock's last bits have to do. */
    if (getrandom(&value, sizeof value, GRND_NONBLOCK) != sizeof value)
        value = (uint32_t)((uint64_t)clock_ns() * UINT64_C(0x9e3779b97f4a7c15) >> 32);
    return value;
}

void credentials_buf_wipe(struct buf *buf)
{
    if (buf->data)
        explicit_bzero(buf->data, buf->capacity);
    buf_free(buf);
}

void credentials_headers_wipe(struct headers *headers)
{
    if (headers->text.data)
        explicit_bzero(headers->text.data, headers->text.capacity);
    headers_free(headers);
}

void credentials_fetch_wipe(struct http_fetch *fetch)
{
    if (fetch->body.data)
        explicit_bzero(fetch->body.data, fetch->body.capacity);
    http_fetch_stop(fetch);
}

int64_t credentials_pause_ms(int tries, uint32_t random)
{
    enum { LEAST_MS = 50, FIRST_MS = 500, MOST_MS = 20000 };
    int64_t span = FIRST_MS;
    for (int i = 1; i < tries && span < MOST_MS; i++)
        span *= 2;
    return LEAST_MS + (int64_t)((uint64_t)(span < MOST_MS ? span : MOST_MS) * random >> 32);
}

/* --- the chain as it stands --- */

static void tell_notes(struct credentials_world *world, const struct credentials_look *look)
{
    if (world->notes_told)
        return;
    world->notes_told = true;
    for (size_t i = 0; i < look->profiles.note_count; i++) {
        const struct profile_note *note = &look->profiles.notes[i];
        if (!note->fault)
            log_warn("%s:%d: %s", look->profiles.texts[note->file].path, note->line, note->text);
    }
}

char *const *credentials_world_environment(const struct credentials_world *world)
{
    return world->spec.environment ? world->spec.environment : environ;
}

struct credentials_look *credentials_world_look(struct credentials_world *world, struct err *err)
{
    struct credentials_look *look = malloc(sizeof *look);
    if (!look) {
        err_set(err, ERR_SYSTEM, "no memory to look for credentials");
        return NULL;
    }
    credentials_look(look, credentials_world_environment(world), world->spec.not_ec2);
    tell_notes(world, look);
    char forbidden[300] = "";
    if (look->chain.steps[SOURCE_IMDS].answer != CREDENTIALS_READY)
        snprintf(forbidden, sizeof forbidden, "the instance's metadata: %s", look->chain.steps[SOURCE_IMDS].text);
    imds_configure(world->imds, &look->chain.imds, forbidden[0] ? forbidden : NULL);
    return look;
}

bool credentials_world_open(struct credentials_world *world, struct loop *loop, const struct credentials_spec *spec, struct err *err)
{
    *world = (struct credentials_world){.loop = loop, .spec = *spec, .imds = imds_open(loop, err)};
    return world->imds != NULL;
}

void credentials_world_close(struct credentials_world *world)
{
    while (world->regions)
        credentials_region_stop(world->regions);
    imds_close(world->imds);
    sigv4_keys_clear(&world->signing);
}

/* --- the region --- */

static struct credentials_region *of_region_get(struct imds_get *get)
{
    return (struct credentials_region *)(void *)((char *)get - offsetof(struct credentials_region, get));
}

static void settle(struct credentials_region *ask, struct bytes text)
{
    text = credentials_trim(text);
    if (aws_region_check(text, &ask->err))
        snprintf(ask->region, sizeof ask->region, "%.*s", (int)text.length, text.data);
    ask->done(ask);
}

static void told_by_instance(struct imds_get *get)
{
    struct credentials_region *ask = of_region_get(get);
    if (!get->ok) {
        err_set(&ask->err, get->err.kind, "no region is known: set AWS_REGION (%.180s)", get->err.text);
        ask->done(ask);
        return;
    }
    struct bytes text = credentials_trim(buf_bytes(&get->text));
    if (text.length < sizeof ask->world->instance_region && aws_region_check(text, NULL)) /* who else answers there is asked again */
        snprintf(ask->world->instance_region, sizeof ask->world->instance_region, "%.*s", (int)text.length, text.data);
    settle(ask, text);
}

static void find_region(struct timer *timer)
{
    struct credentials_region *ask = (struct credentials_region *)(void *)((char *)timer - offsetof(struct credentials_region, soon));
    struct credentials_look *look = credentials_world_look(ask->world, &ask->err);
    const char *configured = look ? credentials_look_region(look) : NULL;
    if (!configured && ask->world->instance_region[0])
        configured = ask->world->instance_region;
    char region[256];
    snprintf(region, sizeof region, "%s", configured ? configured : "");
    credentials_look_free(look);
    if (configured)
        settle(ask, bytes_of(region));
    else if (!look || !imds_get_start(&ask->get, ask->world->imds, "/latest/meta-data/placement/region", told_by_instance, &ask->err))
        ask->done(ask);
}

void credentials_region_begin(struct credentials_region *ask, struct credentials_world *world, void (*done)(struct credentials_region *))
{
    memset(ask, 0, sizeof *ask);
    ask->done = done;
    ask->world = world;
    ask->next = world->regions;
    world->regions = ask;
    timer_start(&ask->soon, world->loop, 0, find_region);
}

void credentials_region_stop(struct credentials_region *ask)
{
    timer_stop(&ask->soon);
    imds_get_stop(&ask->get);
    if (!ask->world)
        return;
    for (struct credentials_region **at = &ask->world->regions; *at; at = &(*at)->next)
        if (*at == ask) {
            *at = ask->next;
            break;
        }
    ask->world = NULL;
}
