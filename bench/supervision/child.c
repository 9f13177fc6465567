/* child.c - what every supervisor under test runs. It takes no arguments, because some supervisors give none.
 * STAMP: a file to which "EVENT MONOTONIC_NS PID" is appended at the start of main, and at TERM in a family.
 * MODE: "write" (then SIZE, TOTAL: writes TOTAL bytes to stdout, SIZE at a time), "family" (five related processes), "crash" (ends at
 * once), "in turn" and "at once" (10,000 orphans end), else it waits. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void stamp(const char *event)
{
    struct timespec now;
    char line[96];
    clock_gettime(CLOCK_MONOTONIC, &now);
    int length = snprintf(line, sizeof line, "%s %lld %d\n", event, (long long)now.tv_sec * 1000000000 + now.tv_nsec, (int)getpid());
    int file = open(getenv("STAMP"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (file >= 0 && write(file, line, (size_t)length) < 0)
        _exit(111);
    close(file);
}

static void on_term(int signal)
{
    (void)signal;
    stamp("term");
    _exit(0);
}

static void wait_for_ever(const char *event)
{
    signal(SIGTERM, on_term);
    stamp(event);
    for (;;)
        pause();
}

static void write_all(void)
{
    size_t size = strtoul(getenv("SIZE"), NULL, 10), total = strtoul(getenv("TOTAL"), NULL, 10);
    char *block = malloc(size);
    memset(block, 'x', size);
    for (size_t i = 99; i < size; i += 100)
        block[i] = '\n'; /* lines of 100 bytes, however many go out at once */
    block[size - 1] = '\n';
    for (size_t done = 0; done < total;) {
        ssize_t n = write(STDOUT_FILENO, block, size);
        if (n <= 0)
            _exit(111);
        done += (size_t)n;
    }
    wait_for_ever("written");
}

/* main, a member of its group, an orphan in its group, an own session, a daemon */
static void family(void)
{
    if (fork() == 0)
        wait_for_ever("member");
    if (fork() == 0) {
        if (fork() == 0)
            wait_for_ever("member");
        _exit(0);
    }
    wait(NULL);
    if (fork() == 0) {
        setsid();
        wait_for_ever("member");
    }
    if (fork() == 0) {
        setsid();
        if (fork() == 0)
            wait_for_ever("member");
        _exit(0);
    }
    wait_for_ever("member");
}

/* --- orphans: left to PID 1, who has to take leave of them --- */

enum { ORPHANS = 10000 };

static pid_t *orphans;

static void orphan(int i, int ends_at_once)
{
    pid_t pid = fork();
    if (pid == 0) {
        while (!ends_at_once)
            pause();
        _exit(0);
    }
    orphans[i] = pid;
}

static void in_turn(void)
{
    for (int i = 0; i < ORPHANS; i++) {
        pid_t parent = fork();
        if (parent == 0) {
            orphan(i, 1);
            _exit(0);
        }
        waitpid(parent, NULL, 0);
    }
    stamp("ended");
}

static void at_once(void)
{
    pid_t parent = fork();
    if (parent == 0) {
        setpgid(0, 0);
        for (int i = 0; i < ORPHANS; i++)
            orphan(i, 0);
        _exit(0);
    }
    waitpid(parent, NULL, 0);
    stamp("ended");
    kill(-parent, SIGKILL);
}

/* Each number of a process is free again only when its zombie is gone. */
static void wait_until_gone(void)
{
    for (int i = 0; i < ORPHANS; i++)
        while (orphans[i] > 0 && (kill(orphans[i], 0) == 0 || errno != ESRCH))
            usleep(200);
    stamp("gone");
}

static void leave_orphans(void (*end)(void))
{
    orphans = mmap(NULL, ORPHANS * sizeof *orphans, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    end();
    wait_until_gone();
    wait_for_ever("idle");
}

int main(void)
{
    const char *mode = getenv("MODE");
    stamp("start");
    if (mode && strcmp(mode, "write") == 0)
        write_all();
    if (mode && strcmp(mode, "family") == 0)
        family();
    if (mode && strcmp(mode, "crash") == 0)
        return 1;
    if (mode && strcmp(mode, "in turn") == 0)
        leave_orphans(in_turn);
    if (mode && strcmp(mode, "at once") == 0)
        leave_orphans(at_once);
    signal(SIGTERM, SIG_DFL);
    for (;;)
        pause();
}
