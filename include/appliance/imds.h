/* imds.h - the instance's metadata service, asked over HTTP: imds_sequence.h decides, this sends.
 * Its token is fetched once for all who ask, and kept. When nobody has answered in all tries, the next minute's askers try once: waiting for
 * the whole budget is for the first one. Nothing goes through a proxy, and nothing is sent when the settings forbid it.
 * On one loop, on its thread. */
#ifndef APPLIANCE_IMDS_H
#define APPLIANCE_IMDS_H

#include "appliance/http.h"
#include "appliance/imds_sequence.h"
#include "appliance/loop.h"

struct imds;

struct imds *imds_open(struct loop *, struct err *);
void imds_close(struct imds *); /* those who ask get no word any more. NULL is fine */
/* How it is reached from now on. `forbidden`: NULL, or a sentence why nothing may be asked. Both are copied; another endpoint makes the
 * token be forgotten. Before the first call nothing may be asked. */
void imds_configure(struct imds *, const struct imds_settings *, const char *forbidden);

struct imds_get { /* zeroed = stopped */
    void (*done)(struct imds_get *);
    bool ok;
    struct err err;            /* unless ok, in words for people. MISSING with code 404: there is no such path, which may be an answer */
    struct buf text;           /* of a path */
    struct credentials keys;   /* of credentials; may be taken over */
    char role[IMDS_ROLE_SIZE]; /* whose they are */
    /* the rest is its own */
    struct imds *imds;
    struct imds_get *next;
    struct imds_settings settings;
    struct imds_sequence sequence;
    struct http_fetch fetch;
    struct timer timer;
    bool parked; /* until somebody else's request for a token has ended */
    char forbidden[240];
};

/* `path` NULL: the credentials of the instance's role; else "/latest/meta-data/...". `done` is called in the loop, never from within this
 * call, after the budget of the settings (10 s) at the latest. False: no memory. */
bool imds_get_start(struct imds_get *, struct imds *, const char *path, void (*done)(struct imds_get *), struct err *);
void imds_get_stop(struct imds_get *); /* from wherever it is called; wipes and frees the result; fine when stopped */

#endif
