#include "pipes.h"
#include "appliance/clock.h"
#include "appliance/sys.h"

#include <fcntl.h>

enum { LARGE = 1 << 20, USUAL = 64 << 10, MOST = 32, REFUSED_S = 10 };

static struct pipe_end *large_ones;
static int large_count;

void pipe_start(struct pipe_end *p, int fd)
{
    *p = (struct pipe_end){.fd = fd};
}

static void forget(struct pipe_end *p)
{
    struct pipe_end **at = &large_ones;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    p->large = false;
    large_count--;
}

void pipe_stop(struct pipe_end *p)
{
    if (p->large)
        forget(p);
}

void pipe_set_busy(struct pipe_end *p, bool busy)
{
    p->busy = busy;
}

/* From one that has nothing to say just now. The kernel refuses where more is in it than the usual size holds. */
static bool take_back_one(void)
{
    for (struct pipe_end *p = large_ones; p; p = p->next) {
        if (p->busy)
            continue;
        int size = sys.fcntl(p->fd, F_SETPIPE_SZ, USUAL);
        if (size < 0)
            continue;
        p->size = (size_t)size;
        forget(p);
        return true;
    }
    return false;
}

static bool enlarge(struct pipe_end *p)
{
    if (large_count >= MOST && !take_back_one())
        return false;
    int size = sys.fcntl(p->fd, F_SETPIPE_SZ, LARGE);
    if (size < 0 && take_back_one())
        size = sys.fcntl(p->fd, F_SETPIPE_SZ, LARGE);
    if (size < 0)
        return false;
    p->size = (size_t)size;
    p->large = true;
    p->next = large_ones;
    large_ones = p;
    large_count++;
    return true;
}

void pipe_saw(struct pipe_end *p, size_t size)
{
    if (p->large)
        return;
    if (p->size == 0) {
        int asked = sys.fcntl(p->fd, F_GETPIPE_SZ, 0);
        p->size = asked > 0 ? (size_t)asked : USUAL;
    }
    if (size < p->size / 2)
        return;
    int64_t now = clock_ns();
    if (p->refused_ns != 0 && now - p->refused_ns < REFUSED_S * NS_PER_S)
        return;
    if (!enlarge(p))
        p->refused_ns = now;
}
