/* credentials.h - the keys of this process: the chain of the SDKs (credentials_chain.h) with everything it must read, run and ask, and
 * roles that are assumed with what it gives. One store is shared by everybody in a process.
 *  - For each role (and for the chain's own credentials) one fetch is under way at most, for any number of askers.
 *  - They are fetched again at half of their life by a timer, the old ones being used meanwhile (credentials_refresh.h); the chain's own
 *    are kept warm as long as the store is there, those of a role while somebody asks for them.
 *  - What goes wrong while there is something to use is told in the log, once; else the askers get the sentence.
 * Nothing here waits, but for reading small local files (profiles, token files). Nothing is contacted before the first ask.
 * Secrets are wiped when they are replaced. On one loop, on its thread. */
#ifndef APPLIANCE_CREDENTIALS_H
#define APPLIANCE_CREDENTIALS_H

#include "appliance/credentials_keys.h"
#include "appliance/imds.h"
#include "appliance/loop.h"

struct credentials_store;

/* Borrowed as long as the store lives. */
struct credentials_spec {
    char *const *environment; /* as of environ(7); NULL: environ, as it is at each look */
    bool not_ec2;             /* !aws_host_is_ec2(): then the instance's metadata are only asked when their endpoint is configured */
    const char *ca_file;      /* for https; NULL: AWS_CA_BUNDLE, the profile's ca_bundle, else the system's */
};

struct credentials_store *credentials_open(struct loop *, const struct credentials_spec *, struct err *);
/* Those who ask get no word any more; their asks need no stop, but may be stopped. NULL is fine. */
void credentials_close(struct credentials_store *);

struct credentials_ask { /* zeroed = not asking */
    void (*done)(struct credentials_ask *);
    struct credentials keys; /* copies, when ok; freed by credentials_ask_stop */
    const char *source;      /* when ok: credentials_source_name of the chain's source, or "assumed role" */
    uint64_t generation;     /* for credentials_refused */
    bool ok;
    bool extended;  /* their end is put off because their source gives no newer ones: the service decides */
    struct err err; /* unless ok */
    /* the rest is the store's */
    struct credentials_store *store;
    struct credentials_slot *slot;
    struct credentials_ask *next;
    bool settled;
};

/* `role_arn` NULL: the chain's own. False: no ARN, or no memory. All else is told by `done`, in the loop, never from within this call, and
 * never after credentials_ask_stop. There is no limit of time but those of the sources (some 10 s; a process: 60 s). */
bool credentials_ask_start(struct credentials_ask *, struct credentials_store *, const char *role_arn,
                           void (*done)(struct credentials_ask *), struct err *);
void credentials_ask_stop(struct credentials_ask *); /* wipes and frees the copies; fine when stopped or zeroed */

/* Held, and usable right now: no wait, no copies. NULL: ask. Valid until the next turn of the loop. */
const struct credentials *credentials_held(struct credentials_store *, const char *role_arn, uint64_t *generation);
/* The service said ExpiredToken or InvalidToken to keys of that generation. True: asking again is worth it (and will wait for newer ones).
 * False: these were just fetched for the same reason, so the refusal stands. */
bool credentials_refused(struct credentials_store *, const char *role_arn, uint64_t generation);

/* Whether anybody waits for an answer: closing it would leave them waiting. */
bool credentials_is_asked(const struct credentials_store *);

/* The chain as it is configured now (credentials_look.h): no I/O but the shared files. On the heap, for credentials_look_free. NULL: no
 * memory. */
struct credentials_look *credentials_look_now(struct credentials_store *, struct err *);

/* The instance's metadata service, as the settings of the store say (imds.h): its token is shared with the chain. Never NULL. */
struct imds *credentials_imds(struct credentials_store *);

/* The region: AWS_REGION, AWS_DEFAULT_REGION, the profile's, then that of the instance, when this is one. */
struct credentials_region {
    void (*done)(struct credentials_region *);
    char region[64]; /* "": see err */
    struct err err;
    /* the rest is its own */
    struct credentials_world *world;
    struct credentials_region *next;
    struct imds_get get;
    struct timer soon;
};
void credentials_region_start(struct credentials_region *, struct credentials_store *, void (*done)(struct credentials_region *));
void credentials_region_stop(struct credentials_region *);

#endif
