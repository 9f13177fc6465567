/* leases.h - names and until when we may act under each: a list, pure, and nothing that happens by itself.
 * A lease is granted elsewhere (a session in ZooKeeper) and told to us as a time on CLOCK_BOOTTIME, which counts a suspended machine's
 * sleep as whoever granted it does. What that means for services is supervisor.h's affair. Names are never forgotten: there are few. */
#ifndef APPLIANCE_LEASES_H
#define APPLIANCE_LEASES_H

#include "appliance/clock.h"

#include <stdbool.h>
#include <stdint.h>

/* Less is no time to begin anything: it would be killed before it has done its first step. */
#define LEASE_START_MARGIN_NS (200 * NS_PER_MS)

struct lease {
    struct lease *next;
    int64_t due_boot_ns; /* held until then; 0: never had, or given up */
    char name[];
};

/* The one of that name, made when it is new (and not held). NULL: no memory. It stays where it is until leases_free. */
struct lease *leases_get(struct lease **list, const char *name);
void leases_free(struct lease **list);
static inline bool lease_is_over(const struct lease *l, int64_t now_boot_ns)
{
    return l->due_boot_ns <= now_boot_ns;
}
static inline bool lease_may_start(const struct lease *l, int64_t now_boot_ns)
{
    return !lease_is_over(l, now_boot_ns) && l->due_boot_ns - now_boot_ns > LEASE_START_MARGIN_NS;
}

#endif
