/* credentials_slot.h - the credentials of one role, or the chain's own, as the store holds them: when they are fetched, what happens while
 * they can't be, and what is said of it. Who waits for them is the store's (credentials.c), which is told by `settled`. */
#ifndef CREDENTIALS_SLOT_H
#define CREDENTIALS_SLOT_H

#include "appliance/credentials_fetch.h"
#include "appliance/credentials_refresh.h"
#include "credentials_inner.h"

struct credentials_slot {
    struct credentials_store *store;
    struct credentials_world *world;
    struct credentials_slot *next;
    /* In the loop: the fetch has ended. err NULL: those who wait get what is held; else they get that. */
    void (*settled)(struct credentials_slot *, const struct err *);
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

/* NULL: no memory. */
struct credentials_slot *credentials_slot_new(struct credentials_store *, struct credentials_world *, const char *role_arn,
                                              void (*settled)(struct credentials_slot *, const struct err *));
void credentials_slot_free(struct credentials_slot *);
/* Somebody needs them: begins a fetch where one is due, which may settle from within. */
enum refresh_answer credentials_slot_ask(struct credentials_slot *);
int64_t credentials_slot_now_ms(const struct credentials_slot *);
void credentials_slot_arm(struct credentials_slot *); /* its timer, as its state says */

#endif
