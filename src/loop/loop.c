#include "appliance/loop.h"
#include "appliance/clock.h"
#include "appliance/deadline.h"
#include "appliance/sys.h"
#include "timers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { BATCH = 64 };

struct loop {
    int epoll;
    int watch_count, timer_count;
    struct timer *timers; /* root: the earliest */
    struct watch wakeup;
    int batch_length; /* of the batch that is being handed out, */
    int batch_next;   /* and how far it has come: watch_stop forgets what is behind */
    struct epoll_event batch[BATCH];
};

static void woken(struct watch *w, uint32_t events)
{
    (void)events;
    uint64_t count;
    while (sys.read(w->fd, &count, sizeof count) < 0 && errno == EINTR) {}
}

struct loop *loop_new(struct err *err)
{
    struct loop *loop = calloc(1, sizeof *loop);
    if (!loop) {
        err_errno(err, "event loop");
        return NULL;
    }
    loop->epoll = sys.epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll < 0) {
        err_errno(err, "event loop: epoll_create1");
        free(loop);
        return NULL;
    }
    int wakeup = sys.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wakeup < 0 || !watch_start(&loop->wakeup, loop, wakeup, EPOLLIN, woken, err)) {
        if (wakeup < 0)
            err_errno(err, "event loop: eventfd");
        else
            sys.close(wakeup);
        sys.close(loop->epoll);
        free(loop);
        return NULL;
    }
    loop->watch_count = 0; /* our own wake-up is not counted */
    return loop;
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    sys.close(loop->wakeup.fd);
    sys.close(loop->epoll);
    free(loop);
}

bool watch_start(struct watch *w, struct loop *loop, int fd, uint32_t events, void (*ready)(struct watch *, uint32_t), struct err *err)
{
    watch_stop(w);
    struct epoll_event event = {.events = events, .data.ptr = w};
    if (sys.epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        return err_errno(err, "watch descriptor %d", fd);
    *w = (struct watch){.fd = fd, .events = events, .loop = loop, .ready = ready};
    loop->watch_count++;
    return true;
}

bool watch_change(struct watch *w, uint32_t events, struct err *err)
{
    if (w->events == events)
        return true;
    struct epoll_event event = {.events = events, .data.ptr = w};
    if (sys.epoll_ctl(w->loop->epoll, EPOLL_CTL_MOD, w->fd, &event) < 0)
        return err_errno(err, "watch descriptor %d", w->fd);
    w->events = events;
    return true;
}

void watch_stop(struct watch *w)
{
    struct loop *loop = w->loop;
    if (!loop)
        return;
    sys.epoll_ctl(loop->epoll, EPOLL_CTL_DEL, w->fd, NULL);
    for (int i = loop->batch_next; i < loop->batch_length; i++)
        if (loop->batch[i].data.ptr == w)
            loop->batch[i].data.ptr = NULL;
    loop->watch_count--;
    w->loop = NULL;
    w->fd = -1;
}

void timer_start_ns(struct timer *t, struct loop *loop, int64_t delay_ns, void (*fire)(struct timer *))
{
    timer_stop(t);
    t->due_ns = clock_ns() + (delay_ns > 0 ? delay_ns : 1); /* never "now": see fire_due_timers */
    t->loop = loop;
    t->fire = fire;
    loop->timers = timers_insert(loop->timers, t);
    loop->timer_count++;
}

void timer_start(struct timer *t, struct loop *loop, int64_t delay_ms, void (*fire)(struct timer *))
{
    timer_start_ns(t, loop, delay_ms * NS_PER_MS, fire);
}

void timer_stop(struct timer *t)
{
    struct loop *loop = t->loop;
    if (!loop)
        return;
    loop->timers = timers_remove(loop->timers, t);
    loop->timer_count--;
    t->loop = NULL;
}

void loop_wake(struct loop *loop)
{
    uint64_t one = 1;
    while (write(loop->wakeup.fd, &one, sizeof one) < 0 && errno == EINTR) {}
}

/* Only those due at the beginning: a timer that starts itself anew with no delay must not keep the loop here. */
static void fire_due_timers(struct loop *loop)
{
    int64_t now = clock_ns();
    while (loop->timers && loop->timers->due_ns <= now) {
        struct timer *t = loop->timers;
        timer_stop(t);
        t->fire(t);
    }
}

bool loop_turn(struct loop *loop, int64_t until_ns, struct err *err)
{
    if (loop->timers && loop->timers->due_ns < until_ns)
        until_ns = loop->timers->due_ns;
    int64_t wait_ns = -1;
    if (until_ns != INT64_MAX) {
        wait_ns = until_ns > 0 ? until_ns - clock_ns() : 0;
        if (wait_ns < 0)
            wait_ns = 0;
    }
    if (wait_ns != 0)
        deadline_loop_idle();
    int count = sys.epoll_wait(loop->epoll, loop->batch, BATCH, wait_ns);
    if (wait_ns != 0)
        deadline_loop_busy();
    else
        deadline_loop_turned();
    if (count < 0 && errno != EINTR)
        return err_errno(err, "event loop: epoll_wait");

    loop->batch_length = count > 0 ? count : 0;
    for (loop->batch_next = 0; loop->batch_next < loop->batch_length;) {
        struct epoll_event event = loop->batch[loop->batch_next++];
        struct watch *w = event.data.ptr;
        if (w)
            w->ready(w, event.events);
    }
    loop->batch_length = 0;
    fire_due_timers(loop);
    return true;
}

int loop_watch_count(const struct loop *loop)
{
    return loop->watch_count;
}

int loop_timer_count(const struct loop *loop)
{
    return loop->timer_count;
}
