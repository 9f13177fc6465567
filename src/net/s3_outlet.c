#include "appliance/sys.h"
#include "s3_inner.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define RING (S3_ORDERED_PARTS * S3_ORDERED_PART)
enum { WRITABLE = 0x004 }; /* EPOLLOUT: sys/epoll.h is the loop's alone */

/* A description of our own is opened through /proc, for O_NONBLOCK on the one that was given would be everybody's: the shell's, the terminal's.
 * Files get none, as it would have an offset of its own; they make nobody wait for a reader. */
bool s3_outlet_open(struct s3_outlet *outlet, struct loop *loop, int fd, void (*moved)(struct s3_outlet *),
                    void (*passed)(struct s3_outlet *, int64_t, const char *, size_t), struct err *err)
{
    struct stat status;
    char own[40];
    *outlet = (struct s3_outlet){.loop = loop, .fd = -1, .given = fd, .moved = moved, .passed = passed};
    if (fstat(fd, &status) < 0)
        return err_errno(err, "descriptor %d", fd);
    bool is_file = S_ISREG(status.st_mode) || S_ISBLK(status.st_mode);
    outlet->socket = S_ISSOCK(status.st_mode);
    snprintf(own, sizeof own, "/proc/self/fd/%d", fd);
    if (!is_file && !outlet->socket)
        outlet->fd = sys.open(own, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0);
    outlet->ask_first = !is_file && !outlet->socket && outlet->fd < 0;
    if (outlet->fd < 0)
        outlet->fd = sys.fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (outlet->fd < 0)
        return err_errno(err, "descriptor %d", fd);
    outlet->ring = mmap(NULL, RING, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (outlet->ring == MAP_FAILED) {
        outlet->ring = NULL;
        err_errno(err, "memory for what comes out of order");
        sys.close(outlet->fd);
        return false;
    }
    outlet->open = true;
    return true;
}

void s3_outlet_close(struct s3_outlet *outlet)
{
    if (!outlet->open)
        return;
    watch_stop(&outlet->watch);
    sys.close(outlet->fd);
    munmap(outlet->ring, RING);
    outlet->ring = NULL;
    outlet->open = false;
}

int64_t s3_outlet_room(const struct s3_outlet *outlet)
{
    return outlet->head / S3_ORDERED_PART * S3_ORDERED_PART + RING;
}

static ssize_t write_some(const struct s3_outlet *outlet, const char *data, size_t length)
{
    ssize_t count;
    if (outlet->ask_first) { /* no description of our own: as little as a pipe that polls as writable has room for */
        struct pollfd ask = {.fd = outlet->fd, .events = POLLOUT};
        if (poll(&ask, 1, 0) <= 0) {
            errno = EAGAIN;
            return -1;
        }
        length = length < PIPE_BUF ? length : PIPE_BUF;
    }
    do
        count = outlet->socket ? send(outlet->fd, data, length, MSG_DONTWAIT | MSG_NOSIGNAL) : sys.write(outlet->fd, data, length);
    while (count < 0 && errno == EINTR);
    return count;
}

static bool fail(struct s3_outlet *outlet)
{
    watch_stop(&outlet->watch);
    if (outlet->given == STDOUT_FILENO)
        return err_errno(&outlet->err, "write to standard output");
    return err_errno(&outlet->err, "write to descriptor %d", outlet->given);
}

static void pass(struct s3_outlet *outlet, const char *data, ssize_t count)
{
    outlet->passed(outlet, outlet->head, data, (size_t)count);
    outlet->head += count;
}

static void on_ready(struct watch *, uint32_t);

static bool wait_for_it(struct s3_outlet *outlet)
{
    return watch_is_started(&outlet->watch) || watch_start(&outlet->watch, outlet->loop, outlet->fd, WRITABLE, on_ready, &outlet->err);
}

/* What has come behind the head, as far as it goes now. */
static bool drain(struct s3_outlet *outlet)
{
    for (;;) {
        int64_t filled = outlet->filled[outlet->head / S3_ORDERED_PART % S3_ORDERED_PARTS];
        if (filled <= outlet->head)
            break;
        const char *data = outlet->ring + outlet->head % RING;
        ssize_t count = write_some(outlet, data, (size_t)(filled - outlet->head));
        if (count < 0 && errno == EAGAIN)
            return wait_for_it(outlet);
        if (count < 0)
            return fail(outlet);
        pass(outlet, data, count);
    }
    watch_stop(&outlet->watch);
    return true;
}

static void on_ready(struct watch *watch, uint32_t events)
{
    (void)events;
    struct s3_outlet *outlet = (struct s3_outlet *)(void *)((char *)watch - offsetof(struct s3_outlet, watch));
    drain(outlet);
    outlet->moved(outlet);
}

static void keep(struct s3_outlet *outlet, int64_t offset, const char *data, size_t length)
{
    while (length > 0) {
        int64_t left = S3_ORDERED_PART - offset % S3_ORDERED_PART;
        size_t piece = (int64_t)length < left ? length : (size_t)left;
        memcpy(outlet->ring + offset % RING, data, piece);
        outlet->filled[offset / S3_ORDERED_PART % S3_ORDERED_PARTS] = offset + (int64_t)piece;
        offset += (int64_t)piece;
        data += piece;
        length -= piece;
    }
}

bool s3_outlet_put(struct s3_outlet *outlet, int64_t offset, const char *data, size_t length)
{
    if (outlet->err.kind != ERR_NONE)
        return false;
    /* Straight on, when it is what comes next. */
    while (length > 0 && offset == outlet->head && !watch_is_started(&outlet->watch)) {
        ssize_t count = write_some(outlet, data, length);
        if (count < 0 && errno == EAGAIN)
            break;
        if (count < 0)
            return fail(outlet);
        pass(outlet, data, count);
        offset += count;
        data += count;
        length -= (size_t)count;
    }
    keep(outlet, offset, data, length);
    return watch_is_started(&outlet->watch) || drain(outlet);
}
