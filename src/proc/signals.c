#include "appliance/signals.h"
#include "appliance/reaper.h"
#include "appliance/sys.h"

#include <signal.h>
#include <sys/signalfd.h>

static const int taken[] = {SIGCHLD, SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2};

static struct watch watch;
static void (*caught_by)(int signal);

static sigset_t taken_set(void)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        sigaddset(&set, taken[i]);
    return set;
}

void signals_block(void)
{
    sigset_t set = taken_set();
    sigprocmask(SIG_BLOCK, &set, NULL);
    /* A reader of our output, or a peer, that went away is an error of write(), not our end. child.c restores the default. */
    signal(SIGPIPE, SIG_IGN);
}

static void readable(struct watch *w, uint32_t events)
{
    (void)events;
    struct signalfd_siginfo batch[8];
    ssize_t size = sys.read(w->fd, batch, sizeof batch);
    bool child = false;
    for (ssize_t i = 0; i * (ssize_t)sizeof *batch < size; i++) {
        if (batch[i].ssi_signo == SIGCHLD)
            child = true;
        else if (caught_by)
            caught_by((int)batch[i].ssi_signo);
    }
    if (child)
        reaper_run();
}

bool signals_start(struct loop *loop, void (*caught)(int), struct err *err)
{
    caught_by = caught;
    if (watch_is_started(&watch))
        return true;
    sigset_t set = taken_set();
    int fd = sys.signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0)
        return err_errno(err, "signals: signalfd");
    if (!watch_start(&watch, loop, fd, EPOLLIN, readable, err)) {
        sys.close(fd);
        return false;
    }
    return true;
}

void signals_stop(void)
{
    if (!watch_is_started(&watch))
        return;
    int fd = watch.fd;
    watch_stop(&watch);
    sys.close(fd);
}
