#include "appliance/offload.h"
#include "appliance/sys.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct offload {
    void *job, *owner;
    void (*work)(void *);
    void (*finish)(void *, void *);
    void (*drop)(void *);
    bool abandoned; /* touched by the loop's thread only */
    struct offload *next;
};

static struct {
    struct watch watch;
    pthread_mutex_t lock;
    pthread_cond_t one_ended;
    struct offload *ended; /* under the lock */
    int under_way;         /* under the lock: started and not yet in `ended` */
    int count;             /* loop's thread: started and not yet dropped */
} self = {.lock = PTHREAD_MUTEX_INITIALIZER, .one_ended = PTHREAD_COND_INITIALIZER};

static void *run(void *argument)
{
    struct offload *o = argument;
    o->work(o->job);
    pthread_mutex_lock(&self.lock);
    o->next = self.ended;
    self.ended = o;
    self.under_way--;
    uint64_t one = 1;
    while (write(self.watch.fd, &one, sizeof one) < 0 && errno == EINTR) {}
    pthread_cond_signal(&self.one_ended);
    pthread_mutex_unlock(&self.lock);
    return NULL;
}

static void collect(struct watch *w, uint32_t events)
{
    (void)events;
    uint64_t count;
    if (sys.read(w->fd, &count, sizeof count) < 0 && errno == EAGAIN)
        return;
    pthread_mutex_lock(&self.lock);
    struct offload *ended = self.ended;
    self.ended = NULL;
    pthread_mutex_unlock(&self.lock);
    while (ended) {
        struct offload *o = ended;
        ended = o->next;
        if (!o->abandoned)
            o->finish(o->job, o->owner);
        o->drop(o->job);
        free(o);
        self.count--;
    }
}

static bool watch_ends(struct loop *loop, struct err *err)
{
    if (watch_is_started(&self.watch))
        return true;
    int fd = sys.eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0)
        return err_errno(err, "helper thread: eventfd");
    if (!watch_start(&self.watch, loop, fd, EPOLLIN, collect, err)) {
        sys.close(fd);
        return false;
    }
    return true;
}

struct offload *offload_start(struct loop *loop, void *job, void (*work)(void *), void (*finish)(void *, void *), void (*drop)(void *),
                              void *owner, struct err *err)
{
    struct offload *o = calloc(1, sizeof *o);
    if (!o || !watch_ends(loop, err)) {
        if (!o)
            err_errno(err, "helper thread");
        free(o);
        return NULL;
    }
    *o = (struct offload){.job = job, .owner = owner, .work = work, .finish = finish, .drop = drop};
    pthread_mutex_lock(&self.lock);
    self.under_way++;
    pthread_mutex_unlock(&self.lock);
    pthread_t thread;
    pthread_attr_t detached;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&detached, 256 * 1024);
    int code = pthread_create(&thread, &detached, run, o);
    pthread_attr_destroy(&detached);
    if (code != 0) {
        pthread_mutex_lock(&self.lock);
        self.under_way--;
        pthread_mutex_unlock(&self.lock);
        free(o);
        errno = code;
        err_errno(err, "helper thread");
        return NULL;
    }
    self.count++;
    return o;
}

void offload_abandon(struct offload *o)
{
    if (o)
        o->abandoned = true;
}

int offload_count(void)
{
    return self.count;
}

void offload_stop(void)
{
    if (!watch_is_started(&self.watch))
        return;
    pthread_mutex_lock(&self.lock);
    while (self.under_way > 0)
        pthread_cond_wait(&self.one_ended, &self.lock);
    pthread_mutex_unlock(&self.lock);
    collect(&self.watch, EPOLLIN);
    int fd = self.watch.fd;
    watch_stop(&self.watch);
    sys.close(fd);
}
