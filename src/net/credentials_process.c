#include "appliance/credentials_process.h"

#include "appliance/credentials_document.h"
#include "appliance/sys.h"
#include "credentials_inner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { LAST_WORDS = 1024, CODE_FD = 3 };

/* The first shell ends at once; the second one, by then init's, waits for the third, which is the command and does not have the pipe of
 * the exit code: what it leaves behind in the background is not waited for. */
static const char script[] = "{ (eval \"$1\") 3>&-; echo $? >&3; } &";

/* --- starting --- */

static void close_pair(int pair[2])
{
    for (int i = 0; i < 2; i++)
        if (pair[i] >= 0)
            sys.close(pair[i]);
}

static int spawn_shell(pid_t *pid, const char *command, char *const *environment, const int writers[3])
{
    char *const argv[] = {(char *)(uintptr_t) "/bin/sh", (char *)(uintptr_t) "-c",   (char *)(uintptr_t)script,
                          (char *)(uintptr_t) "sh",      (char *)(uintptr_t)command, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    int code = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    for (int i = 0; i < 3 && code == 0; i++)
        code = posix_spawn_file_actions_adddup2(&actions, writers[i], STDOUT_FILENO + i);
#if __GLIBC_PREREQ(2, 34)
    if (code == 0) /* a library's descriptor may lack its flag */
        code = posix_spawn_file_actions_addclosefrom_np(&actions, CODE_FD + 1);
#endif
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    if (code == 0)
        code = posix_spawn(pid, argv[0], &actions, &attributes, argv, environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return code;
}

/* --- running --- */

static struct credentials_process *of_watch(struct watch *watch, size_t offset)
{
    return (struct credentials_process *)(void *)((char *)watch - offset);
}

static void close_watch(struct watch *watch)
{
    if (!watch_is_started(watch))
        return;
    int fd = watch->fd;
    watch_stop(watch);
    sys.close(fd);
}

static bool has_ended(const struct credentials_process *p)
{
    struct pollfd code = {.fd = p->code.fd};
    return !watch_is_started(&p->code) || (poll(&code, 1, 0) > 0 && (code.revents & POLLHUP));
}

/* The first shell: it is dead, or about to be. Where we are PID 1, the reaper may have been faster. */
static void bury_first(struct credentials_process *p)
{
    siginfo_t info;
    while (sys.waitid(P_PID, (id_t)p->group, &info, WEXITED) < 0 && errno == EINTR) {}
}

static void give_up(struct credentials_process *p)
{
    timer_stop(&p->limit);
    if (p->group > 0) {
        if (!has_ended(p))
            sys.kill(-p->group, SIGKILL);
        bury_first(p);
    }
    p->group = 0;
    close_watch(&p->out);
    close_watch(&p->complaints);
    close_watch(&p->code);
}

static void fail(struct credentials_process *p, enum err_kind kind, const char *what)
{
    give_up(p);
    err_set(&p->err, kind, "%s %s", p->name, what);
    p->done(p);
}

/* Takes in what is there. False: there is nothing, or there was the end. */
static bool take(struct watch *watch, char *block, size_t size, size_t *length)
{
    ssize_t got = watch_is_started(watch) ? sys.read(watch->fd, block, size) : 0;
    if (got < 0 && errno == EINTR)
        return *length = 0, true;
    if (got == 0 || (got < 0 && errno != EAGAIN))
        close_watch(watch);
    *length = got > 0 ? (size_t)got : 0;
    return got > 0;
}

/* False: more than a document can have; told already. */
static bool take_output(struct credentials_process *p)
{
    char block[4096];
    bool fits = true;
    for (size_t length; fits && take(&p->out, block, sizeof block, &length);)
        fits = buf_append(&p->output, block, length);
    explicit_bzero(block, sizeof block);
    if (!fits)
        fail(p, ERR_PROTOCOL, "printed more than 64 KiB, which is no document of credentials");
    return fits;
}

static void on_output(struct watch *watch, uint32_t events)
{
    (void)events;
    take_output(of_watch(watch, offsetof(struct credentials_process, out)));
}

static void take_complaints(struct credentials_process *p)
{
    char block[512];
    for (size_t length; take(&p->complaints, block, sizeof block, &length);) {
        if (p->last_words.length + length > LAST_WORDS)
            buf_consume(&p->last_words, p->last_words.length + length - LAST_WORDS);
        buf_append(&p->last_words, block, length);
    }
}

static void on_complaints(struct watch *watch, uint32_t events)
{
    (void)events;
    take_complaints(of_watch(watch, offsetof(struct credentials_process, complaints)));
}

static struct bytes last_line(struct bytes text)
{
    text = credentials_trim(text);
    for (size_t i = text.length; i > 0; i--)
        if (text.data[i - 1] == '\n')
            return (struct bytes){text.data + i, text.length - i};
    return text;
}

static void ended(struct credentials_process *p)
{
    char *end, what[200], shown[100];
    if (!take_output(p))
        return;
    take_complaints(p);
    p->told[p->told_length] = 0;
    long code = strtol(p->told, &end, 10);
    if (end == p->told) {
        fail(p, ERR_SYSTEM, "was killed before it had ended");
    } else if (code != 0) {
        struct bytes line = last_line(buf_bytes(&p->last_words));
        bytes_shown(line, shown, sizeof shown);
        snprintf(what, sizeof what, "exited with %ld%s%s", code, line.length ? ": " : "", shown);
        fail(p, ERR_INVALID, what);
    } else {
        p->ok = true;
        give_up(p);
        p->done(p);
    }
}

static void on_code(struct watch *watch, uint32_t events)
{
    (void)events;
    struct credentials_process *p = of_watch(watch, offsetof(struct credentials_process, code));
    for (;;) {
        char spare[16];
        bool room = p->told_length < sizeof p->told - 1;
        ssize_t got =
            sys.read(watch->fd, room ? p->told + p->told_length : spare, room ? sizeof p->told - 1 - p->told_length : sizeof spare);
        if (got > 0 && room)
            p->told_length += (size_t)got;
        if (got > 0 || (got < 0 && errno == EINTR))
            continue;
        if (got < 0 && errno == EAGAIN)
            return;
        ended(p);
        return;
    }
}

static void on_limit(struct timer *timer)
{
    struct credentials_process *p = (struct credentials_process *)(void *)((char *)timer - offsetof(struct credentials_process, limit));
    fail(p, ERR_TIMEOUT, "took too long and was killed");
}

bool credentials_process_start(struct credentials_process *p, struct loop *loop, const char *name, const char *command,
                               char *const *environment, int64_t limit_ms, void (*done)(struct credentials_process *), struct err *err)
{
    memset(p, 0, sizeof *p);
    p->done = done;
    p->loop = loop;
    p->name = name;
    buf_init(&p->output, DOCUMENT_LIMIT);
    buf_init(&p->last_words, LAST_WORDS);
    int pairs[3][2] = {{-1, -1}, {-1, -1}, {-1, -1}};
    struct watch *const watches[3] = {&p->out, &p->complaints, &p->code};
    void (*const readies[3])(struct watch *, uint32_t) = {on_output, on_complaints, on_code};
    bool ok = true;
    for (int i = 0; i < 3 && ok; i++) {
        ok = sys.pipe2(pairs[i], O_CLOEXEC) == 0 && sys.fcntl(pairs[i][0], F_SETFL, O_NONBLOCK) == 0;
        if (!ok)
            err_errno(err, "%s: pipe", name);
    }
    for (int i = 0; i < 3 && ok; i++) {
        ok = watch_start(watches[i], loop, pairs[i][0], EPOLLIN, readies[i], err);
        if (ok)
            pairs[i][0] = -1; /* the watch's */
    }
    if (ok) {
        errno = spawn_shell(&p->group, command, environment, (const int[]){pairs[0][1], pairs[1][1], pairs[2][1]});
        ok = errno == 0 || err_errno(err, "%s: run /bin/sh", name);
        if (!ok)
            p->group = 0;
    }
    for (int i = 0; i < 3; i++)
        close_pair(pairs[i]);
    if (!ok) {
        credentials_process_stop(p);
        return false;
    }
    timer_start(&p->limit, loop, limit_ms, on_limit);
    return true;
}

void credentials_process_stop(struct credentials_process *p)
{
    give_up(p);
    credentials_buf_wipe(&p->output);
    credentials_buf_wipe(&p->last_words);
}
