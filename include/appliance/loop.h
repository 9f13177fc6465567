/* loop.h - one epoll loop: watches on descriptors, timers, and a wake-up for other threads.
 * Callbacks run on the loop's thread, never wait, and never run Lua. A watch or timer may be stopped from any callback,
 * its own included; after the stop its callback is not called again, even for an event already fetched.
 * The caller owns every struct here and must stop it before its memory goes away. */
#ifndef APPLIANCE_LOOP_H
#define APPLIANCE_LOOP_H

#include "appliance/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;

struct watch {
    int fd; /* -1 while stopped; the watch does not own it */
    uint32_t events;
    struct loop *loop;
    void (*ready)(struct watch *, uint32_t events); /* EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR, EPOLLRDHUP */
};

struct timer {
    int64_t due_ns;    /* clock_ns() time */
    struct loop *loop; /* NULL while stopped */
    void (*fire)(struct timer *);
    struct timer *child, *next, *previous; /* pairing heap; `previous` is the parent for a first child */
};

struct loop *loop_new(struct err *);
void loop_free(struct loop *); /* every watch and timer must have been stopped */

bool watch_start(struct watch *, struct loop *, int fd, uint32_t events, void (*ready)(struct watch *, uint32_t), struct err *);
bool watch_change(struct watch *, uint32_t events, struct err *);
void watch_stop(struct watch *); /* fine when stopped already or zeroed; call it before closing the descriptor */
static inline bool watch_is_started(const struct watch *w)
{
    return w->loop != NULL;
}

/* Never fails and allocates nothing: the heap is made of the timers themselves. Starting a started timer moves it. */
void timer_start(struct timer *, struct loop *, int64_t delay_ms, void (*fire)(struct timer *));
void timer_start_ns(struct timer *, struct loop *, int64_t delay_ns, void (*fire)(struct timer *));
void timer_stop(struct timer *);
static inline bool timer_is_started(const struct timer *t)
{
    return t->loop != NULL;
}

/* The one call of this header that other threads may make: the loop's next wait ends at once. */
void loop_wake(struct loop *);

/* One turn: one batch of events, then due timers. Waits for at most until_ns (clock_ns time; INT64_MAX: no limit, 0: not at all).
 * Returns false only if epoll itself broke. */
bool loop_turn(struct loop *, int64_t until_ns, struct err *);
/* Timers and watches that keep it from being idle, for leak checks in tests. */
int loop_watch_count(const struct loop *);
int loop_timer_count(const struct loop *);

#endif
