/* zk_watch.c - who wants to know of changes. One point for each path and kind, whoever and how many listen there: the library and the
 * server keep a watch until it has fired, so one for each listener would pile up at a node that never changes. */
#include "zk_inner.h"

#include <stdlib.h>
#include <string.h>

struct zk_point {
    uint64_t id; /* as the library has it; 0: not armed since the last session began */
    bool is_armed, of_children;
    struct zk_watch *watches;
    struct zk_point *next;
    char path[];
};

bool zk_watch_start(struct zk_watch *w, struct zk_client *c, const char *path, bool of_children, void (*fired)(struct zk_watch *),
                    struct err *err)
{
    struct zk_point *p = c->points;
    while (p && (p->of_children != of_children || strcmp(p->path, path) != 0))
        p = p->next;
    if (!p) {
        size_t size = strlen(path) + 1;
        p = calloc(1, sizeof *p + size);
        if (!p)
            return err_set(err, ERR_SYSTEM, "zk watch %s: no memory", path);
        p->of_children = of_children;
        memcpy(p->path, path, size);
        p->next = c->points;
        c->points = p;
    }
    *w = (struct zk_watch){.fired = fired, .client = c, .point = p, .next = p->watches};
    p->watches = w;
    c->users++;
    return true;
}

/* A point that the library still knows stays, for it may fire, or be used again. */
static void forget(struct zk_client *c, struct zk_point *p)
{
    if (p->watches || (p->is_armed && !c->closed))
        return;
    for (struct zk_point **at = &c->points; *at; at = &(*at)->next)
        if (*at == p) {
            *at = p->next;
            break;
        }
    free(p);
}

void zk_watch_stop(struct zk_watch *w)
{
    struct zk_point *p = w->point;
    if (!p)
        return;
    for (struct zk_watch **at = &p->watches; *at; at = &(*at)->next)
        if (*at == w) {
            *at = w->next;
            break;
        }
    w->point = NULL;
    forget(w->client, p);
    zk_client_unuse(w->client);
}

uint64_t zk_point_arm(struct zk_watch *w, uint32_t tag)
{
    struct zk_point *p = w->point;
    if ((uint32_t)(p->id >> 32) != tag) {
        if (++w->client->last_id == 0)
            w->client->last_id = 1;
        p->id = (uint64_t)tag << 32 | w->client->last_id;
    }
    p->is_armed = true;
    return p->id;
}

void zk_points_fired(struct zk_client *c, uint64_t id)
{
    for (struct zk_point *p = c->points, *next; p; p = next) {
        next = p->next;
        if (id != 0 && p->id != id)
            continue;
        p->is_armed = false;
        for (struct zk_watch *w = p->watches; w; w = w->next) { /* they only wake tasks */
            w->is_fired = true;
            w->fired(w);
        }
        forget(c, p);
    }
}
