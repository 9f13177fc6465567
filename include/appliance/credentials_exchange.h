/* credentials_exchange.h - one exchange with STS: AssumeRole, signed with the keys at hand, or AssumeRoleWithWebIdentity, with a token
 * from a file that is read for each try. At the host of the region, or where the settings say. Three tries, with pauses, for what may
 * pass; a clock that is minutes off is seen by the answer's Date, and allowed for once. */
#ifndef APPLIANCE_CREDENTIALS_EXCHANGE_H
#define APPLIANCE_CREDENTIALS_EXCHANGE_H

#include "appliance/credentials.h"
#include "appliance/credentials_recipe.h"
#include "appliance/sigv4.h"

struct credentials_world;

struct credentials_exchange { /* zeroed = stopped */
    void (*done)(struct credentials_exchange *);
    bool ok;
    struct credentials keys; /* when ok; may be taken over */
    bool expired;            /* STS said that the keys at hand are: newer ones may do */
    struct err err;          /* unless ok; begins with the role. DENIED and INVALID: asking again soon is of no use */
    /* the rest is its own */
    struct credentials_world *world;
    struct recipe_role role;
    const struct credentials *with;
    const char *token_file;
    struct credentials_region region; /* where it is asked and signed for */
    struct http_fetch fetch;
    struct buf body; /* of the present request; holds the token */
    struct timer pause;
    char endpoint[1024], ca_file[1024]; /* "": the usual */
    char subject[100], session[64];
    int tries;
    bool skewed, fips;
    int64_t skew_ms;
};

/* The role's texts, `with` (NULL: web identity) and `token_file` must live until the stop. `done` is called in the loop, never from within
 * this call. */
void credentials_exchange_start(struct credentials_exchange *, struct credentials_world *, const struct recipe_role *,
                                const struct credentials *with, const char *token_file, void (*done)(struct credentials_exchange *));
void credentials_exchange_stop(struct credentials_exchange *); /* wipes and frees the result; fine when stopped */

#endif
