/* reaper.h: every death once, orphans apart from children, in slices, with one wake-up. */
#include "appliance/child.h"
#include "appliance/reaper.h"
#include "appliance/signals.h"
#include "fault.h"
#include "turning.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static struct loop *loop;
static int descriptors_before;

enum { MANY = 300 };
static struct child many[MANY];
static int ended_count, ended_again;

static void count_end(struct child *child, struct child_end how)
{
    (void)how;
    ended_again += child->loop == NULL; /* the test clears it at the first end */
    child->loop = NULL;
    ended_count++;
}

static bool start(struct child *child, const char *word, const char *value, void (*ended)(struct child *, struct child_end))
{
    char *argv[] = {(char *)(uintptr_t)test_program("puppet"), (char *)(uintptr_t)word, (char *)(uintptr_t)value, NULL};
    struct child_spec spec = {.name = "test", .argv = argv, .envp = environ, .output = 1};
    return child_start(child, loop, &spec, ended, NULL);
}

/* A process whose parent has ended: given to us. */
static void make_orphan(void)
{
    pid_t middle = fork();
    if (middle == 0) {
        if (fork() == 0)
            _exit(5);
        _exit(0);
    }
    assert_int_equal(waitpid(middle, NULL, 0), middle);
}

static int setup(void **unused)
{
    (void)unused;
    fault_clear();
    signals_block();
    descriptors_before = open_descriptors();
    loop = loop_new(NULL);
    assert_true(signals_start(loop, NULL, NULL));
    assert_true(reaper_start(loop, true, NULL));
    ended_count = ended_again = 0;
    return 0;
}

static int teardown(void **unused)
{
    (void)unused;
    fault_clear();
    reaper_on_batch(NULL, NULL);
    signals_stop();
    reaper_stop();
    assert_int_equal(loop_watch_count(loop) + loop_timer_count(loop), 0);
    loop_free(loop);
    assert_int_equal(open_descriptors(), descriptors_before);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    return 0;
}

static void an_unknown_orphan_is_reaped_and_taken_for_nobody(void **unused)
{
    (void)unused;
    assert_true(start(&many[0], "hang", NULL, count_end));
    unsigned long before = reaper_orphans();
    make_orphan();
    TURN_UNTIL(loop, reaper_orphans() == before + 1);
    assert_int_equal(ended_count, 0);
    assert_true(child_is_alive(&many[0]));
    child_signal(&many[0], SIGKILL, REACH_LEADER);
    TURN_UNTIL(loop, ended_count == 1);
    assert_int_equal(reaper_orphans(), before + 1);
}

static void deaths_that_came_with_one_sigchld_are_all_told(void **unused)
{
    (void)unused;
    for (int i = 0; i < MANY; i++)
        assert_true(start(&many[i], "hang", NULL, count_end));
    for (int i = 0; i < MANY; i++)
        child_signal(&many[i], SIGKILL, REACH_LEADER);
    for (int i = 0; i < MANY; i++) { /* all are dead before the loop turns, so the kernel has folded their SIGCHLDs into one */
        siginfo_t info;
        assert_int_equal(waitid(P_PID, (id_t)many[i].pid, &info, WEXITED | WNOWAIT), 0);
    }
    TURN_UNTIL(loop, ended_count == MANY);
    assert_int_equal(ended_again, 0);
}

static int told_in_turn[8], turns;

static void note_turn(struct child *child, struct child_end how)
{
    count_end(child, how);
    if (turns < 8)
        told_in_turn[turns]++;
}

static void a_mass_death_leaves_room_for_other_events(void **unused)
{
    (void)unused;
    for (int i = 0; i < MANY; i++)
        assert_true(start(&many[i], "exit", "0", note_turn));
    for (int i = 0; i < MANY; i++) {
        siginfo_t info;
        assert_int_equal(waitid(P_PID, (id_t)many[i].pid, &info, WEXITED | WNOWAIT), 0);
    }
    reaper_run();
    assert_int_equal(ended_count, 256); /* one slice */
    TURN_UNTIL(loop, ended_count == MANY);
}

static void finds_one_of_very_many_by_its_pid(void **unused)
{
    (void)unused;
    static struct child made_up[5000]; /* pids that nobody has: above the kernel's highest */
    for (int i = 0; i < 5000; i++) {
        made_up[i] = (struct child){.pid = 5000000 + i * 3, .pidfd = -1};
        reaper_add(&made_up[i]);
    }
    for (int i = 0; i < 5000; i++)
        assert_ptr_equal(reaper_find(5000000 + i * 3), &made_up[i]);
    assert_null(reaper_find(5000001));
    for (int i = 0; i < 5000; i++)
        reaper_remove(&made_up[i]);
    assert_null(reaper_find(5000000));
}

static void restart_at_once(struct child *child, struct child_end how)
{
    count_end(child, how);
    if (ended_count < 20)
        assert_true(start(child, "exit", "0", restart_at_once));
}

static void a_child_may_be_started_again_from_its_own_end(void **unused)
{
    (void)unused;
    assert_true(start(&many[0], "exit", "0", restart_at_once));
    TURN_UNTIL(loop, ended_count == 20);
}

static void remove_the_other(struct child *child, struct child_end how)
{
    count_end(child, how);
    reaper_remove(child == &many[0] ? &many[1] : &many[0]);
}

static void a_child_that_another_ones_end_removes_is_not_told(void **unused)
{
    (void)unused;
    for (int i = 0; i < 2; i++)
        assert_true(start(&many[i], "exit", "0", remove_the_other));
    for (int i = 0; i < 2; i++) {
        siginfo_t info;
        assert_int_equal(waitid(P_PID, (id_t)many[i].pid, &info, WEXITED | WNOWAIT), 0);
    }
    reaper_run();
    assert_int_equal(ended_count, 1);
    assert_false(child_is_alive(&many[0]) || child_is_alive(&many[1]));
}

static void counts_strangers_among_our_children(void **unused)
{
    (void)unused;
    assert_int_equal(reaper_strangers(), 0);
    for (int i = 0; i < 20; i++)
        assert_true(start(&many[i], "hang", NULL, count_end));
    assert_int_equal(reaper_strangers(), 0);
    pid_t stranger = fork();
    if (stranger == 0)
        for (;;)
            pause();
    assert_int_equal(reaper_strangers(), 1);
    kill(stranger, SIGKILL);
    TURN_UNTIL(loop, reaper_strangers() == 0);
    for (int i = 0; i < 20; i++)
        child_signal(&many[i], SIGKILL, REACH_LEADER);
    TURN_UNTIL(loop, ended_count == 20);
}

static int batches, ended_at_batch;

static void note_batch(void *argument)
{
    assert_ptr_equal(argument, &batches);
    batches++;
    ended_at_batch = ended_count;
}

static void tells_of_a_batch_after_all_ends_of_it(void **unused)
{
    (void)unused;
    batches = 0;
    reaper_on_batch(note_batch, &batches);
    for (int i = 0; i < 10; i++)
        assert_true(start(&many[i], "exit", "0", count_end));
    for (int i = 0; i < 10; i++) {
        siginfo_t info;
        assert_int_equal(waitid(P_PID, (id_t)many[i].pid, &info, WEXITED | WNOWAIT), 0);
    }
    reaper_run();
    assert_int_equal(batches, 1);
    assert_int_equal(ended_at_batch, 10);
    reaper_run();
    assert_int_equal(batches, 1); /* nobody died: nothing to tell */
}

static void survives_a_waitid_that_is_interrupted_or_refused(void **unused)
{
    (void)unused;
    const int errors[] = {EINTR, ECHILD, EINVAL};
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        for (struct fault f = fault_sweep(FAULT_WAITID, errors[i]); fault_next(&f);) {
            ended_count = 0;
            assert_true(start(&many[0], "exit", "0", count_end));
            siginfo_t info;
            assert_int_equal(waitid(P_PID, (id_t)many[0].pid, &info, WEXITED | WNOWAIT), 0);
            reaper_run();
            reaper_run();
            assert_int_equal(ended_count, 1);
        }
}

static void one_death_costs_one_wake_up(void **unused)
{
    (void)unused;
    assert_true(start(&many[0], "hang", NULL, count_end));
    child_signal(&many[0], SIGKILL, REACH_LEADER);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)many[0].pid, &info, WEXITED | WNOWAIT), 0);
    fault_clear();
    assert_true(loop_turn(loop, clock_ns() + NS_PER_S, NULL));
    assert_int_equal(ended_count, 1);
    assert_int_equal(fault_calls(FAULT_EPOLL_WAIT), 1);
    assert_int_equal(fault_calls(FAULT_WAITID), 2); /* the death, and that there is no other */
    assert_true(loop_turn(loop, 0, NULL));
    assert_int_equal(fault_calls(FAULT_READ), 1); /* nothing came after it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_unknown_orphan_is_reaped_and_taken_for_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(deaths_that_came_with_one_sigchld_are_all_told, setup, teardown),
        cmocka_unit_test_setup_teardown(a_mass_death_leaves_room_for_other_events, setup, teardown),
        cmocka_unit_test_setup_teardown(finds_one_of_very_many_by_its_pid, setup, teardown),
        cmocka_unit_test_setup_teardown(a_child_may_be_started_again_from_its_own_end, setup, teardown),
        cmocka_unit_test_setup_teardown(a_child_that_another_ones_end_removes_is_not_told, setup, teardown),
        cmocka_unit_test_setup_teardown(counts_strangers_among_our_children, setup, teardown),
        cmocka_unit_test_setup_teardown(tells_of_a_batch_after_all_ends_of_it, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_a_waitid_that_is_interrupted_or_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(one_death_costs_one_wake_up, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
