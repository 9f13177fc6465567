#include "fetch_inner.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* There while somebody has or awaits a turn. */
struct fetch_place {
    struct fetch_place *next;
    int busy;
    struct fetch_turn *waiting; /* in the order they came */
    char origin[FETCH_ORIGIN_SIZE];
};

static struct fetch_place *places;

static struct fetch_place *find_place(const char *origin)
{
    for (struct fetch_place *p = places; p; p = p->next)
        if (strcasecmp(p->origin, origin) == 0)
            return p;
    struct fetch_place *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    snprintf(p->origin, sizeof p->origin, "%s", origin);
    p->next = places;
    places = p;
    return p;
}

static void forget_place(struct fetch_place *place)
{
    for (struct fetch_place **at = &places; *at; at = &(*at)->next)
        if (*at == place) {
            *at = place->next;
            free(place);
            return;
        }
}

bool fetch_turn_ask(struct fetch_turn *turn, const char *origin)
{
    *turn = (struct fetch_turn){.place = find_place(origin)};
    if (!turn->place)
        return false;
    turn->has = turn->place->busy < HTTP_CONNECTIONS;
    if (turn->has) {
        turn->place->busy++;
        return true;
    }
    struct fetch_turn **at = &turn->place->waiting;
    while (*at)
        at = &(*at)->next;
    *at = turn;
    return true;
}

struct fetch_turn *fetch_turn_leave(struct fetch_turn *turn)
{
    struct fetch_place *place = turn->place;
    struct fetch_turn *heir = NULL;
    if (!place)
        return NULL;
    if (turn->has) {
        heir = place->waiting;
        if (heir) {
            place->waiting = heir->next;
            heir->next = NULL;
            heir->has = true;
        } else {
            place->busy--;
        }
    } else {
        for (struct fetch_turn **at = &place->waiting; *at; at = &(*at)->next)
            if (*at == turn) {
                *at = turn->next;
                break;
            }
    }
    *turn = (struct fetch_turn){0};
    if (place->busy == 0)
        forget_place(place);
    return heir;
}
