/* zk_handle.h - the library's handle as zk.c (its life) and zk_send.c (what is asked over it) share it. The one place that includes the
 * library's header. */
#ifndef APPLIANCE_ZK_HANDLE_H
#define APPLIANCE_ZK_HANDLE_H

#define THREADED /* zookeeper.h: without it, it declares the interface of the other library */
#include "zk_inner.h"

#include <pthread.h>
#include <stdatomic.h>
#include <zookeeper/zookeeper.h>

/* Lives until the last helper thread that works for it has ended: `references` are the owner's and one of each job. */
struct zk_handle {
    pthread_mutex_t lock;
    zhandle_t *zh;         /* under the lock: helper threads */
    _Atomic bool unwanted; /* nobody waits for it to open any more */
    bool is_refused;       /* the library could not */
    zhandle_t *usable;     /* loop's thread: the same, while it is the owner's */
    bool needs_auth;
    struct loop *loop;
    int references, in_library, timeout_ms;
    uint32_t tag;
    char *servers, *auth;
    struct zk_multi *multis;
    void (*opened)(struct zk_handle *, void *, bool);
    void *owner;
    struct offload *opening;
    struct timer close_again;
};

static inline uint64_t zk_number_of(const void *data)
{
    return (uint64_t)(uintptr_t)data;
}

/* zk_send.c: those whose results the library has not told, and now never will. */
void zk_multis_free(struct zk_handle *);

#endif
