/* credentials_refresh.h - when credentials are fetched again, and whether the old ones may be used meanwhile: a state machine with the
 * clock and the dice given from outside. It fetches nothing and holds no keys.
 *  - At half of their life, then every 5 to 10 minutes until newer ones are there; the old ones are used all the while.
 *  - One fetch is under way at most, for any number of askers; an asker waits only when there is nothing it could use.
 *  - Static stability, for the instance's metadata only, as in AWS's SDKs: when the time of the old ones is over and there are no newer
 *    ones, their end is put off by 10 to 15 minutes, with a warning, and the service decides whether it still takes them.
 * Times are milliseconds of one clock that never jumps (clock_boot_ns: a suspended machine's credentials grow old, too); whoever drives
 * this converts an Expiration when it arrives. `random` is any 32 bits. */
#ifndef APPLIANCE_CREDENTIALS_REFRESH_H
#define APPLIANCE_CREDENTIALS_REFRESH_H

#include <stdbool.h>
#include <stdint.h>

#define REFRESH_NEVER INT64_MAX

struct credentials_refresh {
    bool keeps_expired; /* static stability */
    bool held;          /* there are credentials */
    bool extended;      /* their end was put off */
    bool rejected;      /* the service called them expired */
    bool in_flight;
    int failures;                /* since the last success */
    int64_t expires_ms;          /* of the held ones, as others are to be told; REFRESH_NEVER: they don't */
    int64_t told_ms;             /* the end that the source told */
    int64_t next_ms;             /* before that no fetch begins by itself */
    uint64_t generation;         /* counts the credentials that were taken */
    uint64_t refused_generation; /* the last one that a service called expired */
};

enum refresh_answer {
    REFRESH_USE,    /* take the held ones */
    REFRESH_WAIT,   /* for the fetch that is under way */
    REFRESH_FAILED, /* there is nothing to use, and the last failure is too young to try again: its error is the answer */
};

struct refresh_step {
    enum refresh_answer answer;
    bool fetch;    /* the caller begins one now, and reports its end with one of the three functions below, always */
    bool extended; /* the end was put off just now: warn */
};

void refresh_init(struct credentials_refresh *, bool keeps_expired);

/* Somebody needs credentials. */
struct refresh_step refresh_asked(struct credentials_refresh *, int64_t now_ms, uint32_t random);
/* The timer set for refresh_due. `answer` says nothing. */
struct refresh_step refresh_timed(struct credentials_refresh *, int64_t now_ms, uint32_t random);
/* When to call refresh_timed; REFRESH_NEVER while a fetch is under way, before the first one, and for credentials without an end. */
int64_t refresh_due(const struct credentials_refresh *);

/* The fetch brought credentials that end at `expires_ms`. USE: take them in place of the held ones. FAILED: their time is over and this
 * source may not extend it, so keep what was held; it counts as a failure. `same`: they are the very ones that are held, for the source has
 * no newer ones. */
struct refresh_step refresh_fetched(struct credentials_refresh *, int64_t now_ms, int64_t expires_ms, bool same, uint32_t random);
/* It failed. `lasting`: the source said no, and asking soon is of no use. */
struct refresh_step refresh_failed(struct credentials_refresh *, int64_t now_ms, bool lasting, uint32_t random);
void refresh_cancelled(struct credentials_refresh *); /* it was given up; counts as nothing */

/* A service refused credentials of that generation as expired (ExpiredToken). True: a fetch is due and worth waiting for, ask again.
 * False: they were just fetched for that very reason, so the refusal stands. Older generations: true, ask again for the newer ones. */
bool refresh_rejected(struct credentials_refresh *, uint64_t generation, int64_t now_ms);

#endif
