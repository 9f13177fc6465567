/* The real program as PID 1 of its own namespaces, and as an ordinary process: start, signals, end. */
#include "node.h"
#include "process.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PUPPET "programs .. 'puppet', "

static const char *const kind_names[NODE_KINDS] = {"PID 1", "PID 1 as root", "ordinary process"};

static struct node *start(enum node_kind kind, const char *services)
{
    return node_start(NULL, &(struct node_options){.kind = kind, .services = services});
}

static void runs_a_service_and_stops_it_on_term_and_int(void **unused)
{
    (void)unused;
    for (enum node_kind kind = 0; kind < NODE_KINDS; kind++)
        for (int i = 0; i < 2; i++) {
            struct node *n =
                start(kind, "service { name = 'a', command = { " PUPPET "'say', 'I am up', 'wait', 'note', folder .. 'ended' } }");
            node_await(n, "I am up");
            assert_int_equal(node_members(n, NULL), 1);
            int64_t before = clock_ns();
            node_signal(n, i ? SIGINT : SIGTERM);
            assert_int_equal(node_await_end(n), 0);
            assert_true(scratch_has(n->folder, "ended"));
            if (clock_ns() - before > 3 * NS_PER_S)
                fail_msg("%s: a willing child took %lld ms to stop", kind_names[kind], (long long)((clock_ns() - before) / NS_PER_MS));
            node_free(n);
        }
}

static void honours_term_from_its_first_moment(void **unused)
{
    (void)unused;
    int64_t least = INT64_MAX;
    for (int round = 0; round < 20; round++) {
        struct node *n = start(NODE_PID1, "service { name = 'a', command = { " PUPPET "'hang' } }");
        /* The kernel drops a TERM to PID 1 that is neither blocked nor handled: so it is sent when it is first blocked, and after that in
         * steps through the whole boot. */
        long long blocked;
        while ((blocked = process_number(n->pid, "SigBlk", 16)) < 0 || !(blocked & 1LL << (SIGTERM - 1)))
            if (clock_ns() - n->executed_ns > 20 * NS_PER_S)
                fail_msg("TERM is never blocked");
        int64_t taken = clock_ns() - n->executed_ns;
        least = taken < least ? taken : least;
        for (int64_t until = clock_ns() + round * NS_PER_MS / 4; clock_ns() < until;) {}
        node_end_well(n);
    }
    print_message("TERM is safe %.2f ms after exec\n", (double)least / NS_PER_MS);
    assert_true(least < 50 * NS_PER_MS); /* the bench holds it to 1 ms on a quiet machine */
}

static void stops_during_start_at_once(void **unused)
{
    (void)unused;
    /* b waits for what never becomes ready, c has just been started. */
    struct node *n = start(NODE_PID1, "service { name = 'a', command = { " PUPPET
                                      "'say', 'I am up', 'hang' }, ready = { kind = 'line', has = 'never' } },\n"
                                      "service { name = 'b', command = { " PUPPET "'hang' }, after = { a = 'ready' } },\n"
                                      "service { name = 'c', command = { " PUPPET "'hang' }, after = { a = 'started' } }");
    node_await(n, "I am up");
    int64_t before = clock_ns();
    node_signal(n, SIGTERM);
    assert_int_equal(node_await_end(n), 0);
    assert_true(clock_ns() - before < 2 * NS_PER_S);
    assert_null(strstr(n->text, "b: started"));
    node_free(n);
}

static void a_term_in_the_tick_of_a_start_is_not_lost(void **unused)
{
    (void)unused;
    for (int round = 0; round < 10; round++) {
        struct node *n = start(NODE_PID1, "service { name = 'a', command = { " PUPPET "'hang' } }");
        node_await(n, "a: started");
        int64_t before = clock_ns();
        node_signal(n, SIGTERM);
        assert_int_equal(node_await_end(n), 0);
        assert_true(clock_ns() - before < 2 * NS_PER_S); /* the default grace would be 8 s */
        node_free(n);
    }
}

static void a_second_term_hurries(void **unused)
{
    (void)unused;
    char *environment[] = {"STOP_TIMEOUT=50s", NULL};
    struct node *n =
        node_start(NULL, &(struct node_options){.environment = environment,
                                                .services = "service { name = 'a', command = { " PUPPET
                                                            "'ignore', '15', 'say', 'I am up', 'hang' }, stop = { grace = 50 } }"});
    node_await(n, "I am up");
    int64_t before = clock_ns();
    node_signal(n, SIGTERM);
    node_await(n, "stop"); /* it has taken the first one */
    node_signal(n, SIGTERM);
    assert_int_equal(node_await_end(n), 0);
    assert_true(clock_ns() - before < 10 * NS_PER_S);
    node_free(n);
}

static void the_whole_stop_ends_within_its_budget(void **unused)
{
    (void)unused;
    char *environment[] = {"STOP_TIMEOUT=2s", NULL};
    /* Three levels, none of which reacts; one of them is frozen, and one in an uninterruptible sleep. */
    struct node *n = node_start(
        NULL, &(struct node_options){.environment = environment,
                                     .services = "service { name = 'a', command = { " PUPPET "'ignore', '15', 'say', 'up 1', 'hang' } },\n"
                                                 "service { name = 'b', command = { " PUPPET
                                                 "'ignore', '15', 'say', 'up 2', 'stop' }, after = { a = 'started' } },\n"
                                                 "service { name = 'c', command = { " PUPPET
                                                 "'ignore', '15', 'say', 'up 3', 'vfork' }, after = { b = 'started' } }"});
    node_await(n, "up 1");
    node_await(n, "up 2");
    node_await(n, "up 3");
    int64_t before = clock_ns();
    node_signal(n, SIGTERM);
    assert_int_equal(node_await_end(n), 0);
    int64_t taken = clock_ns() - before;
    if (taken > 3 * NS_PER_S)
        fail_msg("took %lld ms of 2000:\n%s", (long long)(taken / NS_PER_MS), n->text);
    node_free(n);
}

static void a_frozen_child_hears_the_term(void **unused)
{
    (void)unused;
    struct node *n =
        start(NODE_PID1, "service { name = 'a', command = { " PUPPET "'say', 'I am up', 'wait', 'note', folder .. 'ended' } }");
    node_await(n, "I am up");
    assert_int_equal(node_signal_members(n, "puppet", SIGSTOP), 1);
    node_signal(n, SIGTERM);
    assert_int_equal(node_await_end(n), 0);
    assert_true(scratch_has(n->folder, "ended"));
    node_free(n);
}

static void children_start_with_clean_signals_whatever_we_were_given(void **unused)
{
    (void)unused;
    for (enum node_kind kind = 0; kind < NODE_KINDS; kind++) {
        struct node *n =
            node_start(NULL, &(struct node_options){.kind = kind,
                                                    .leave_signals = true,
                                                    .services = "service { name = 'a', command = { programs .. 'report', 'wait' } }"});
        node_await(n, "end");
        node_await(n, "SigBlk=0000000000000000");
        node_await(n, "SigIgn=0000000000000000");
        node_await(n, "descriptors=3");
        node_await(n, "leads_session=1");
        node_await(n, kind == NODE_PLAIN ? "pdeathsig=9" : "pdeathsig=0");
        node_end_well(n);
    }
}

static void signals_of_no_meaning_change_nothing(void **unused)
{
    (void)unused;
    struct node *n = start(NODE_PID1, "service { name = 'a', command = { " PUPPET "'say', 'I am up', 'wait' } }");
    node_await(n, "I am up");
    const int odd[] = {SIGUSR2, SIGPIPE, SIGALRM, SIGWINCH, SIGCHLD, SIGCONT, SIGTTIN, SIGTTOU, SIGTSTP, SIGURG, SIGIO};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        node_signal(n, odd[i]);
    node_signal(n, SIGUSR1);
    node_await(n, "a: up"); /* the state for SIGUSR1 */
    assert_int_equal(node_members(n, NULL), 1);
    node_end_well(n);
}

static void a_critical_service_that_gives_up_ends_it_with_1(void **unused)
{
    (void)unused;
    struct node *n = start(NODE_PID1, "service { name = 'a', command = { " PUPPET "'hang' } },\n"
                                      "service { name = 'b', command = { " PUPPET
                                      "'exit', '3' }, critical = true, backoff = { min = 0.01, max = 0.02, give_up = 3 } }");
    assert_int_equal(node_await_end(n), 1);
    const char *last = n->text + n->length - 1;
    while (last > n->text && last[-1] != '\n')
        last--;
    if (!strstr(last, "b"))
        fail_msg("the last line does not name b: %s", last);
    node_free(n);
}

static void a_program_that_is_missing_does_not_hold_up_others(void **unused)
{
    (void)unused;
    struct node *n = start(NODE_PID1, "service { name = 'gone', command = { '/nowhere/java' }, critical = false },\n"
                                      "service { name = 'a', command = { " PUPPET "'say', 'I am up', 'wait' } }");
    node_await(n, "I am up");
    node_await(n, "/nowhere/java: No such file or directory");
    node_end_well(n);
}

static void a_crashed_service_is_started_again(void **unused)
{
    (void)unused;
    for (enum node_kind kind = 0; kind < NODE_KINDS; kind++) {
        struct node *n = start(kind, "service { name = 'a', command = { " PUPPET "'say', 'I am up', 'hang' } }");
        for (int round = 1; round <= 2; round++) {
            node_await_times(n, "I am up", round);
            assert_int_equal(node_signal_members(n, "puppet", SIGKILL), 1);
        }
        node_await_times(n, "I am up", 3);
        node_await(n, "SIGKILL");
        node_end_well(n);
    }
}

static void when_it_is_killed_as_an_ordinary_process_its_services_die_too(void **unused)
{
    (void)unused;
    struct node *n =
        start(NODE_PLAIN, "service { name = 'a', command = { " PUPPET "'note', folder .. 'a', 'say', 'up 1', 'hang' } },\n"
                          "service { name = 'b', command = { " PUPPET "'note', folder .. 'b', 'ignore', '15', 'say', 'up 2', 'hang' } }");
    node_await(n, "up 1");
    node_await(n, "up 2");
    pid_t pids[] = {(pid_t)atoi(scratch_read(n->folder, "a")), (pid_t)atoi(scratch_read(n->folder, "b"))};
    node_signal(n, SIGKILL);
    assert_int_equal(node_await_end(n), 128 + SIGKILL);
    for (int i = 0; i < 2; i++)
        for (int64_t limit = clock_ns() + 20 * NS_PER_S; kill(pids[i], 0) == 0;)
            assert_true(clock_ns() < limit);
    node_free(n);
}

static void as_an_ordinary_process_it_leaves_bystanders_alone(void **unused)
{
    (void)unused;
    /* In a shared PID namespace (a pod) others live beside us, and whoever has started us. */
    pid_t bystander = fork();
    if (bystander == 0)
        for (;;)
            pause();
    struct node *n = start(NODE_PLAIN, "service { name = 'a', command = { " PUPPET "'say', 'I am up', 'hang' } }");
    node_await(n, "I am up");
    node_end_well(n);
    assert_int_equal(waitpid(bystander, NULL, WNOHANG), 0);
    kill(bystander, SIGKILL);
    assert_int_equal(waitpid(bystander, NULL, 0), bystander);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_a_service_and_stops_it_on_term_and_int),
        cmocka_unit_test(honours_term_from_its_first_moment),
        cmocka_unit_test(stops_during_start_at_once),
        cmocka_unit_test(a_term_in_the_tick_of_a_start_is_not_lost),
        cmocka_unit_test(a_second_term_hurries),
        cmocka_unit_test(the_whole_stop_ends_within_its_budget),
        cmocka_unit_test(a_frozen_child_hears_the_term),
        cmocka_unit_test(children_start_with_clean_signals_whatever_we_were_given),
        cmocka_unit_test(signals_of_no_meaning_change_nothing),
        cmocka_unit_test(a_critical_service_that_gives_up_ends_it_with_1),
        cmocka_unit_test(a_program_that_is_missing_does_not_hold_up_others),
        cmocka_unit_test(a_crashed_service_is_started_again),
        cmocka_unit_test(when_it_is_killed_as_an_ordinary_process_its_services_die_too),
        cmocka_unit_test(as_an_ordinary_process_it_leaves_bystanders_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
