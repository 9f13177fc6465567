/* fault.h - makes system calls of the `sys` table fail on demand.
 *
 *     for (struct fault f = fault_sweep(FAULT_PIPE2, EMFILE); fault_next(&f);)
 *         check_that_starting_survives();
 *
 * runs the body with the first call failing, then the second, and so on, and once more with none failing; then it is over. */
#ifndef TEST_FAULT_H
#define TEST_FAULT_H

#include <stdbool.h>

enum fault_call {
    FAULT_OPEN,
    FAULT_READ,
    FAULT_WRITE,
    FAULT_PIPE2,
    FAULT_FCNTL,
    FAULT_RENAME,
    FAULT_UNLINK,
    FAULT_FSYNC,
    FAULT_SOCKET,
    FAULT_CONNECT,
    FAULT_ACCEPT4,
    FAULT_EPOLL_CREATE1,
    FAULT_EPOLL_CTL,
    FAULT_EPOLL_WAIT,
    FAULT_EVENTFD,
    FAULT_SIGNALFD,
    FAULT_TIMERFD_CREATE,
    FAULT_SPAWN,
    FAULT_PIDFD_OPEN,
    FAULT_PIDFD_SEND_SIGNAL,
    FAULT_KILL,
    FAULT_WAITID,
    FAULT_CALLS
};

/* From the n-th call on (1 is the next one), `count` calls in a row fail with `error`; count 0: all of them for ever. */
void fault_set(enum fault_call, int nth, int count, int error);
void fault_clear(void);           /* every call works again, and counts from 0 */
int fault_calls(enum fault_call); /* how many were made since fault_set or fault_clear */
int fault_hits(enum fault_call);  /* and how many of them failed for us */
const char *fault_name(enum fault_call);

/* Steps the clock of sys by hand: time stands still at `now_ns` until the next call. -1: real time again. */
void fault_clock(long long now_ns);

struct fault {
    enum fault_call call;
    int error, nth;
};
struct fault fault_sweep(enum fault_call, int error);
bool fault_next(struct fault *);

#endif
