/* ring.h - the last bytes a service printed, for `status` and `logs`. Nothing is allocated before the first byte;
 * it grows to the ceiling given with each call, and shrinks when that has become less. Without memory it just remembers less. */
#ifndef APPLIANCE_RING_H
#define APPLIANCE_RING_H

#include <stdbool.h>
#include <stddef.h>

struct ring { /* zeroed = empty */
    char *data;
    size_t size, end, length; /* end: where the next byte goes */
    bool cut;                 /* something older has been forgotten, so it may begin within a line */
};

void ring_add(struct ring *, const char *data, size_t length, size_t ceiling);
/* The newest whole lines that fit, oldest first. Where not even one line fits, its end. Returns the number of bytes. */
size_t ring_lines(const struct ring *, char *out, size_t limit);
void ring_free(struct ring *);

#endif
