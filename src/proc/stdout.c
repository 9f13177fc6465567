#include "stdout.h"
#include "appliance/clock.h"
#include "appliance/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- the relay: a thread that may wait, for a pipe or terminal that can't be had without ---
 * That is somebody else's (we were started through su, gosu ...), or there is no /proc. Asking poll() first would not do: a
 * terminal that polls as writable may have room for one byte, and a write of two waits for its reader. */
static struct {
    pthread_t thread;
    int to; /* a pipe of our own; this end does not wait */
    pthread_mutex_t lock;
    pthread_cond_t caught_up;
    uint64_t given, passed_on; /* bytes, under the lock */
} relay = {.to = -1, .lock = PTHREAD_MUTEX_INITIALIZER};

static bool pass_on(const char *data, size_t length)
{
    while (length > 0) {
        ssize_t written = write(STDOUT_FILENO, data, length);
        if (written < 0 && errno == EAGAIN) { /* somebody else has set O_NONBLOCK */
            struct pollfd ask = {.fd = STDOUT_FILENO, .events = POLLOUT};
            poll(&ask, 1, -1);
        } else if (written < 0 && errno != EINTR) {
            return false;
        }
        length -= written > 0 ? (size_t)written : 0;
        data += written > 0 ? written : 0;
    }
    return true;
}

static void tell_passed_on(uint64_t all)
{
    pthread_mutex_lock(&relay.lock);
    relay.passed_on = all;
    pthread_cond_signal(&relay.caught_up);
    pthread_mutex_unlock(&relay.lock);
}

static void *run_relay(void *from)
{
    int fd = (int)(intptr_t)from;
    char data[4096];
    uint64_t all = 0;
    for (;;) {
        ssize_t size = read(fd, data, sizeof data);
        if (size < 0 && errno == EINTR)
            continue;
        if (size <= 0 || !pass_on(data, (size_t)size))
            break;
        all += (uint64_t)size;
        tell_passed_on(all);
    }
    close(fd); /* the console's writes fail with EPIPE from here on, as ours did */
    tell_passed_on(UINT64_MAX);
    return NULL;
}

static bool start_relay(void)
{
    int ends[2];
    if (sys.pipe2(ends, O_CLOEXEC) < 0)
        return false;
    relay.to = ends[1];
    relay.given = relay.passed_on = 0;
    sigset_t all, old;
    sigfillset(&all);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 << 10);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&relay.caught_up, &monotonic);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    bool started = sys.fcntl(relay.to, F_SETFL, O_NONBLOCK) == 0 &&
                   pthread_create(&relay.thread, &attributes, run_relay, (void *)(intptr_t)ends[0]) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_condattr_destroy(&monotonic);
    pthread_attr_destroy(&attributes);
    if (started)
        return true;
    sys.close(ends[0]);
    sys.close(ends[1]);
    relay.to = -1;
    return false;
}

/* --- which way --- */

static ssize_t plain_write(int fd, const char *data, size_t length)
{
    return sys.write(fd, data, length);
}

static ssize_t socket_write(int fd, const char *data, size_t length)
{
    return send(fd, data, length, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static ssize_t relay_write(int fd, const char *data, size_t length)
{
    ssize_t written = sys.write(fd, data, length);
    pthread_mutex_lock(&relay.lock);
    relay.given += written > 0 ? (uint64_t)written : 0;
    pthread_mutex_unlock(&relay.lock);
    return written;
}

/* Neither a descriptor nor a thread to be had: then at least ask first. */
static ssize_t asked_write(int fd, const char *data, size_t length)
{
    struct pollfd ask = {.fd = fd, .events = POLLOUT};
    if (poll(&ask, 1, 0) > 0)
        return sys.write(fd, data, length < PIPE_BUF ? length : PIPE_BUF);
    errno = EAGAIN;
    return -1;
}

static struct {
    ssize_t (*write)(int fd, const char *data, size_t length);
    int fd;
} port = {plain_write, STDOUT_FILENO};

static void use(ssize_t (*way)(int, const char *, size_t), int fd)
{
    port.write = way;
    port.fd = fd;
}

/* Opening anew through /proc gives a description of our own. Not for files: the new description would have an offset of its
 * own, and whoever writes to the old one after us would write over what we wrote. They never make us wait for a reader anyway. */
void stdout_open(void)
{
    struct stat status;
    use(plain_write, STDOUT_FILENO);
    if (fstat(STDOUT_FILENO, &status) < 0 || S_ISREG(status.st_mode) || S_ISBLK(status.st_mode))
        return;
    if (S_ISSOCK(status.st_mode)) {
        use(socket_write, STDOUT_FILENO);
        return;
    }
    int fd = sys.open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_APPEND | O_CLOEXEC | O_NOCTTY, 0);
    if (fd >= 0)
        use(plain_write, fd);
    else if (errno != ENXIO && start_relay()) /* ENXIO: a pipe without a reader, where a write says so at once */
        use(relay_write, relay.to);
    else
        use(asked_write, STDOUT_FILENO);
}

int stdout_fd(void)
{
    return port.fd;
}

ssize_t stdout_write(const char *data, size_t length)
{
    return port.write(port.fd, data, length);
}

void stdout_flush(int64_t end_ns)
{
    if (relay.to < 0)
        return;
    struct timespec end = {.tv_sec = end_ns / NS_PER_S, .tv_nsec = end_ns % NS_PER_S};
    pthread_mutex_lock(&relay.lock);
    while (relay.passed_on < relay.given && pthread_cond_timedwait(&relay.caught_up, &relay.lock, &end) == 0) {}
    pthread_mutex_unlock(&relay.lock);
}

void stdout_close(void)
{
    if (port.fd != STDOUT_FILENO)
        sys.close(port.fd);
    if (relay.to >= 0) { /* if it hangs in a write it is left there: a thread that owns nothing but its end of the pipe */
        pthread_detach(relay.thread);
        relay.to = -1;
    }
    use(plain_write, STDOUT_FILENO);
}
