/* timers.h - loop.c's pairing heap of timers: the earliest is found at once, and no call allocates.
 * Fredman, Sedgewick, Sleator, Tarjan 1986: insert O(1), removal O(log n) amortised. */
#ifndef APPLIANCE_TIMERS_H
#define APPLIANCE_TIMERS_H

#include "appliance/loop.h"

struct timer *timers_insert(struct timer *root, struct timer *); /* both return the new root */
struct timer *timers_remove(struct timer *root, struct timer *);

#endif
