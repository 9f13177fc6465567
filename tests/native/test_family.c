/* family.h: nobody of a service is left, all are asked first, and nobody else is touched. */
#include "appliance/child.h"
#include "appliance/family.h"
#include "appliance/reaper.h"
#include "appliance/signals.h"
#include "appliance/sys.h"
#include "fault.h"
#include "turning.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static const char *const roles[] = {"main", "pg", "orphan", "sess", "daemon"};
enum { ROLES = sizeof roles / sizeof *roles };

static struct loop *loop;
static char *folder;
static int descriptors_before;

/* A service: its main process, its family, and what it has printed. */
static struct one {
    struct child child;
    struct family *family;
    int output;
    bool ended, gone, gone_before_end;
} a, b;

static struct one *one_of(struct child *child)
{
    return child == &a.child ? &a : &b;
}

static void main_ended(struct child *child, struct child_end how)
{
    (void)how;
    one_of(child)->ended = true;
}

static void family_gone(struct family *family, void *argument)
{
    struct one *one = argument;
    assert_ptr_equal(family, one->family);
    assert_false(one->gone); /* once */
    one->gone = true;
    one->gone_before_end = child_is_alive(&one->child);
}

static void start(struct one *one, const char *name, const char *program, ...)
{
    char *argv[16] = {(char *)(uintptr_t)program}, marker[CHILD_MARKER_SIZE];
    va_list more;
    va_start(more, program);
    for (int i = 1; (argv[i] = va_arg(more, char *)); i++) {}
    va_end(more);
    memset(one, 0, sizeof *one);
    int pipe_fds[2];
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    one->output = pipe_fds[0];
    struct child_spec spec = {.name = name, .argv = argv, .envp = environ, .output = pipe_fds[1]};
    struct err err = {0};
    if (!child_start(&one->child, loop, &spec, main_ended, &err))
        fail_msg("%s", err.text);
    close(pipe_fds[1]);
    assert_true(child_marker(name, marker));
    assert_non_null(one->family = family_new(loop, marker, family_gone, one, &err));
}

/* Waits for the first line it prints. */
static void await_line(struct one *one)
{
    char byte = 0;
    while (byte != '\n')
        if (read(one->output, &byte, 1) != 1)
            fail_msg("it ended before it was ready");
}

static void finish(struct one *one)
{
    family_free(one->family);
    close(one->output);
    one->family = NULL;
}

static void start_family(struct one *one, const char *name, const char *option, const char *option2)
{
    start(one, name, test_program("family"), folder, option ? option : "x=0", option2 ? option2 : "x=0", NULL);
    await_line(one);
}

static pid_t pid_of(const char *role)
{
    char file[64];
    snprintf(file, sizeof file, "%s.up", role);
    return (pid_t)atoi(scratch_read(folder, file));
}

static bool has_note(const char *role, const char *what)
{
    char file[64];
    snprintf(file, sizeof file, "%s.%s", role, what);
    return scratch_has(folder, file);
}

/* Zombies count as gone: whoever has them reaps them. */
static bool is_alive(pid_t pid)
{
    char path[64], text[256] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t size = read(fd, text, sizeof text - 1);
    close(fd);
    const char *rest = size > 0 ? strrchr(text, ')') : NULL;
    return rest && rest[2] != 'Z' && rest[2] != 'X';
}

static int alive_count(void)
{
    int count = 0;
    for (int i = 0; i < ROLES; i++)
        count += is_alive(pid_of(roles[i]));
    return count;
}

static int setup(void **unused)
{
    (void)unused;
    fault_clear();
    signals_block();
    descriptors_before = open_descriptors();
    folder = scratch_new();
    loop = loop_new(NULL);
    assert_true(signals_start(loop, NULL, NULL));
    assert_true(reaper_start(loop, true, NULL));
    return 0;
}

static void note_nobody(struct family *family, void *argument)
{
    (void)family;
    *(bool *)argument = true;
}

/* What a failed test has left must not meet the next one. Says whether there was anybody. */
static bool kill_everybody(void)
{
    bool nobody = false;
    struct family *everybody = family_new(loop, NULL, note_nobody, &nobody, NULL);
    bool any = family_signal(everybody, 0, SIGKILL) > 0;
    if (any)
        TURN_UNTIL(loop, nobody);
    family_free(everybody);
    return any;
}

static int teardown(void **unused)
{
    (void)unused;
    fault_clear();
    bool left_behind = kill_everybody();
    signals_stop();
    reaper_stop();
    assert_int_equal(loop_watch_count(loop), 0);
    while (loop_timer_count(loop) > 0) /* the sweep's memory is given back in the next turn */
        loop_turn(loop, INT64_MAX, NULL);
    loop_free(loop);
    scratch_free(folder);
    assert_int_equal(open_descriptors(), descriptors_before);
    assert_false(left_behind);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    return 0;
}

/* --- the family of five --- */

static void all_five_are_asked_and_none_is_left(void **unused)
{
    (void)unused;
    start_family(&a, "a", NULL, NULL);
    assert_int_equal(alive_count(), 5);
    assert_int_equal(family_signal(a.family, a.child.pid, SIGTERM), 5);
    TURN_UNTIL(loop, a.gone);
    assert_false(a.gone_before_end);
    for (int i = 0; i < ROLES; i++) {
        assert_true(has_note(roles[i], "asked"));
        assert_true(has_note(roles[i], "finished"));
    }
    assert_int_equal(alive_count(), 0);
    finish(&a);
}

static void a_slow_member_holds_the_end_back_and_may_finish(void **unused)
{
    (void)unused;
    start_family(&a, "a", "daemon=700", NULL);
    int64_t before = clock_ns();
    assert_int_equal(family_signal(a.family, a.child.pid, SIGTERM), 5);
    TURN_UNTIL(loop, a.ended);
    assert_false(a.gone);
    TURN_UNTIL(loop, a.gone);
    assert_true(clock_ns() - before >= 700 * NS_PER_MS);
    assert_true(has_note("daemon", "finished"));
    finish(&a);
}

static void a_member_that_ignores_term_is_found_by_the_kill(void **unused)
{
    (void)unused;
    start_family(&a, "a", "sess=ignore", "daemon=ignore");
    family_signal(a.family, a.child.pid, SIGTERM);
    TURN_UNTIL(loop, a.ended && alive_count() == 2);
    assert_false(a.gone);
    assert_int_equal(family_signal(a.family, 0, SIGKILL), 2);
    TURN_UNTIL(loop, a.gone);
    assert_int_equal(alive_count(), 0);
    finish(&a);
}

static void what_a_dead_main_left_is_found_without_it(void **unused)
{
    (void)unused;
    start_family(&a, "a", NULL, NULL);
    assert_true(child_signal(&a.child, SIGKILL, REACH_LEADER));
    TURN_UNTIL(loop, a.ended);
    assert_true(family_may_have_members(0));
    assert_int_equal(family_signal(a.family, 0, SIGTERM), 4);
    TURN_UNTIL(loop, a.gone);
    for (int i = 1; i < ROLES; i++)
        assert_true(has_note(roles[i], "finished"));
    assert_false(family_may_have_members(0));
    finish(&a);
}

static void another_service_is_not_touched(void **unused)
{
    (void)unused;
    start_family(&a, "a", NULL, NULL);
    char *other = scratch_new();
    start(&b, "b", test_program("family"), other, NULL);
    await_line(&b);
    assert_int_equal(family_signal(a.family, a.child.pid, SIGTERM), 5);
    TURN_UNTIL(loop, a.gone);
    for (int i = 0; i < ROLES; i++) {
        char file[64];
        snprintf(file, sizeof file, "%s.asked", roles[i]);
        assert_false(scratch_has(other, file));
    }
    assert_int_equal(family_signal(b.family, b.child.pid, SIGTERM), 5);
    TURN_UNTIL(loop, b.gone);
    finish(&a);
    finish(&b);
    scratch_free(other);
}

static void signal_0_only_counts(void **unused)
{
    (void)unused;
    start_family(&a, "a", NULL, NULL);
    assert_int_equal(family_signal(a.family, a.child.pid, 0), 5);
    assert_int_equal(alive_count(), 5);
    assert_int_equal(family_signal(a.family, a.child.pid, SIGKILL), 5);
    TURN_UNTIL(loop, a.gone);
    assert_int_equal(alive_count(), 0);
    finish(&a);
}

static void a_stopped_member_hears_the_term(void **unused)
{
    (void)unused;
    start_family(&a, "a", NULL, NULL);
    kill(pid_of("daemon"), SIGSTOP);
    kill(pid_of("main"), SIGSTOP);
    assert_int_equal(family_signal(a.family, a.child.pid, SIGTERM), 5);
    TURN_UNTIL(loop, a.gone);
    assert_true(has_note("daemon", "finished"));
    assert_true(has_note("main", "finished"));
    finish(&a);
}

/* A child of ours that child.c knows nothing of, in its own session and with just this environment. */
static pid_t start_stray(char *const environment[])
{
    int ready[2];
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    pid_t stray = fork();
    if (stray == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        setsid();
        execle(test_program("puppet"), "puppet", "hang", (char *)NULL, environment);
        _exit(127);
    }
    close(ready[1]);
    char end;
    assert_int_equal(read(ready[0], &end, 1), 0); /* it has executed */
    close(ready[0]);
    return stray;
}

/* --- who belongs to it --- */

static void nobody_is_left_after_a_plain_process(void **unused)
{
    (void)unused;
    start(&a, "a", test_program("puppet"), "say", "up", "wait", NULL);
    await_line(&a);
    assert_true(family_may_have_members(a.child.pid)); /* while it lives only a sweep could tell */
    assert_int_equal(family_signal(a.family, a.child.pid, SIGTERM), 1);
    TURN_UNTIL(loop, a.gone);
    assert_true(a.ended);
    assert_false(family_may_have_members(0));
    assert_int_equal(family_signal(a.family, 0, SIGTERM), 0);
    finish(&a);
}

static void a_wiped_environment_is_found_by_session_and_parent(void **unused)
{
    (void)unused;
    /* Two without marker: one in the session of main and given to us, one in its own session and still main's child. */
    start(&a, "a", "/bin/sh", "-c",
          "(env -i /bin/sh -c 'echo $$ > \"$0/same.up\"; exec sleep 1000' \"$0\" &)\n"
          "setsid env -i /bin/sh -c 'echo $$ > \"$0/own.up\"; exec sleep 1000' \"$0\" &\n"
          "while [ ! -s \"$0/same.up\" ] || [ ! -s \"$0/own.up\" ]; do sleep 0.01; done; echo ready; wait",
          folder, NULL);
    await_line(&a);
    pid_t same = pid_of("same"), own = pid_of("own");
    assert_true(is_alive(same) && is_alive(own));
    assert_int_equal(family_signal(a.family, a.child.pid, SIGTERM), 3);
    TURN_UNTIL(loop, a.gone);
    assert_false(is_alive(same) || is_alive(own));
    finish(&a);
}

static void a_marker_behind_a_long_environment_is_found(void **unused)
{
    (void)unused;
    /* Shells put variables in an order of their own: here 100 kB come before the marker, one of them longer than a read. */
    char marker[CHILD_MARKER_SIZE];
    child_marker("a", marker);
    start(&a, "a", test_program("puppet"), "say", "up", "wait", NULL);
    await_line(&a);
    char *large = malloc(100001), *entries[3] = {large, marker, NULL};
    memset(large, 'x', 100000);
    memcpy(large, "LARGE=", 6);
    large[100000] = 0;
    pid_t stray = start_stray(entries);
    assert_int_equal(family_signal(a.family, a.child.pid, SIGTERM), 2);
    TURN_UNTIL(loop, a.gone);
    assert_false(is_alive(stray));
    free(large);
    finish(&a);
}

static void a_similar_marker_is_not_ours(void **unused)
{
    (void)unused;
    char marker[CHILD_MARKER_SIZE], longer[CHILD_MARKER_SIZE + 8];
    child_marker("a", marker);
    snprintf(longer, sizeof longer, "%s0", marker);
    char *const others[] = {longer, "APPLIANCE_SERVICE=a@0123456789abcdef", "NOT_APPLIANCE_SERVICE=a", "APPLIANCE_SERVICE=", NULL};
    start(&a, "a", test_program("puppet"), "say", "up", "wait", NULL);
    await_line(&a);
    pid_t strangers[4];
    for (int i = 0; i < 4; i++)
        strangers[i] = start_stray((char *const[]){others[i], NULL});
    assert_int_equal(family_signal(a.family, a.child.pid, SIGTERM), 1);
    TURN_UNTIL(loop, a.gone);
    for (int i = 0; i < 4; i++) {
        assert_true(is_alive(strangers[i]));
        kill(strangers[i], SIGKILL);
    }
    TURN_UNTIL(loop, reaper_strangers() == 0);
    finish(&a);
}

static void a_zombie_that_nobody_reaps_does_not_count(void **unused)
{
    (void)unused;
    /* The member that lives on as somebody's unreaped child: its parent ignores TERM until it is killed. */
    start(&a, "a", "/bin/sh", "-c", "sleep 0 & exec \"$0\" say up ignore 15 hang", test_program("puppet"), NULL);
    await_line(&a);
    TURN_UNTIL(loop, family_signal(a.family, a.child.pid, 0) == 1);
    family_signal(a.family, a.child.pid, SIGKILL);
    TURN_UNTIL(loop, a.gone);
    finish(&a);
}

static void children_born_meanwhile_are_asked_too(void **unused)
{
    (void)unused;
    /* On TERM it starts one more, in a session of its own, and leaves. Not dash: a TERM that meets its new child before that has put
     * the trap away is lost there. */
    start(&a, "a", "/bin/bash", "-c",
          "trap 'setsid \"$1\" note \"$0/late\" say late wait note \"$0/late-asked\" & sleep 0; exit 0' TERM; echo ready; while :; do "
          "sleep 0.05; done",
          folder, test_program("puppet"), NULL);
    await_line(&a);
    family_signal(a.family, a.child.pid, SIGTERM);
    TURN_UNTIL(loop, a.gone);
    pid_t late = (pid_t)atoi(scratch_read(folder, "late"));
    assert_true(late == 0 || !is_alive(late));
    assert_false(family_may_have_members(0));
    finish(&a);
}

/* --- a number that is given out again --- */

static pid_t reused_pid, stranger_pid;
static bool reuse_after_open;
static int (*real_pidfd_open)(pid_t pid, unsigned flags);

static void give_number_to_a_stranger(void)
{
    kill(reused_pid, SIGKILL);
    waitpid(reused_pid, NULL, 0);
    /* struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup */
    uint64_t arguments[11] = {[4] = SIGCHLD, [8] = (uint64_t)(uintptr_t)&reused_pid, [9] = 1};
    stranger_pid = (pid_t)syscall(SYS_clone3, arguments, sizeof arguments);
    if (stranger_pid == 0)
        for (;;)
            pause();
}

static int open_late_or_early(pid_t pid, unsigned flags)
{
    if (pid != reused_pid || stranger_pid)
        return real_pidfd_open(pid, flags);
    if (!reuse_after_open)
        give_number_to_a_stranger();
    int pidfd = real_pidfd_open(pid, flags);
    if (reuse_after_open)
        give_number_to_a_stranger();
    return pidfd;
}

static void a_stranger_who_got_the_number_is_not_hit(void **unused)
{
    (void)unused;
    char marker[CHILD_MARKER_SIZE];
    child_marker("a", marker);
    for (int late = 0; late < 2; late++) {
        reuse_after_open = late;
        stranger_pid = 0;
        start(&a, "a", test_program("puppet"), "say", "up", "wait", NULL);
        await_line(&a);
        reused_pid = start_stray((char *const[]){marker, NULL});
        for (int64_t until = clock_ns() + 50 * NS_PER_MS; clock_ns() < until;) { /* start times count in ticks of 10 ms */
        }
        fault_clear(); /* so that the table is the test's to change */
        real_pidfd_open = sys.pidfd_open;
        sys.pidfd_open = open_late_or_early;
        family_signal(a.family, a.child.pid, SIGTERM);
        sys.pidfd_open = real_pidfd_open;
        if (stranger_pid < 0)
            print_message("needs root, to choose the number of a process\n");
        TURN_UNTIL(loop, a.gone);
        if (stranger_pid > 0) {
            assert_int_equal(stranger_pid, reused_pid);
            assert_true(is_alive(stranger_pid));
            kill(stranger_pid, SIGKILL);
        }
        TURN_UNTIL(loop, reaper_strangers() == 0);
        finish(&a);
        if (stranger_pid < 0)
            skip();
    }
}

/* --- those whose environment can't be read --- */

static ssize_t (*real_read)(int, void *, size_t);
static int looks_hidden, looks, looks_half_made;
static char hidden[64]; /* /proc/<pid>/environ */
static char its_stat[64];

/* It runs, and its environment ends where it begins. */
static ssize_t half_made(char *text, ssize_t length)
{
    enum { ENV_START = 50, ENV_END = 51 };
    char copy[1024], *words = strrchr(text, ')'), *rest = copy;
    size_t at = (size_t)(words + 1 - text);
    memcpy(copy, words + 1, (size_t)length - at);
    copy[(size_t)length - at] = 0;
    for (int field = 3; field <= ENV_END; field++) {
        const char *word = strsep(&rest, " ");
        word = field == 3 ? strsep(&rest, " ") : word; /* there is a blank before the first */
        at += (size_t)sprintf(text + at, " %s", field == 3 ? "R" : field >= ENV_START ? "4096" : word);
    }
    return (ssize_t)at;
}

/* For so many looks it is empty, as in the middle of an exec. */
static ssize_t read_hidden(int fd, void *out, size_t size)
{
    char link[32], path[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length > 0 ? length : 0] = 0;
    if (strcmp(path, hidden) == 0 && looks++ < looks_hidden)
        return 0;
    ssize_t got = real_read(fd, out, size);
    bool is_to_be_half_made = strcmp(path, its_stat) == 0 && looks == 1 && looks_half_made > 0 && got > 0;
    if (is_to_be_half_made)
        looks_half_made--;
    return is_to_be_half_made ? half_made(out, got) : got;
}

/* What main leaves when it is killed, in a session of its own, has no environment to be seen for so many looks. */
static void leave_hidden(const char *word, int count)
{
    start(&a, "a", "/bin/sh", "-c", "setsid \"$1\" \"$2\" & echo $! > \"$0/left\"; exec \"$1\" say up hang", folder, test_program("puppet"),
          word, NULL);
    await_line(&a);
    snprintf(hidden, sizeof hidden, "/proc/%d/environ", atoi(scratch_read(folder, "left")));
    snprintf(its_stat, sizeof its_stat, "/proc/%d/stat", atoi(scratch_read(folder, "left")));
    child_signal(&a.child, SIGKILL, REACH_LEADER);
    TURN_UNTIL(loop, a.ended);
    assert_int_equal(reaper_strangers(), 1);
    fault_clear(); /* so that the table is the test's to change */
    looks_hidden = count;
    looks = 0;
    real_read = sys.read;
    sys.read = read_hidden;
    assert_int_equal(family_signal(a.family, 0, SIGKILL), 1);
}

static void one_in_the_middle_of_an_exec_is_waited_for_as_long_as_it_gets_on(void **unused)
{
    (void)unused;
    leave_hidden("again", 10);
    TURN_UNTIL(loop, a.gone);
    sys.read = real_read;
    assert_int_equal(reaper_strangers(), 0);
    assert_true(looks > 10);
    finish(&a);
}

static void one_whose_environment_is_being_written_is_looked_at_again(void **unused)
{
    (void)unused;
    looks_half_made = 2;
    leave_hidden("again", 1);
    assert_int_equal(looks_half_made, 0);
    TURN_UNTIL(loop, a.gone);
    sys.read = real_read;
    assert_int_equal(reaper_strangers(), 0);
    finish(&a);
}

static void one_that_does_not_get_on_is_not_waited_for(void **unused)
{
    (void)unused;
    leave_hidden("hang", 1000000);
    TURN_UNTIL(loop, a.gone);
    sys.read = real_read;
    assert_int_equal(reaper_strangers(), 1);
    a.gone = false;
    family_signal(a.family, 0, SIGKILL); /* it has an environment after all */
    TURN_UNTIL(loop, a.gone);
    finish(&a);
}

/* --- everybody --- */

static bool everybody_gone;

static void note_everybody(struct family *family, void *argument)
{
    (void)family;
    (void)argument;
    everybody_gone = true;
}

static void a_family_without_marker_is_everybody_we_answer_for(void **unused)
{
    (void)unused;
    start_family(&a, "a", NULL, NULL);
    start(&b, "b", "/bin/sh", "-c", "(setsid env -i \"$0\" say up wait &) ; exec \"$0\" say up wait", test_program("puppet"), NULL);
    await_line(&b);
    await_line(&b);
    everybody_gone = false;
    struct family *everybody = family_new(loop, NULL, note_everybody, NULL, NULL);
    assert_int_equal(family_signal(everybody, 0, SIGTERM), 7);
    TURN_UNTIL(loop, everybody_gone);
    assert_true(a.ended && b.ended);
    assert_int_equal(alive_count(), 0);
    assert_int_equal(family_signal(everybody, 0, SIGTERM), 0);
    family_free(everybody);
    finish(&a);
    finish(&b);
}

/* --- size --- */

static void a_family_of_very_many_takes_few_descriptors(void **unused)
{
    (void)unused;
    start(&a, "a", test_program("orphans"), "400", "stay", NULL);
    await_line(&a);
    int before = open_descriptors();
    assert_int_equal(family_signal(a.family, a.child.pid, SIGTERM), 401);
    assert_in_range(open_descriptors(), before, before + 20);
    TURN_UNTIL(loop, a.gone);
    TURN_UNTIL(loop, reaper_strangers() == 0); /* the last of them may still be zombies, which do not count */
    finish(&a);
}

static void one_turns_families_share_a_sweep(void **unused)
{
    (void)unused;
    enum { COUNT = 40 };
    static struct one ones[COUNT];
    static struct child *children[COUNT];
    for (int i = 0; i < COUNT; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%d", i);
        start(&ones[i], name, test_program("puppet"), "hang", NULL);
        ones[i].child.ended = NULL;
        children[i] = &ones[i].child;
    }
    fault_clear();
    assert_int_equal(family_signal(ones[0].family, children[0]->pid, SIGTERM), 1);
    int reads = fault_calls(FAULT_READ);
    for (int i = 1; i < COUNT; i++)
        assert_int_equal(family_signal(ones[i].family, children[i]->pid, SIGTERM), 1);
    assert_int_equal(fault_calls(FAULT_READ), reads);
    for (int i = 0; i < COUNT; i++)
        TURN_UNTIL(loop, ones[i].gone);
    /* And all those ends cost no second sweep, because nobody has lost its parent. */
    assert_in_range(fault_calls(FAULT_READ), reads, reads + 2 * COUNT);
    for (int i = 0; i < COUNT; i++)
        finish(&ones[i]);
}

static void gone_may_free_any_family(struct family *family, void *argument)
{
    (void)family;
    (void)argument;
    a.gone = b.gone = true;
    family_free(a.family);
    family_free(b.family);
}

static void gone_may_free_its_own_family_and_others(void **unused)
{
    (void)unused;
    char marker[CHILD_MARKER_SIZE];
    start(&a, "a", test_program("puppet"), "hang", NULL);
    start(&b, "b", test_program("puppet"), "hang", NULL);
    family_free(a.family);
    family_free(b.family);
    child_marker("a", marker);
    a.family = family_new(loop, marker, gone_may_free_any_family, &a, NULL);
    child_marker("b", marker);
    b.family = family_new(loop, marker, gone_may_free_any_family, &b, NULL);
    family_signal(a.family, a.child.pid, SIGKILL);
    family_signal(b.family, b.child.pid, SIGKILL);
    TURN_UNTIL(loop, a.gone && a.ended && b.ended);
    close(a.output);
    close(b.output);
}

/* --- what may fail --- */

static void leaves_nobody_whichever_call_fails(void **unused)
{
    (void)unused;
    const struct {
        enum fault_call call;
        int error;
    } faults[] = {{FAULT_PIDFD_OPEN, ENOSYS},
                  {FAULT_PIDFD_OPEN, EMFILE},
                  {FAULT_PIDFD_SEND_SIGNAL, EPERM},
                  {FAULT_OPEN, EMFILE},
                  {FAULT_EPOLL_CTL, ENOSPC}};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        for (struct fault f = fault_sweep(faults[i].call, faults[i].error); f.nth < 12 && fault_next(&f);) {
            struct fault saved = f;
            fault_clear();
            start_family(&a, "a", NULL, NULL);
            fault_set(saved.call, saved.nth, 1, saved.error);
            family_signal(a.family, a.child.pid, SIGTERM);
            TURN_UNTIL(loop, a.gone);
            assert_int_equal(alive_count(), 0);
            finish(&a);
        }
    fault_clear();
}

static void works_where_pidfds_are_unknown(void **unused)
{
    (void)unused;
    fault_set(FAULT_PIDFD_OPEN, 1, 0, ENOSYS);
    fault_set(FAULT_PIDFD_SEND_SIGNAL, 1, 0, ENOSYS);
    start_family(&a, "a", "daemon=300", "sess=ignore");
    assert_int_equal(family_signal(a.family, a.child.pid, SIGTERM), 5);
    TURN_UNTIL(loop, a.ended && alive_count() == 1); /* found again by looking from time to time */
    assert_true(has_note("daemon", "finished"));
    family_signal(a.family, 0, SIGKILL);
    TURN_UNTIL(loop, a.gone && reaper_strangers() == 0); /* who is seen to be dead may not be reaped yet */
    finish(&a);
}

static void stops_a_family_with_no_descriptor_left(void **unused)
{
    (void)unused;
    start_family(&a, "a", NULL, NULL);
    assert_int_equal(family_signal(a.family, a.child.pid, 0), 5); /* the sweep has taken its reserve */
    struct rlimit before;
    getrlimit(RLIMIT_NOFILE, &before);
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){.rlim_cur = 64, .rlim_max = before.rlim_max});
    int taken[64], count = 0, fd;
    while ((fd = fcntl(1, F_DUPFD_CLOEXEC, 3)) >= 0)
        taken[count++] = fd;
    family_signal(a.family, a.child.pid, SIGTERM);
    TURN_UNTIL(loop, a.gone);
    setrlimit(RLIMIT_NOFILE, &before);
    while (count > 0)
        close(taken[--count]);
    assert_int_equal(alive_count(), 0);
    for (int i = 0; i < ROLES; i++)
        assert_true(has_note(roles[i], "finished"));
    finish(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_five_are_asked_and_none_is_left, setup, teardown),
        cmocka_unit_test_setup_teardown(a_slow_member_holds_the_end_back_and_may_finish, setup, teardown),
        cmocka_unit_test_setup_teardown(a_member_that_ignores_term_is_found_by_the_kill, setup, teardown),
        cmocka_unit_test_setup_teardown(what_a_dead_main_left_is_found_without_it, setup, teardown),
        cmocka_unit_test_setup_teardown(another_service_is_not_touched, setup, teardown),
        cmocka_unit_test_setup_teardown(signal_0_only_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stopped_member_hears_the_term, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_is_left_after_a_plain_process, setup, teardown),
        cmocka_unit_test_setup_teardown(a_wiped_environment_is_found_by_session_and_parent, setup, teardown),
        cmocka_unit_test_setup_teardown(a_marker_behind_a_long_environment_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(a_similar_marker_is_not_ours, setup, teardown),
        cmocka_unit_test_setup_teardown(a_zombie_that_nobody_reaps_does_not_count, setup, teardown),
        cmocka_unit_test_setup_teardown(children_born_meanwhile_are_asked_too, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stranger_who_got_the_number_is_not_hit, setup, teardown),
        cmocka_unit_test_setup_teardown(one_in_the_middle_of_an_exec_is_waited_for_as_long_as_it_gets_on, setup, teardown),
        cmocka_unit_test_setup_teardown(one_whose_environment_is_being_written_is_looked_at_again, setup, teardown),
        cmocka_unit_test_setup_teardown(one_that_does_not_get_on_is_not_waited_for, setup, teardown),
        cmocka_unit_test_setup_teardown(a_family_without_marker_is_everybody_we_answer_for, setup, teardown),
        cmocka_unit_test_setup_teardown(a_family_of_very_many_takes_few_descriptors, setup, teardown),
        cmocka_unit_test_setup_teardown(one_turns_families_share_a_sweep, setup, teardown),
        cmocka_unit_test_setup_teardown(gone_may_free_its_own_family_and_others, setup, teardown),
        cmocka_unit_test_setup_teardown(leaves_nobody_whichever_call_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(works_where_pidfds_are_unknown, setup, teardown),
        cmocka_unit_test_setup_teardown(stops_a_family_with_no_descriptor_left, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
