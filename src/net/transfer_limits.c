#include "appliance/clock.h"
#include "transfer_inner.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

static void on_limit(struct timer *);

void transfer_arm(struct http_transfer *t)
{
    int64_t due = t->stage_due_ns < t->deadline_ns ? t->stage_due_ns : t->deadline_ns;
    if (due == INT64_MAX)
        timer_stop(&t->timer);
    else
        timer_start_ns(&t->timer, transfers.loop, due - clock_ns(), on_limit);
}

static int in_kernel(const struct http_transfer *t)
{
    int unsent = 0;
    return t->fd >= 0 && ioctl(t->fd, SIOCOUTQ, &unsent) == 0 ? unsent : 0;
}

void transfer_enter(struct http_transfer *t, enum fetch_stage stage)
{
    int64_t limit = stage == FETCH_WAITING ? t->first_byte_ms : stage == FETCH_SENDING || stage == FETCH_RECEIVING ? t->stall_ms : 0;
    t->stage = stage;
    t->stage_due_ns = limit && !t->paused ? clock_ns() + limit * NS_PER_MS : INT64_MAX;
    t->window_bytes = t->fetch->received + t->fetch->sent;
    t->unsent = in_kernel(t);
    transfer_arm(t);
}

void transfer_pause(struct http_transfer *t)
{
    t->paused = true; /* the peer can't help that it is slow now */
    transfer_enter(t, t->stage);
}

static void on_limit(struct timer *timer)
{
    struct http_transfer *t = OWNER(timer, struct http_transfer, timer);
    int64_t now = clock_ns();
    if (now >= t->deadline_ns) {
        t->failure = HTTP_DEADLINE;
    } else if (t->stage == FETCH_WAITING) {
        /* Of a large body a lot was still on its way when libcurl had handed it to the kernel; that is not the peer's silence. */
        if (in_kernel(t) >= t->unsent)
            t->failure = HTTP_FIRST_BYTE_TIMEOUT;
    } else if ((t->fetch->received + t->fetch->sent - t->window_bytes) * 1000 < t->stall_bytes * t->stall_ms) {
        t->failure = HTTP_STALLED;
    }
    if (t->failure)
        transfer_finish(t, CURLE_OK);
    else
        transfer_enter(t, t->stage);
    transfer_settle();
}
