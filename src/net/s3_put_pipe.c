#include "s3_put_inner.h"

#include <sys/mman.h>

/* Each part has memory of its own, S3_MEMORY in all. What has been given back is used again when it is of the right length: the kernel
 * would have to clear every page of a new one. Not by malloc, which would keep for itself what is freed of this length. */

static char *map(int64_t length)
{
    char *data = mmap(NULL, (size_t)length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return data == MAP_FAILED ? NULL : data;
}

void s3_put_pipe_free(const struct s3_putting *p, char *data, int number)
{
    if (data)
        munmap(data, (size_t)s3_pipe_part(number, p->expected));
}

static void on_ready(struct s3_inlet *inlet)
{
    s3_put_pipe_read((struct s3_putting *)(void *)((char *)inlet - offsetof(struct s3_putting, inlet)));
}

bool s3_put_pipe_open(struct s3_putting *p, struct err *err)
{
    return s3_inlet_open(&p->inlet, p->loop, p->spec->fd, on_ready, err);
}

static void drop_spare(struct s3_putting *p)
{
    if (p->spare)
        munmap(p->spare, (size_t)p->spare_length);
    p->held -= p->spare_length;
    p->spare = NULL;
    p->spare_length = 0;
}

/* Memory for the next part; false: not now, some of it must come back first. */
static bool take_room(struct s3_putting *p)
{
    int64_t length = s3_pipe_part(p->next, p->expected);
    if (p->spare && p->spare_length != length)
        drop_spare(p);
    if (p->spare) {
        p->filling = p->spare;
        p->spare = NULL;
        p->spare_length = 0;
    } else if (p->held + length <= S3_MEMORY) {
        p->filling = map(length);
        p->held += p->filling ? length : 0;
    }
    if (!p->filling && p->held == 0) {
        struct err err;
        err_set(&err, ERR_SYSTEM, "%s: no memory for a part of %lld bytes", p->subject, (long long)length);
        s3_putting_fail(p, &err);
    }
    p->room = length;
    p->filled = 0;
    return p->filling != NULL;
}

static bool too_much(struct s3_putting *p)
{
    struct err err;
    err_set(&err, ERR_INVALID,
            "%s: more than %lld GiB came, which is all that %d parts in memory can hold: put it into a file first, or announce its size",
            p->subject, (long long)(p->taken >> 30), S3_PARTS_MOST);
    return s3_putting_fail(p, &err);
}

void s3_put_pipe_read(struct s3_putting *p)
{
    enum { AT_A_TIME = 4 * 1024 * 1024 }; /* others have a turn, too */
    struct err err;
    int64_t budget = AT_A_TIME;
    while (!p->failed && !p->ended && !p->whole_part && budget > 0) {
        if (!p->filling && p->next > S3_PARTS_MOST) {
            too_much(p);
            break;
        }
        if (!p->filling && !take_room(p))
            break;
        ssize_t count = s3_inlet_read(&p->inlet, p->filling + p->filled, (size_t)(p->room - p->filled), &err);
        if (count == S3_INLET_BROKEN)
            s3_putting_fail(p, &err);
        if (count == S3_INLET_EMPTY || count == S3_INLET_BROKEN)
            break;
        p->ended = count == 0;
        p->filled += count;
        p->taken += count;
        p->whole_part = p->filled == p->room;
        budget -= count;
        if (p->ended || p->whole_part) /* whoever looked: no other part's end need follow that would have it sent */
            s3_putting_soon(p);
        if (p->inlet.once)
            break;
    }
    bool more = !p->failed && !p->ended && !p->whole_part && p->filling;
    if (!more)
        s3_inlet_rest(&p->inlet);
    else if (!s3_inlet_wait(&p->inlet, &err))
        s3_putting_fail(p, &err);
}

char *s3_put_pipe_take(struct s3_putting *p, int64_t *length)
{
    if (!p->whole_part && !(p->ended && p->filled > 0))
        return NULL;
    char *data = p->filling;
    *length = p->filled;
    p->filling = NULL;
    p->filled = 0;
    p->whole_part = false;
    return data;
}

void s3_put_pipe_give_back(struct s3_putting *p, char *data, int number)
{
    if (!data)
        return;
    drop_spare(p);
    p->spare = data;
    p->spare_length = s3_pipe_part(number, p->expected);
}

void s3_put_pipe_close(struct s3_putting *p)
{
    s3_inlet_close(&p->inlet);
    if (p->filling)
        munmap(p->filling, (size_t)p->room);
    p->filling = NULL;
    drop_spare(p);
    p->held = 0;
}
