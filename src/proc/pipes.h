/* pipes.h - which of the services' pipes are large. A pipe of 1 MiB is what makes a stream of lines cheap to read, but a user
 * without privileges has room for 64 of them in all (pipe-user-pages-soft; beyond it even new pipes shrink to 8 KiB), so
 * only a pipe that proves too small is enlarged, few at a time, and one that has fallen silent gives its share to the next. */
#ifndef APPLIANCE_PIPES_H
#define APPLIANCE_PIPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pipe_end {
    int fd;
    bool busy, large;
    int64_t refused_ns;    /* when the kernel last said no */
    size_t size;           /* 0: not asked yet */
    struct pipe_end *next; /* among the large ones */
};

void pipe_start(struct pipe_end *, int fd);
void pipe_stop(struct pipe_end *);
void pipe_set_busy(struct pipe_end *, bool busy);
void pipe_saw(struct pipe_end *, size_t size); /* so much was found in it at once */

#endif
