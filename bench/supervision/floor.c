/* floor.c - `floor COUNT PROGRAM [LOG]`: the least that starts, restarts and stops COUNT children, and copies what they print to LOG.
 * No feature, no configuration: the yardstick of what the kernel itself costs. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST = 1100, BUFFER = 1 << 16 };

static pid_t pids[MOST];
static int pipes[MOST][2];
extern char **environ;

static void start(int i, const char *program)
{
    char *const arguments[] = {(char *)program, NULL};
    sigset_t none;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    sigemptyset(&none);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawn_file_actions_init(&actions);
    if (pipes[i][1] > 0)
        posix_spawn_file_actions_adddup2(&actions, pipes[i][1], 1);
    if (posix_spawn(&pids[i], program, &actions, &attributes, arguments, environ) != 0)
        pids[i] = 0;
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
}

int main(int argc, char **argv)
{
    static char buffer[BUFFER];
    int count = atoi(argv[1]), stopping = 0, alive = 0;
    int log = argc > 3 ? open(argv[3], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644) : -1;
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGCHLD);
    sigaddset(&mask, SIGTERM);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    int signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK), poller = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(poller, EPOLL_CTL_ADD, signals, &(struct epoll_event){.events = EPOLLIN, .data.fd = signals});
    for (int i = 0; i < count; i++) {
        if (log >= 0 && pipe2(pipes[i], O_CLOEXEC) == 0)
            epoll_ctl(poller, EPOLL_CTL_ADD, pipes[i][0], &(struct epoll_event){.events = EPOLLIN, .data.fd = pipes[i][0]});
        start(i, argv[2]);
        alive++;
    }
    while (!stopping || alive > 0) {
        struct epoll_event event;
        struct signalfd_siginfo info;
        if (epoll_wait(poller, &event, 1, -1) != 1)
            continue;
        if (event.data.fd != signals) {
            ssize_t n = read(event.data.fd, buffer, sizeof buffer);
            if (n > 0 && write(log, buffer, (size_t)n) < 0)
                return 1;
            continue;
        }
        while (read(signals, &info, sizeof info) == sizeof info) {
            if (info.ssi_signo == SIGTERM) {
                stopping = 1;
                for (int i = 0; i < count; i++)
                    if (pids[i] > 0)
                        kill(-pids[i], SIGTERM);
            }
        }
        for (pid_t pid; (pid = waitpid(-1, NULL, WNOHANG)) > 0;)
            for (int i = 0; i < count; i++)
                if (pids[i] == pid) {
                    pids[i] = 0;
                    if (stopping)
                        alive--;
                    else
                        start(i, argv[2]);
                }
    }
    return 0;
}
