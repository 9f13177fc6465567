/* A whole life of three services in which one system call fails, or one allocation: the first of its kind, in the next life the
 * second, and so on until a life has none left. As an ordinary process, and as PID 1 of a namespace of its own. Whichever it is,
 *   - nothing crashes, hangs or goes wrong in silence: a start works, or is refused whole and in a sentence;
 *   - there are never two main processes of one service; each death counts once, and no fault counts as a death;
 *   - the stop of everything ends in its time, and no process, descriptor, watch or timer is left. */
#include "appliance/child.h"
#include "appliance/console.h"
#include "appliance/deadline.h"
#include "appliance/reaper.h"
#include "appliance/signals.h"
#include "appliance/supervisor.h"
#include "appliance/sys.h"
#include "fault.h"
#include "turning.h"
#include "../../src/proc/spawn.h" /* to see whose process is being made */

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SERVICES = 3, BUDGET_MS = 4000, LIMIT_S = 20, BACKOFF_MS = 2, LOOK_MS = 1 };

/* --- what fails --- */

static const struct {
    enum fault_call call;
    int error;
} faults[] = {
    {FAULT_EPOLL_CREATE1, EMFILE}, {FAULT_EVENTFD, EMFILE},
    {FAULT_SIGNALFD, EMFILE},      {FAULT_OPEN, EMFILE},
    {FAULT_PIPE2, EMFILE},         {FAULT_FCNTL, EMFILE},
    {FAULT_READ, EINTR},           {FAULT_READ, ENOMEM},
    {FAULT_WRITE, EINTR},          {FAULT_WRITE, EIO},
    {FAULT_WRITE, ENOSPC},         {FAULT_RENAME, EIO},
    {FAULT_UNLINK, EIO},           {FAULT_FSYNC, EIO},
    {FAULT_SOCKET, EMFILE},        {FAULT_CONNECT, EAGAIN},
    {FAULT_EPOLL_CTL, ENOMEM},     {FAULT_EPOLL_WAIT, EINTR},
    {FAULT_SPAWN, EAGAIN},         {FAULT_SPAWN, ENOMEM},
    {FAULT_SPAWN, EMFILE},         {FAULT_PIDFD_OPEN, EMFILE},
    {FAULT_PIDFD_OPEN, ENOMEM},    {FAULT_PIDFD_SEND_SIGNAL, EPERM},
    {FAULT_KILL, EPERM},           {FAULT_WAITID, EINTR},
    {FAULT_PIDFD_OPEN, ENOSYS},    {FAULT_PIDFD_SEND_SIGNAL, ENOSYS}, /* a kernel without pidfds: asked once */
};

/* The n-th allocation fails, in the core and in libc: the dynamic linker takes a program's own malloc before the library's. */
static struct {
    bool counting;
    int nth, calls; /* nth 0: none fails */
} memory;

#ifdef __SANITIZE_ADDRESS__
enum { MEMORY_CAN_FAIL = 0 }; /* the sanitizer has an allocator of its own */
#else
enum { MEMORY_CAN_FAIL = 1 };
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);

static bool memory_is_short(void)
{
    if (!memory.counting || ++memory.calls != memory.nth)
        return false;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t size)
{
    return memory_is_short() ? NULL : __libc_malloc(size);
}
void *calloc(size_t count, size_t size)
{
    return memory_is_short() ? NULL : __libc_calloc(count, size);
}
void *realloc(void *old, size_t size)
{
    return memory_is_short() ? NULL : __libc_realloc(old, size);
}
#endif

/* --- what the test learns: the lives run in a process of their own, which may crash --- */

struct report {
    char fault[80], failure[300], slowest[80];
    int64_t slowest_ns;
    int lives;
};

static struct report *report;
static int printed; /* the reading end of descriptor 1 */

static _Noreturn void broken(const char *what, const char *more)
{
    char text[4096];
    snprintf(report->failure, sizeof report->failure, "%s%s%s", what, *more ? ": " : "", more);
    console_flush(100);
    for (ssize_t size; (size = read(printed, text, sizeof text)) > 0;)
        if (write(STDERR_FILENO, text, (size_t)size) < 0)
            break;
    _exit(1);
}

#define MUST(condition)             \
    do {                            \
        if (!(condition))           \
            broken(#condition, ""); \
    } while (0)

/* --- one life --- */

static struct {
    struct loop *loop;
    struct supervisor *sup;
    char *folder, log[512];
    int port;
    pid_t mains[SERVICES]; /* the last one of each */
    bool stopped;
} life;

static pid_t (*next_spawn)(int (*)(void *), void *, int, void *, int *);

/* Who starts a second main process while the first is not reaped is found here, at once. */
static pid_t watched_spawn(int (*child)(void *), void *stack, int flags, void *argument, int *pidfd)
{
    const struct spawn *s = argument;
    int index = s->envp[0][sizeof CHILD_MARKER - 1] - 'a'; /* the marker begins with the name */
    MUST(index >= 0 && index < SERVICES);
    if (life.mains[index] && kill(life.mains[index], 0) == 0)
        broken("a second main process", s->envp[0]);
    pid_t pid = next_spawn(child, stack, flags, argument, pidfd);
    int error = errno;
    if (pid > 0)
        life.mains[index] = pid;
    errno = error;
    return pid;
}

/* Processes below `pid`; zombies are not counted, nor is who keeps the time of a lease. Allocates nothing. */
static int count_below(pid_t pid)
{
    char path[64], list[4096], state = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC), count = 0;
    ssize_t size = fd < 0 ? 0 : read(fd, list, sizeof list - 1);
    if (fd >= 0)
        close(fd);
    list[size > 0 ? size : 0] = 0;
    for (char *at = list, *end; (pid = (pid_t)strtol(at, &end, 10)) > 0; at = end) {
        char stat[512];
        snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        size = fd < 0 ? 0 : read(fd, stat, sizeof stat - 1);
        if (fd >= 0)
            close(fd);
        stat[size > 0 ? size : 0] = 0;
        const char *rest = strrchr(stat, ')');
        state = rest ? rest[2] : 'X';
        count += state != 'Z' && state != 'X' && !deadline_is_ours(pid);
        count += count_below(pid);
    }
    return count;
}

static struct service_view view_of(int index)
{
    char name[2] = {(char)('a' + index), 0};
    struct service_view view;
    MUST(supervisor_view(life.sup, name, &view));
    return view;
}

static bool all_up(void)
{
    for (int i = 0; i < SERVICES; i++)
        if (view_of(i).state != SERVICE_UP)
            return false;
    return true;
}

static void turn(int64_t limit_ns, const char *waited_for)
{
    struct err err = {0};
    if (clock_ns() > limit_ns)
        broken("waited too long for", waited_for);
    if (!loop_turn(life.loop, clock_ns() + LOOK_MS * NS_PER_MS, &err))
        broken("the loop", err.text);
}

#define UNTIL(condition)                                                  \
    for (int64_t limit_ = clock_ns() + LIMIT_S * NS_PER_S; !(condition);) \
    turn(limit_, #condition)

static struct service_spec *spec_of(char name, const char *word, ...)
{
    bool counting = memory.counting;
    memory.counting = false; /* the test's own */
    struct service_spec *spec = service_spec_new((char[]){name, 0});
    spec->argv = calloc(24, sizeof(char *));
    va_list more;
    va_start(more, word);
    for (int i = 0; word; word = va_arg(more, const char *))
        spec->argv[i++] = strdup(word);
    va_end(more);
    spec->critical = false;
    spec->backoff_min_ms = spec->backoff_max_ms = BACKOFF_MS;
    spec->grace_ms = 1000;
    memory.counting = counting;
    return spec;
}

/* a is ready by what it prints; b by its port, and writes a log file that rotates; c leaves a child of its own behind, and needs a lease. */
static struct service_spec *make_spec(int index)
{
    char puppet[512];
    snprintf(puppet, sizeof puppet, "%s", test_program("puppet"));
    if (index == 0) {
        struct service_spec *a = spec_of('a', puppet, "say", "here I am", "wait", NULL);
        a->ready.kind = READY_LINE;
        a->ready.has = strdup("here I am");
        return a;
    }
    if (index == 1) {
        struct service_spec *b =
            spec_of('b', puppet, "say", "one", "say", "two", "say", "three", "say", "four", "wait", "say", "five", NULL);
        b->ready.kind = READY_TCP;
        b->ready.port = life.port;
        b->log_file = strdup(life.log);
        b->log_size = 10;
        b->log_keep = 2;
        b->log_full = LOG_FULL_BLOCK;
        b->after = calloc(1, sizeof *b->after);
        b->after[b->after_count++] = (struct need){strdup("a"), NEED_READY};
        return b;
    }
    struct service_spec *c = spec_of('c', "/bin/sh", "-c", "\"$0\" hang & exec \"$0\" hang", puppet, NULL);
    c->after = calloc(1, sizeof *c->after);
    c->after[c->after_count++] = (struct need){strdup("b"), NEED_STARTED};
    c->lease = strdup("sql");
    return c;
}

static void stopped(void *unused)
{
    (void)unused;
    life.stopped = true;
}

/* False: refused, in a sentence. Nothing of it is left once end() has run. */
static bool begin(struct err *err)
{
    life.loop = loop_new(err);
    return life.loop && deadline_start(0, err) && signals_start(life.loop, NULL, err) && reaper_start(life.loop, true, err) &&
           console_start(life.loop, CONSOLE_TEXT, err) && (life.sup = supervisor_new(life.loop, err)) &&
           supervisor_answer_for_all(life.sup, err);
}

static void declare_all(void)
{
    for (int i = SERVICES - 1; i >= 0; i--) {
        struct err err = {0};
        bool counting = memory.counting;
        memory.counting = false;
        struct service_spec *spec = make_spec(i);
        memory.counting = counting;
        if (supervisor_declare(life.sup, spec, &err))
            continue;
        MUST(err.text[0]);
        memory.counting = false;
        spec = make_spec(i);
        memory.counting = counting;
        if (!supervisor_declare(life.sup, spec, &err)) /* one call fails, once: the next try must work */
            broken("the second try", err.text);
    }
}

static void hold(int64_t due_boot_ns)
{
    struct err err = {0};
    if (supervisor_lease(life.sup, "sql", due_boot_ns, &err))
        return;
    MUST(err.text[0]);
    MUST(supervisor_lease(life.sup, "sql", due_boot_ns, NULL));
}

static void live(void)
{
    declare_all();
    hold(clock_boot_ns() + 3600 * NS_PER_S);
    for (int i = SERVICES - 1; i >= 0; i--) {
        char name[2] = {(char)('a' + i), 0};
        MUST(supervisor_want(life.sup, name, true, NULL));
    }
    UNTIL(all_up());
    UNTIL(count_below(getpid()) == SERVICES + 1);
    MUST(kill(view_of(0).pid, SIGKILL) == 0);
    MUST(kill(view_of(2).pid, SIGKILL) == 0);
    UNTIL(view_of(0).restarts == 1 && view_of(2).restarts == 1 && all_up());
    UNTIL(count_below(getpid()) == SERVICES + 1);
    MUST(view_of(0).crashes == 1);
    MUST(view_of(1).crashes == 0 && view_of(1).restarts == 0);
    MUST(view_of(2).crashes == 1);
    hold(0);
    UNTIL(view_of(2).state == SERVICE_WAITING);
    UNTIL(count_below(getpid()) == 2); /* one may be past the end of its memory, and so of anything it could do, and not yet a zombie */
    hold(clock_boot_ns() + 3600 * NS_PER_S);
    UNTIL(all_up() && count_below(getpid()) == SERVICES + 1);
    MUST(view_of(2).crashes == 1 && view_of(2).restarts == 2);
}

static void stop(void)
{
    int64_t before = clock_ns();
    supervisor_stop_all(life.sup, BUDGET_MS, stopped, NULL);
    UNTIL(life.stopped);
    MUST(clock_ns() - before < (BUDGET_MS + 1000) * NS_PER_MS);
    for (int i = 0; i < SERVICES; i++)
        MUST(view_of(i).state == SERVICE_DOWN);
    MUST(count_below(getpid()) == 0);
}

static void end(void)
{
    supervisor_free(life.sup);
    deadline_stop();
    signals_stop();
    reaper_stop();
    console_stop();
    if (life.loop) {
        MUST(loop_watch_count(life.loop) == 0);
        UNTIL(loop_timer_count(life.loop) == 0); /* a sweep's memory is given back in the next turn */
        loop_free(life.loop);
    }
    life.loop = NULL;
    life.sup = NULL;
}

static void clean_up(int listener)
{
    char path[520], text[4096];
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, i ? "%s.%d" : "%s", life.log, i);
        unlink(path);
    }
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;)
        close(fd);
    while (read(printed, text, sizeof text) > 0) {}
}

static void live_once(int listener)
{
    int descriptors = open_descriptors();
    int64_t before = clock_ns();
    struct err err = {0};
    memset(life.mains, 0, sizeof life.mains);
    life.stopped = false;
    memory.calls = 0;
    memory.counting = true;
    bool begun = begin(&err);
    if (begun) {
        live();
        stop();
    } else {
        MUST(err.text[0]);
    }
    memory.counting = false;
    end();
    MUST(waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD);
    clean_up(listener);
    for (int64_t limit = clock_ns() + LIMIT_S * NS_PER_S; open_descriptors() != descriptors;) /* a relay of stdout ends on its own thread */
        MUST(clock_ns() < limit);
    report->lives++;
    if (clock_ns() - before > report->slowest_ns) {
        report->slowest_ns = clock_ns() - before;
        memcpy(report->slowest, report->fault, sizeof report->slowest);
    }
}

/* --- all lives --- */

static int listen_somewhere(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (bind(fd, (struct sockaddr *)&address, length) < 0 || listen(fd, 64) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        broken("listen", strerror(errno));
    life.port = ntohs(address.sin_port);
    return fd;
}

static _Noreturn void live_all(void)
{
    int ends[2], listener = listen_somewhere();
    if (pipe2(ends, O_CLOEXEC) < 0 || dup2(ends[1], STDOUT_FILENO) < 0)
        _exit(1);
    close(ends[1]);
    printed = ends[0];
    fcntl(printed, F_SETFL, O_NONBLOCK);
    snprintf(life.log, sizeof life.log, "%s/b.log", life.folder);
    signals_block();
    fault_clear();
    next_spawn = sys.spawn;
    sys.spawn = watched_spawn;

    for (memory.nth = 1, memory.calls = 1; MEMORY_CAN_FAIL && memory.calls >= memory.nth - 1; memory.nth++) {
        snprintf(report->fault, sizeof report->fault, "allocation %d", memory.nth);
        live_once(listener);
    }
    memory.nth = 0;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        for (struct fault f = fault_sweep(faults[i].call, faults[i].error); fault_next(&f);) {
            snprintf(report->fault, sizeof report->fault, "%s %d: %s", fault_name(f.call), f.nth, strerrorname_np(f.error));
            live_once(listener);
        }
    _exit(0);
}

/* --- who runs them: both kinds at the same time, each where no other process costs a sweep its time --- */

enum { ORDINARY, PID1, KINDS };

static struct runner {
    pid_t pid;
    char *folder;
    struct report *report;
} runners[KINDS];

static bool write_map(const char *name, unsigned id)
{
    char text[64];
    int fd = open(name, O_WRONLY | O_CLOEXEC), length = snprintf(text, sizeof text, "%u %u 1", id, id);
    bool ok = fd >= 0 && write(fd, text, (size_t)length) == length;
    if (fd >= 0)
        close(fd);
    return ok;
}

static void settle_in(bool own_users, uid_t uid, gid_t gid)
{
    if (own_users) {
        int fd = open("/proc/self/setgroups", O_WRONLY | O_CLOEXEC);
        if (write(fd, "deny", 4) < 0 || !write_map("/proc/self/uid_map", uid) || !write_map("/proc/self/gid_map", gid))
            broken("the user map", strerror(errno));
        close(fd);
    }
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || mount("proc", "/proc", "proc", 0, NULL) < 0)
        broken("mount /proc", strerror(errno));
}

/* PID 1 of the namespace in which the ordinary process lives. */
static void wait_for_ordinary_one(void)
{
    pid_t ordinary = fork();
    if (ordinary == 0)
        return;
    int status = 0;
    while (waitpid(-1, &status, 0) != ordinary) {}
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

static void start_runner(int kind)
{
    struct runner *r = &runners[kind];
    uid_t uid = geteuid();
    gid_t gid = getegid();
    int flags = CLONE_NEWPID | CLONE_NEWNS | (uid != 0 ? CLONE_NEWUSER : 0);
    r->report = report = mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(report, MAP_FAILED);
    r->folder = life.folder = scratch_new();
    r->pid = (pid_t)syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, NULL);
    bool alone = r->pid >= 0;
    if (!alone && kind == ORDINARY)
        r->pid = fork();
    if (r->pid != 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (alone)
        settle_in(uid != 0, uid, gid);
    if (alone && kind == ORDINARY)
        wait_for_ordinary_one();
    live_all();
}

static int start_runners(void **unused)
{
    (void)unused;
    for (int kind = 0; kind < KINDS; kind++)
        start_runner(kind);
    return 0;
}

static void finish(int kind)
{
    struct runner *r = &runners[kind];
    int status = 0;
    pid_t ended = r->pid < 0 ? -1 : waitpid(r->pid, &status, 0);
    scratch_free(r->folder);
    struct report said = *r->report;
    munmap(r->report, sizeof *r->report);
    if (r->pid < 0) {
        print_message("namespaces can't be made here\n");
        skip();
    }
    assert_int_equal(ended, r->pid);
    if (status)
        fail_msg("%s fails: %s (status %#x)", said.fault, *said.failure ? said.failure : "crashed", (unsigned)status);
    print_message("%d lives; the slowest took %.0f ms: %s\n", said.lives, (double)said.slowest_ns / NS_PER_MS, said.slowest);
}

static void an_ordinary_process_survives_each_failing_call(void **unused)
{
    (void)unused;
    finish(ORDINARY);
}

static void pid_1_survives_each_failing_call(void **unused)
{
    (void)unused;
    finish(PID1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ordinary_process_survives_each_failing_call),
        cmocka_unit_test(pid_1_survives_each_failing_call),
    };
    return cmocka_run_group_tests(tests, start_runners, NULL);
}
