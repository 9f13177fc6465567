/* family DIR [ROLE=ignore|ROLE=MS]... - five processes that leave main in every way a service's processes do:
 *   main, pg (its child, same group), orphan (same group, its parent ended), sess (its child, own session), daemon (both).
 * Each writes DIR/ROLE.up with its pid, and when asked by TERM DIR/ROLE.asked, then (after MS) DIR/ROLE.finished, and ends.
 * `ignore`: that one does not react to TERM. main prints "ready" when all five are there. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <fcntl.h>

static const char *folder;
static char **options;

static void note(const char *role, const char *what)
{
    char path[512], text[32];
    snprintf(path, sizeof path, "%s/%s.%s", folder, role, what);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0666);
    if (fd < 0 || write(fd, text, (size_t)snprintf(text, sizeof text, "%d\n", (int)getpid())) < 0)
        _exit(99);
    close(fd);
}

static const char *option(const char *role)
{
    size_t length = strlen(role);
    for (char **o = options; *o; o++)
        if (strncmp(*o, role, length) == 0 && (*o)[length] == '=')
            return *o + length + 1;
    return "0";
}

static void live(const char *role)
{
    const char *how = option(role);
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    for (;;) {
        int got = sigwaitinfo(&term, NULL);
        if (got != SIGTERM || strcmp(how, "ignore") == 0)
            continue;
        note(role, "asked");
        struct timespec pause = {.tv_sec = atol(how) / 1000, .tv_nsec = atol(how) % 1000 * 1000000};
        while (nanosleep(&pause, &pause) < 0 && errno == EINTR) {}
        note(role, "finished");
        _exit(0);
    }
}

static void member(const char *role, int ready, int own_session, int orphaned)
{
    pid_t pid = fork();
    if (pid > 0) {
        if (orphaned)
            waitpid(pid, NULL, 0);
        return;
    }
    if (own_session)
        setsid();
    if (orphaned && fork() > 0)
        _exit(0);
    note(role, "up");
    if (write(ready, "", 1) != 1)
        _exit(99);
    close(ready);
    live(role);
}

int main(int count, char **arguments)
{
    if (count < 2)
        return 64;
    folder = arguments[1];
    options = arguments + 2;
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, NULL);
    int ready[2];
    if (pipe(ready) < 0)
        return 1;
    member("pg", ready[1], 0, 0);
    member("orphan", ready[1], 0, 1);
    member("sess", ready[1], 1, 0);
    member("daemon", ready[1], 1, 1);
    close(ready[1]);
    char there;
    while (read(ready[0], &there, 1) == 1) {}
    note("main", "up");
    puts("ready");
    fflush(stdout);
    live("main");
}
