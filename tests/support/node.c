#include "node.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { INNER_UID = 1000, LIMIT_S = 60 };

static const char *program(void)
{
    const char *given = getenv("APPLIANCE");
    return given && *given ? given : TEST_BUILD "/spark-appliance";
}

/* --- start: the child's side --- */

static void refuse(const char *what)
{
    fprintf(stderr, "test: %s: %s\n", what, strerror(errno));
    _exit(126);
}

static int pipe_without_reader(bool full)
{
    int fds[2];
    if (pipe(fds) < 0)
        refuse("pipe");
    if (!full) {
        close(fds[0]);
        return fds[1];
    }
    char block[4096] = {0};
    fcntl(fds[1], F_SETFL, O_NONBLOCK);
    while (write(fds[1], block, sizeof block) > 0) {}
    fcntl(fds[1], F_SETFL, 0);
    return fds[1]; /* the reading end stays open in us under a number that nobody knows */
}

static void connect_output(enum node_output kind, int output)
{
    if (dup2(output, 1) < 0 || dup2(output, 2) < 0)
        refuse("dup2");
    int dead =
        kind == NODE_OUTPUT_PIPE || kind == NODE_CLOSED ? -1 : pipe_without_reader(kind == NODE_STDERR_FULL || kind == NODE_ALL_FULL);
    if (dead >= 0 && (dup2(dead, 2) < 0 || ((kind == NODE_ALL_BROKEN || kind == NODE_ALL_FULL) && dup2(dead, 1) < 0)))
        refuse("dup2");
    if (dead > 2)
        close(dead);
    if (kind == NODE_CLOSED)
        for (int fd = 0; fd < 3; fd++)
            close(fd);
}

static void limit(int resource, const struct rlimit *value)
{
    if (value->rlim_cur && setrlimit(resource, value) < 0)
        refuse("setrlimit");
}

uid_t node_nobody(void)
{
    static uid_t nobody;
    if (!nobody)
        nobody = 100000 + (uid_t)getpid() % 50000;
    return nobody;
}

void node_become_nobody(void)
{
    uid_t nobody = node_nobody();
    if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setresgid(nobody, nobody, nobody) < 0 || setresuid(nobody, nobody, nobody) < 0))
        refuse("become nobody");
}

#define REFUSE_CALL(number, error) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (error))

static void refuse_younger_calls(int error)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        REFUSE_CALL(SYS_close_range, (unsigned)error),
        REFUSE_CALL(SYS_pidfd_open, (unsigned)error),
        REFUSE_CALL(SYS_pidfd_send_signal, (unsigned)error),
        REFUSE_CALL(SYS_epoll_pwait2, (unsigned)error),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)), /* flags; both of our machines are little-endian */
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_PIDFD, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog whole = {.len = sizeof filter / sizeof *filter, .filter = filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &whole) < 0)
        refuse("seccomp");
}

static void make_read_only(const char *folder)
{
    char state[PATH_MAX];
    struct mount_attr read_only = {.attr_set = MOUNT_ATTR_RDONLY};
    snprintf(state, sizeof state, "%s/state", folder);
    if (mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, &read_only, sizeof read_only) < 0)
        refuse("mount / read-only");
    if (mount("state", state, "tmpfs", MS_NOEXEC | MS_NOSUID | MS_NODEV, "mode=0777") < 0)
        refuse("mount state/");
}

static void in_namespaces(const struct node_options *o, const char *folder, bool own_users, int ready)
{
    char byte;
    if (read(ready, &byte, 1) != 1) /* the maps are written */
        _exit(126);
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        refuse("mount /");
    if (o->read_only)
        make_read_only(folder);
    if (mount("proc", "/proc", "proc", 0, NULL) < 0)
        refuse("mount /proc");
    uid_t inner = o->kind == NODE_PID1 && own_users ? INNER_UID : 0;
    if (own_users && (setresgid(inner, inner, inner) < 0 || setresuid(inner, inner, inner) < 0))
        refuse("take the inner user");
}

static void run_program(const struct node_options *o, const char *folder, int output)
{
    char profiles[PATH_MAX + 32], state[PATH_MAX + 32];
    char *environment[32] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "PROFILE=test", profiles, state,
                             "ASAN_OPTIONS=detect_leaks=0"};
    int count = 5;
    snprintf(profiles, sizeof profiles, "APPLIANCE_PROFILES=%s", folder);
    snprintf(state, sizeof state, "STATE_DIR=%s/state", folder);
    for (int i = 0; o->environment && o->environment[i] && count < 31; i++)
        environment[count++] = o->environment[i];
    sigset_t set;
    sigemptyset(&set);
    for (int number = 1; number < 32; number++)
        signal(number, SIG_DFL);
    if (o->leave_signals) {
        sigfillset(&set);
        signal(SIGHUP, SIG_IGN);
        signal(SIGPIPE, SIG_IGN);
    }
    sigprocmask(SIG_SETMASK, &set, NULL);
    limit(RLIMIT_NOFILE, &o->nofile);
    if (o->as_nobody)
        node_become_nobody();
    limit(RLIMIT_NPROC, &o->processes);
    if (o->refused)
        refuse_younger_calls(o->refused);
    connect_output(o->output, output);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves no node behind; a change of user would have cleared it */
    execle(program(), "spark-appliance", "run", (char *)NULL, environment);
    refuse(program());
}

/* --- start: our side --- */

static bool write_file(pid_t pid, const char *name, const char *text)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return ok;
}

static bool write_maps(pid_t pid, bool inner_root)
{
    char map[64];
    write_file(pid, "setgroups", "deny");
    snprintf(map, sizeof map, "%d %d 1", inner_root ? 0 : INNER_UID, (int)geteuid());
    bool ok = write_file(pid, "uid_map", map);
    snprintf(map, sizeof map, "%d %d 1", inner_root ? 0 : INNER_UID, (int)getegid());
    return ok && write_file(pid, "gid_map", map);
}

static void write_profile(const char *folder, const char *services)
{
    char *text;
    if (asprintf(&text,
                 "return profile {\n  doc = \"A test.\",\n  settings = {},\n  facts = {},\n  plan = function(env, facts)\n"
                 "    local programs, folder = \"%s/tests/programs/\", \"%s/\"\n"
                 "    return plan { services = {\n%s\n    } }\n  end,\n}\n",
                 TEST_BUILD, folder, services) < 0)
        fail();
    scratch_write(folder, "test.lua", text, 0644);
    free(text);
}

void node_plan(struct node *n, const char *services)
{
    write_profile(n->folder, services);
}

struct node *node_start(char *folder, const struct node_options *o)
{
    struct node *n = calloc(1, sizeof *n);
    n->folder = folder ? folder : scratch_new();
    if (o->services)
        write_profile(n->folder, o->services);
    if (o->read_only)
        mkdir(scratch_path(n->folder, "state"), 0777);
    int output[2], ready[2], executed[2];
    if (pipe2(output, O_CLOEXEC) < 0 || pipe2(ready, O_CLOEXEC) < 0 || pipe2(executed, O_CLOEXEC) < 0)
        fail_msg("pipe2: %s", strerror(errno));
    node_nobody(); /* before there are two of us */
    bool own_users = o->kind == NODE_PID1 || (o->kind == NODE_PID1_ROOT && geteuid() != 0);
    int flags = SIGCHLD | (o->kind == NODE_PLAIN ? 0 : CLONE_NEWPID | CLONE_NEWNS) | (own_users ? CLONE_NEWUSER : 0);
    n->pid = (pid_t)syscall(SYS_clone, flags, NULL, NULL, NULL, NULL);
    if (n->pid < 0) {
        print_message("namespaces can't be made here: %s\n", strerror(errno));
        skip();
    }
    if (n->pid == 0) {
        close(ready[1]);
        if (o->kind != NODE_PLAIN)
            in_namespaces(o, n->folder, own_users, ready[0]);
        run_program(o, n->folder, output[1]);
    }
    close(output[1]);
    close(ready[0]);
    close(executed[1]);
    if (own_users && !write_maps(n->pid, o->kind == NODE_PID1_ROOT))
        fail_msg("write the user map: %s", strerror(errno));
    if (o->kind != NODE_PLAIN && write(ready[1], "", 1) != 1)
        fail_msg("tell the node: %s", strerror(errno));
    close(ready[1]);
    char byte;
    while (read(executed[0], &byte, 1) < 0 && errno == EINTR) { /* ends with exec: the other end is close-on-exec */
    }
    n->executed_ns = clock_ns();
    close(executed[0]);
    n->output = output[0];
    fcntl(n->output, F_SETFL, O_NONBLOCK);
    n->text = calloc(1, 1);
    return n;
}

/* --- what it prints, and its end --- */

static void collect(struct node *n)
{
    char chunk[65536];
    ssize_t size;
    while (n->output >= 0 && (size = read(n->output, chunk, sizeof chunk)) != 0) {
        if (size < 0)
            return;
        if (n->length + (size_t)size + 1 > n->capacity) {
            n->capacity = (n->length + (size_t)size + 1) * 2;
            n->text = realloc(n->text, n->capacity);
        }
        memcpy(n->text + n->length, chunk, (size_t)size);
        n->length += (size_t)size;
        n->text[n->length] = 0;
    }
    if (n->output >= 0)
        close(n->output);
    n->output = -1;
}

static void look(struct node *n)
{
    if (!n->ended && waitpid(n->pid, &n->status, WNOHANG) == n->pid)
        n->ended = true;
    collect(n);
}

/* A moment, or until it prints something. */
static void breathe(struct node *n)
{
    struct pollfd watched = {.fd = n->output, .events = POLLIN};
    poll(&watched, 1, n->output >= 0 ? 20 : 5);
    look(n);
}

static const char *last_of(const struct node *n)
{
    return n->length > 6000 ? n->text + n->length - 6000 : n->text;
}

#define AWAIT(n, condition, ...)                                                                    \
    do {                                                                                            \
        int64_t limit_ = clock_ns() + LIMIT_S * NS_PER_S;                                           \
        for (look(n); !(condition); breathe(n))                                                     \
            if (clock_ns() > limit_ || ((n)->ended && (look(n), !(condition)))) {                   \
                print_error("--- what it printed:\n%s---\n", last_of(n));                           \
                print_error(__VA_ARGS__);                                                           \
                fail_msg("%s", (n)->ended ? " - but the program had ended" : " - waited too long"); \
            }                                                                                       \
    } while (0)

int node_times(const struct node *n, const char *text)
{
    int count = 0;
    for (const char *at = n->text; (at = strstr(at, text)); at += strlen(text))
        count++;
    return count;
}

void node_await_times(struct node *n, const char *text, int times)
{
    AWAIT(n, node_times(n, text) >= times, "\"%s\", %d times", text, times);
}

void node_await(struct node *n, const char *text)
{
    node_await_times(n, text, 1);
}

static bool has_any(const struct node *n, const char *const *texts)
{
    while (*texts && !strstr(n->text, *texts))
        texts++;
    return *texts != NULL;
}

bool node_await_any(struct node *n, const char *const *texts)
{
    AWAIT(n, n->ended || has_any(n, texts), "any of \"%s\" ...", *texts);
    collect(n);
    return has_any(n, texts);
}

void node_await_file(struct node *n, const char *name)
{
    AWAIT(n, *scratch_read(n->folder, name), "the file %s", name);
}

void node_await_members(struct node *n, int count)
{
    AWAIT(n, node_members(n, NULL) == count, "%d processes (%d now)", count, node_members(n, NULL));
}

int node_await_end(struct node *n)
{
    int64_t limit_ns = clock_ns() + LIMIT_S * NS_PER_S;
    for (look(n); !n->ended; breathe(n))
        if (clock_ns() > limit_ns) {
            print_error("--- what it printed:\n%s---\n", last_of(n));
            fail_msg("the program did not end");
        }
    collect(n);
    return WIFEXITED(n->status) ? WEXITSTATUS(n->status) : 128 + WTERMSIG(n->status);
}

void node_take_lines(struct node *n, void (*line)(void *, const char *, size_t), void *argument)
{
    breathe(n);
    char *at = n->text;
    for (char *end; (end = memchr(at, '\n', n->length - (size_t)(at - n->text))); at = end + 1) {
        *end = 0;
        line(argument, at, (size_t)(end - at));
    }
    n->length -= (size_t)(at - n->text);
    memmove(n->text, at, n->length + 1);
}

void node_signal(struct node *n, int signal)
{
    kill(n->pid, signal);
}

/* --- who lives below it --- */

struct relative {
    pid_t pid, parent;
    char state, name[20];
    bool below;
};

static size_t relatives(pid_t top, struct relative **out)
{
    size_t count = 0, room = 1024;
    struct relative *list = malloc(room * sizeof *list);
    DIR *proc = opendir("/proc");
    for (struct dirent *entry; proc && (entry = readdir(proc));) {
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
            continue;
        char path[300], text[512];
        snprintf(path, sizeof path, "/proc/%s/stat", entry->d_name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t size = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
        if (fd >= 0)
            close(fd);
        if (size <= 0)
            continue;
        text[size] = 0;
        if (count == room)
            list = realloc(list, (room *= 2) * sizeof *list);
        struct relative *r = &list[count];
        *r = (struct relative){.pid = (pid_t)atoi(text)};
        char *open_bracket = strchr(text, '('), *close_bracket = strrchr(text, ')');
        if (!open_bracket || !close_bracket || sscanf(close_bracket + 1, " %c %d", &r->state, &r->parent) != 2)
            continue;
        snprintf(r->name, sizeof r->name, "%.*s", (int)(close_bracket - open_bracket - 1), open_bracket + 1);
        count++;
    }
    if (proc)
        closedir(proc);
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < count; i++) {
            bool below = list[i].parent == top;
            for (size_t j = 0; j < count && !below && !list[i].below; j++)
                below = list[j].below && list[j].pid == list[i].parent;
            if (below && !list[i].below)
                more = list[i].below = true;
        }
    }
    *out = list;
    return count;
}

int node_members(const struct node *n, int *zombies)
{
    struct relative *list;
    size_t count = relatives(n->pid, &list);
    int living = 0, dead = 0;
    for (size_t i = 0; i < count; i++)
        if (list[i].below)
            *(list[i].state == 'Z' || list[i].state == 'X' ? &dead : &living) += 1;
    free(list);
    if (zombies)
        *zombies = dead;
    return living;
}

pid_t node_member(const struct node *n, unsigned choice)
{
    struct relative *list;
    size_t count = relatives(n->pid, &list), living = 0;
    for (size_t i = 0; i < count; i++)
        if (list[i].below && list[i].state != 'Z' && list[i].state != 'X')
            list[living++] = list[i];
    pid_t chosen = living > 0 ? list[choice % living].pid : 0;
    free(list);
    return chosen;
}

int node_signal_members(const struct node *n, const char *name, int signal)
{
    struct relative *list;
    size_t count = relatives(n->pid, &list);
    int reached = 0;
    for (size_t i = 0; i < count; i++)
        if (list[i].below && strcmp(list[i].name, name) == 0)
            reached += kill(list[i].pid, signal) == 0;
    free(list);
    return reached;
}

static pid_t inner_pid(pid_t pid)
{
    char path[64], line[256];
    pid_t inner = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *status = fopen(path, "r");
    while (status && fgets(line, sizeof line, status))
        if (strncmp(line, "NSpid:", 6) == 0 && strrchr(line, '\t'))
            inner = (pid_t)atoi(strrchr(line, '\t'));
    if (status)
        fclose(status);
    return inner;
}

pid_t node_pid_of(const struct node *n, pid_t inner)
{
    struct relative *list;
    size_t count = relatives(n->pid, &list);
    pid_t found = 0;
    for (size_t i = 0; i < count && !found; i++)
        if (list[i].below && inner_pid(list[i].pid) == inner)
            found = list[i].pid;
    free(list);
    return found;
}

bool node_signal_inner(const struct node *n, pid_t inner, int signal)
{
    pid_t pid = node_pid_of(n, inner);
    return pid > 0 && kill(pid, signal) == 0;
}

int node_command(struct node *n, const char *words)
{
    char *command;
    if (asprintf(&command, "STATE_DIR='%s/state' ASAN_OPTIONS=detect_leaks=0 timeout 60 '%s' %s > '%s/command' 2>&1", n->folder, program(),
                 words, n->folder) < 0)
        return -1;
    int status = system(command);
    free(command);
    look(n);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void node_free(struct node *n)
{
    struct relative *list;
    size_t count = relatives(n->pid, &list);
    kill(n->pid, SIGKILL); /* as PID 1 that ends the others, too */
    for (size_t i = 0; i < count; i++)
        if (list[i].below)
            kill(list[i].pid, SIGKILL);
    free(list);
    if (!n->ended)
        waitpid(n->pid, &n->status, 0);
    if (n->output >= 0)
        close(n->output);
    free(n->text);
    scratch_free(n->folder);
    free(n);
}

void node_end_well(struct node *n)
{
    node_signal(n, SIGTERM);
    int code = node_await_end(n);
    if (code != 0)
        fail_msg("ended with %d instead of 0:\n%s", code, n->text);
    node_free(n);
}
