/* credentials_fetch.h - gets the credentials that the chain stands for at this moment, once: reads the settings, then reads, runs or asks
 * what the chosen source says, then assumes the roles behind it one after another. */
#ifndef APPLIANCE_CREDENTIALS_FETCH_H
#define APPLIANCE_CREDENTIALS_FETCH_H

#include "appliance/credentials_agent.h"
#include "appliance/credentials_exchange.h"
#include "appliance/credentials_look.h"
#include "appliance/credentials_process.h"

struct credentials_fetch { /* zeroed = stopped */
    void (*done)(struct credentials_fetch *);
    void *owner; /* for `done` */
    bool ok;
    struct credentials keys; /* when ok; may be taken over */
    bool keeps_expired;      /* straight from the instance's metadata: static stability */
    enum credentials_source source;
    struct err err; /* unless ok */
    /* the rest is its own */
    struct credentials_world *world;
    struct credentials_look *look;
    struct timer soon;
    int role; /* of the recipe, that is assumed now; -1: the base */
    char name[100], ca_file[1024];
    struct imds_get imds;
    struct credentials_agent agent;
    struct credentials_process process;
    struct credentials_exchange exchange;
};

/* `done` is called in the loop, never from within. */
void credentials_fetch_start(struct credentials_fetch *, struct credentials_world *, void (*done)(struct credentials_fetch *), void *owner);
void credentials_fetch_stop(struct credentials_fetch *); /* wipes and frees the result; fine when stopped */

#endif
