/* The real program and the processes that its services leave: nobody survives, and everybody was asked first. */
#include "node.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PUPPET "programs .. 'puppet', "
#define FAMILY "programs .. 'family', folder"

static const char *const roles[] = {"main", "pg", "orphan", "sess", "daemon"};
enum { ROLES = sizeof roles / sizeof *roles };

static struct node *start(enum node_kind kind, const char *services)
{
    return node_start(NULL, &(struct node_options){.kind = kind, .services = services});
}

static void assert_all(const struct node *n, const char *what)
{
    for (int i = 0; i < ROLES; i++) {
        char file[64];
        snprintf(file, sizeof file, "%s.%s", roles[i], what);
        if (!scratch_has(n->folder, file))
            fail_msg("%s was not there:\n%s", file, n->text);
    }
}

static void stopping_one_service_leaves_none_of_its_five(void **unused)
{
    (void)unused;
    for (enum node_kind kind = 0; kind < NODE_KINDS; kind++) {
        struct node *n = start(kind, "service { name = 'five', command = { " FAMILY " } },\n"
                                     "service { name = 'other', command = { " PUPPET "'say', 'other is up', 'wait' } }");
        node_await(n, "five | ready");
        node_await(n, "other is up");
        assert_int_equal(node_members(n, NULL), 6);
        if (node_command(n, "stop five") != 0)
            fail_msg("stop five: %s", scratch_read(n->folder, "command"));
        node_await(n, "five: stopped");
        int zombies;
        assert_int_equal(node_members(n, &zombies), 1); /* when it says stopped, it is */
        assert_int_equal(zombies, 0);
        assert_all(n, "asked");
        assert_all(n, "finished");
        node_end_well(n);
    }
}

static void the_end_of_the_program_asks_all_five_and_waits_for_the_slow_one(void **unused)
{
    (void)unused;
    for (enum node_kind kind = 0; kind < NODE_KINDS; kind++) {
        struct node *n = start(kind, "service { name = 'five', command = { " FAMILY ", 'daemon=700', 'sess=300' } }");
        node_await(n, "five | ready");
        int64_t before = clock_ns();
        node_signal(n, SIGTERM);
        assert_int_equal(node_await_end(n), 0);
        assert_in_range(clock_ns() - before, 700 * NS_PER_MS, 5 * NS_PER_S);
        assert_all(n, "asked");
        assert_all(n, "finished");
        assert_int_equal(node_members(n, NULL), 0);
        node_free(n);
    }
}

static void an_older_kernel_or_a_filter_is_no_reason_to_leave_anybody(void **unused)
{
    (void)unused;
    const int errors[] = {ENOSYS, EPERM};
    for (int i = 0; i < 2; i++)
        for (enum node_kind kind = 0; kind < NODE_KINDS; kind++) {
            struct node *n = node_start(
                NULL, &(struct node_options){.kind = kind,
                                             .refused = errors[i],
                                             .services = "service { name = 'five', command = { " FAMILY ", 'daemon=300' } },\n"
                                                         "service { name = 'other', command = { programs .. 'report', 'wait' } }"});
            node_await(n, "five | ready");
            node_await(n, "other | end");
            node_await(n, "descriptors=3");
            assert_int_equal(node_command(n, "stop five"), 0);
            node_await(n, "five: stopped");
            assert_int_equal(node_members(n, NULL), 1);
            assert_all(n, "asked");
            assert_all(n, "finished");
            node_end_well(n);
        }
}

static void a_member_that_ignores_term_is_killed_after_the_grace(void **unused)
{
    (void)unused;
    for (enum node_kind kind = 0; kind < NODE_KINDS; kind++) {
        struct node *n =
            start(kind, "service { name = 'five', command = { " FAMILY ", 'daemon=ignore', 'pg=ignore' }, stop = { grace = 0.5 } },\n"
                        "service { name = 'other', command = { " PUPPET "'hang' } }");
        node_await(n, "five | ready");
        assert_int_equal(node_command(n, "stop five"), 0);
        node_await(n, "five: stopped");
        assert_int_equal(node_members(n, NULL), 1);
        node_end_well(n);
    }
}

static void what_a_crash_left_is_ended_before_the_next_start(void **unused)
{
    (void)unused;
    struct node *n = start(NODE_PID1, "service { name = 'five', command = { " FAMILY " } }");
    node_await(n, "five | ready");
    assert_true(node_signal_inner(n, (pid_t)atoi(scratch_read(n->folder, "main.up")), SIGKILL)); /* main alone, by the pid that it noted */
    node_await_times(n, "five | ready", 2);
    for (int i = 1; i < ROLES; i++) {
        char file[64];
        snprintf(file, sizeof file, "%s.asked", roles[i]);
        assert_true(scratch_has(n->folder, file));
    }
    assert_int_equal(node_members(n, NULL), 5);
    node_end_well(n);
}

/* As `docker exec` does it: a process that somebody outside puts into the namespace of PID 1. It leaves an orphan there. */
static pid_t enter(const struct node *n, const char *word)
{
    int pidfd = (int)syscall(SYS_pidfd_open, n->pid, 0);
    pid_t outside = fork();
    if (outside == 0) {
        setns(pidfd, CLONE_NEWUSER); /* fails where it is ours already */
        if (setns(pidfd, CLONE_NEWPID) < 0)
            _exit(77);
        if (fork() == 0) {
            if (fork() == 0) {
                execl(test_program("puppet"), "stray", "note", scratch_path(n->folder, word), "wait", "note",
                      scratch_path(n->folder, "stray-ended"), (char *)NULL);
                _exit(127);
            }
            _exit(0);
        }
        int status;
        wait(&status);
        _exit(0);
    }
    close(pidfd);
    int status;
    waitpid(outside, &status, 0);
    return WEXITSTATUS(status) == 0 ? outside : -1;
}

static void who_came_from_outside_is_taken_for_nobody_and_asked_at_the_end(void **unused)
{
    (void)unused;
    struct node *n = start(NODE_PID1_ROOT, "service { name = 'a', command = { " PUPPET "'say', 'I am up', 'wait' }, critical = true }");
    node_await(n, "I am up");
    if (enter(n, "first") < 0) {
        node_free(n);
        skip();
    }
    node_await_file(n, "first");
    node_await_members(n, 2);
    assert_true(node_signal_members(n, "puppet", 0) >= 1);
    assert_true(node_signal_inner(n, (pid_t)atoi(scratch_read(n->folder, "first")), SIGKILL)); /* an unknown death */
    node_await_members(n, 1);
    int zombies = 1;
    for (int64_t limit = clock_ns() + 20 * NS_PER_S; zombies > 0; node_members(n, &zombies))
        assert_true(clock_ns() < limit);
    assert_null(strstr(n->text, "SIGKILL")); /* a lives, and nothing was said of it */
    assert_true(enter(n, "second") > 0);
    node_await_file(n, "second");
    node_signal(n, SIGTERM);
    assert_int_equal(node_await_end(n), 0);
    assert_true(scratch_has(n->folder, "stray-ended")); /* asked by TERM, and waited for */
    node_free(n);
}

static void one_in_the_middle_of_an_exec_is_found_all_the_same(void **unused)
{
    (void)unused;
    /* What main leaves executes itself anew without end: its environment, and so its marker, is not there most of the time. */
    enum { ROUNDS = 30 };
    struct node *n = start(NODE_PID1, "service { name = 'a', backoff = { min = 0.01, max = 0.01 }, command = { '/bin/sh', '-c',\n"
                                      "  '\"$0\" again & exec \"$0\" note \"$1/pid\" say up hang', programs .. 'puppet', folder } }");
    for (int round = 1; round <= ROUNDS; round++) {
        node_await_times(n, "a | up", round);
        node_await_members(n, 2);
        const char *pids = scratch_read(n->folder, "pid"), *last = pids + strlen(pids) - 1;
        while (last > pids && last[-1] != '\n')
            last--;
        assert_true(node_signal_inner(n, (pid_t)atoi(last), SIGKILL));
    }
    node_await_times(n, "a | up", ROUNDS + 1);
    node_await_members(n, 2);
    assert_int_equal(node_command(n, "stop a"), 0);
    assert_int_equal(node_members(n, NULL), 0);
    node_end_well(n);
}

/* --- orphans by the thousand --- */

static void ten_thousand_orphans_in_turn_leave_no_zombie(void **unused)
{
    (void)unused;
    for (enum node_kind kind = 0; kind < NODE_KINDS; kind++) {
        struct node *n = start(kind, "service { name = 'a', command = { programs .. 'orphans', '10000', 'chain' } }");
        node_await(n, "done 10000");
        node_await_members(n, 1); /* the last one may still be on its way out */
        int zombies = 1;
        for (int64_t limit = clock_ns() + 20 * NS_PER_S; zombies > 0;) {
            assert_int_equal(node_members(n, &zombies), 1);
            assert_true(clock_ns() < limit);
        }
        assert_null(strstr(n->text, "exited")); /* none was taken for the service */
        node_end_well(n);
    }
}

static void thousands_that_die_at_once_leave_no_zombie_and_hold_nobody_up(void **unused)
{
    (void)unused;
    struct node *n = start(NODE_PID1, "service { name = 'a', command = { programs .. 'orphans', '4000', 'burst' } },\n"
                                      "service { name = 'b', command = { " PUPPET "'say', 'b is up', 'hang' }, backoff = { min = 0.01 } }");
    node_await(n, "done 4000");
    node_await(n, "b is up");
    assert_int_equal(node_signal_members(n, "puppet", SIGKILL), 1);
    node_await_times(n, "b is up", 2);
    node_await_members(n, 2);
    int zombies = 1;
    for (int64_t limit = clock_ns() + 20 * NS_PER_S; zombies > 0; node_members(n, &zombies))
        assert_true(clock_ns() < limit);
    node_end_well(n);
}

static void a_crowd_of_orphans_is_ended_with_its_service(void **unused)
{
    (void)unused;
    for (enum node_kind kind = 0; kind < NODE_KINDS; kind++) {
        struct node *n = start(kind, "service { name = 'a', command = { programs .. 'orphans', '500', 'stay' } },\n"
                                     "service { name = 'b', command = { " PUPPET "'hang' } }");
        node_await(n, "done 500");
        assert_int_equal(node_members(n, NULL), 502);
        assert_int_equal(node_command(n, "stop a"), 0);
        node_await(n, "a: stopped");
        assert_int_equal(node_members(n, NULL), 1);
        node_end_well(n);
    }
}

static void fifty_killed_at_once_all_come_back(void **unused)
{
    (void)unused;
    char services[16384] = "";
    for (int i = 0; i < 50; i++)
        snprintf(services + strlen(services), sizeof services - strlen(services),
                 "service { name = 's%d', command = { " PUPPET "'say', 'is up', 'wait' } },\n", i);
    struct node *n = start(NODE_PID1, services);
    node_await_times(n, "is up", 50);
    int64_t before = clock_ns();
    assert_int_equal(node_signal_members(n, "puppet", SIGKILL), 50);
    node_await_times(n, "is up", 100);
    print_message("50 killed: all back after %.1f ms\n", (double)(clock_ns() - before) / NS_PER_MS);
    before = clock_ns();
    node_signal(n, SIGTERM);
    assert_int_equal(node_await_end(n), 0);
    print_message("50 stopped in %.1f ms\n", (double)(clock_ns() - before) / NS_PER_MS);
    node_free(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stopping_one_service_leaves_none_of_its_five),
        cmocka_unit_test(the_end_of_the_program_asks_all_five_and_waits_for_the_slow_one),
        cmocka_unit_test(an_older_kernel_or_a_filter_is_no_reason_to_leave_anybody),
        cmocka_unit_test(a_member_that_ignores_term_is_killed_after_the_grace),
        cmocka_unit_test(what_a_crash_left_is_ended_before_the_next_start),
        cmocka_unit_test(who_came_from_outside_is_taken_for_nobody_and_asked_at_the_end),
        cmocka_unit_test(one_in_the_middle_of_an_exec_is_found_all_the_same),
        cmocka_unit_test(ten_thousand_orphans_in_turn_leave_no_zombie),
        cmocka_unit_test(thousands_that_die_at_once_leave_no_zombie_and_hold_nobody_up),
        cmocka_unit_test(a_crowd_of_orphans_is_ended_with_its_service),
        cmocka_unit_test(fifty_killed_at_once_all_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
