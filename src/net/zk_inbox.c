/* zk_inbox.c - one queue for all handles of the process. Its length is bounded by what may be under way (ZK_REQUESTS of each client), by
 * watches, which tell one change each, and by how often the library reconnects. */
#include "appliance/sys.h"
#include "zk_inner.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>

enum { READABLE = 0x001 }; /* EPOLLIN: sys/epoll.h is the loop's alone */

static struct {
    pthread_mutex_t lock;
    struct zk_message *first, **last; /* under the lock */
    bool is_open;                     /* under the lock: `watch.fd` is good */
    struct watch watch;
    int holds; /* loop's thread */
} self = {.lock = PTHREAD_MUTEX_INITIALIZER, .last = &self.first};

struct zk_message *zk_message_new(enum zk_said said, uint64_t id, size_t length)
{
    struct zk_message *m = calloc(1, sizeof *m + length + 1);
    if (m) {
        m->said = said;
        m->id = id;
        m->length = length;
    }
    return m;
}

void zk_inbox_put(struct zk_message *message)
{
    if (!message)
        return;
    pthread_mutex_lock(&self.lock);
    bool is_taken = self.is_open;
    if (is_taken) {
        bool was_empty = !self.first;
        message->next = NULL;
        *self.last = message;
        self.last = &message->next;
        uint64_t one = 1;
        while (was_empty && sys.write(self.watch.fd, &one, sizeof one) < 0 && errno == EINTR) {}
    }
    pthread_mutex_unlock(&self.lock);
    if (!is_taken)
        free(message);
}

static struct zk_message *take_all(void)
{
    pthread_mutex_lock(&self.lock);
    struct zk_message *first = self.first;
    self.first = NULL;
    self.last = &self.first;
    pthread_mutex_unlock(&self.lock);
    return first;
}

void zk_inbox_drain(void)
{
    for (struct zk_message *m = take_all(); m;) {
        struct zk_message *next = m->next;
        if (!zk_deliver(m))
            free(m);
        m = next;
    }
}

static void ready(struct watch *w, uint32_t events)
{
    (void)events;
    uint64_t count;
    if (sys.read(w->fd, &count, sizeof count) < 0 && errno == EAGAIN)
        return;
    zk_inbox_drain();
}

bool zk_inbox_hold(struct loop *loop, struct err *err)
{
    if (self.holds == 0) {
        int fd = sys.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (fd < 0)
            return err_errno(err, "zk: eventfd");
        if (!watch_start(&self.watch, loop, fd, READABLE, ready, err)) {
            sys.close(fd);
            return false;
        }
        pthread_mutex_lock(&self.lock);
        self.is_open = true;
        pthread_mutex_unlock(&self.lock);
    }
    self.holds++;
    return true;
}

void zk_inbox_shut(void)
{
    pthread_mutex_lock(&self.lock);
    self.is_open = false;
    pthread_mutex_unlock(&self.lock);
    int fd = self.watch.fd;
    if (watch_is_started(&self.watch)) {
        watch_stop(&self.watch);
        sys.close(fd);
    }
    for (struct zk_message *m = take_all(), *next; m; m = next) {
        next = m->next;
        free(m);
    }
    self.holds = 0;
}

void zk_inbox_release(void)
{
    if (self.holds > 0 && --self.holds == 0)
        zk_inbox_shut();
}
