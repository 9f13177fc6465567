/* The loop and its timers, on real descriptors and a clock that the test steps. */
#include "appliance/clock.h"
#include "appliance/deadline.h"
#include "appliance/loop.h"
#include "appliance/sys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

static int64_t fake_now;

static int64_t fake_clock(void)
{
    return fake_now;
}

static int order[2000], order_length;

struct numbered {
    struct timer timer;
    int number;
};

static void fired(struct timer *t)
{
    order[order_length++] = ((struct numbered *)t)->number;
}

static void timers_fire_in_order_of_time(void **state)
{
    (void)state;
    struct loop *loop = loop_new(NULL);
    int64_t (*real)(void) = sys.clock_ns;
    sys.clock_ns = fake_clock;
    fake_now = 1;
    enum { COUNT = 1000 };
    static struct numbered timers[COUNT];
    srandom(7);
    for (int i = 0; i < COUNT; i++) {
        timers[i].number = (int)(random() % 500);
        timer_start(&timers[i].timer, loop, timers[i].number, fired);
    }
    for (int i = 0; i < COUNT; i += 3) /* some move, some go */
        timer_stop(&timers[i].timer);
    for (int i = 1; i < COUNT; i += 3) {
        timers[i].number = (int)(random() % 500);
        timer_start(&timers[i].timer, loop, timers[i].number, fired);
    }
    order_length = 0;
    while (loop_timer_count(loop) > 0) {
        fake_now += 7 * NS_PER_MS;
        assert_true(loop_turn(loop, 0, NULL));
    }
    assert_int_equal(order_length, COUNT - (COUNT + 2) / 3);
    for (int i = 1; i < order_length; i++)
        assert_true(order[i - 1] <= order[i]);
    sys.clock_ns = real;
    loop_free(loop);
}

static struct watch first, second;
static int calls;

static void stop_the_other(struct watch *w, uint32_t events)
{
    (void)events;
    calls++;
    watch_stop(w == &first ? &second : &first);
}

static void a_stopped_watch_is_not_called_for_an_event_of_the_same_batch(void **state)
{
    (void)state;
    struct loop *loop = loop_new(NULL);
    int a = eventfd(1, EFD_NONBLOCK), b = eventfd(1, EFD_NONBLOCK);
    assert_true(watch_start(&first, loop, a, EPOLLIN, stop_the_other, NULL));
    assert_true(watch_start(&second, loop, b, EPOLLIN, stop_the_other, NULL));
    calls = 0;
    assert_true(loop_turn(loop, INT64_MAX, NULL));
    assert_int_equal(calls, 1);
    assert_int_equal(loop_watch_count(loop), 1);
    watch_stop(&first);
    watch_stop(&second);
    close(a);
    close(b);
    loop_free(loop);
}

static struct loop *its_loop;

static void restart_itself(struct timer *t)
{
    calls++;
    timer_start(t, its_loop, 0, restart_itself);
}

static void a_timer_that_restarts_itself_does_not_hold_the_loop(void **state)
{
    (void)state;
    struct timer timer = {0};
    its_loop = loop_new(NULL);
    timer_start(&timer, its_loop, 0, restart_itself);
    calls = 0;
    for (int turns = 0; turns < 3; turns++)
        assert_true(loop_turn(its_loop, INT64_MAX, NULL));
    assert_int_equal(calls, 3);
    timer_stop(&timer);
    loop_free(its_loop);
}

/* The exit code of `life` in a process of its own, whose complaints nobody sees. */
static int end_of(void (*life)(void))
{
    pid_t pid = fork();
    if (pid == 0) {
        close(STDERR_FILENO);
        life();
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void hang(void)
{
    for (;;)
        pause();
}

static pid_t paused_child(void)
{
    pid_t child = fork();
    if (child == 0)
        hang();
    return child;
}

static void hang_with_a_child(bool has_waited)
{
    pid_t child = paused_child();
    if (!deadline_start(50, NULL) || !deadline_guard(child, -1, INT64_MAX, NULL))
        _exit(1);
    its_loop = loop_new(NULL);
    if (has_waited)
        loop_turn(its_loop, clock_ns() + NS_PER_MS, NULL);
    hang();
}

/* Before its loop has waited once, or after: the thread is there by then. */
static void hang_at_once(void)
{
    hang_with_a_child(false);
}

static void hang_after_a_wait(void)
{
    hang_with_a_child(true);
}

/* A lease makes the thread in the middle of the turn. */
static void hang_after_a_lease(void)
{
    pid_t child = paused_child();
    if (!deadline_start(50, NULL) || !deadline_guard(child, -1, INT64_MAX, NULL) || !deadline_set(child, INT64_MAX))
        _exit(1);
    hang();
}

static void the_watchdog_ends_a_process_whose_loop_hangs(void **state)
{
    (void)state;
    assert_int_equal(end_of(hang_at_once), 70);
    assert_int_equal(end_of(hang_after_a_wait), 70);
    assert_int_equal(end_of(hang_after_a_lease), 70);
}

static void be_alarmed_by_others(void)
{
    if (!deadline_start(60000, NULL))
        _exit(1);
    for (int i = 0; i < 3; i++)
        kill(getpid(), SIGALRM);
}

static void compute_after_the_limit_was_taken_away(void)
{
    if (!deadline_start(50, NULL) || !deadline_start(0, NULL))
        _exit(1);
    for (int64_t end = clock_ns() + 1500 * NS_PER_MS; clock_ns() < end;) {} /* longer than two looks take */
}

static void the_watchdog_minds_its_own_alarm_and_no_others(void **state)
{
    (void)state;
    assert_int_equal(end_of(be_alarmed_by_others), 0);
    assert_int_equal(end_of(compute_after_the_limit_was_taken_away), 0);
}

static void turn_without_rest(int64_t ms)
{
    struct timer timer = {0};
    its_loop = loop_new(NULL);
    timer_start(&timer, its_loop, 0, restart_itself);
    for (int64_t end = clock_ns() + ms * NS_PER_MS; clock_ns() < end;)
        loop_turn(its_loop, INT64_MAX, NULL);
}

/* Always something to do, for longer than the two looks of this watchdog take. */
static void turn_for_long(void)
{
    if (!deadline_start(50, NULL))
        _exit(1);
    turn_without_rest(2500);
}

static void turn_for_long_and_hang(void)
{
    turn_for_long();
    hang();
}

static void a_loop_that_never_rests_does_not_hang(void **state)
{
    (void)state;
    assert_int_equal(end_of(turn_for_long), 0);
    assert_int_equal(end_of(turn_for_long_and_hang), 70);
}

static void a_lease_kills_at_its_deadline_though_the_loop_hangs(void **state)
{
    (void)state;
    pid_t child = paused_child();
    assert_true(deadline_start(0, NULL));
    assert_true(deadline_guard(child, -1, INT64_MAX, NULL));
    assert_true(deadline_set(child, clock_boot_ns() + 20 * NS_PER_MS));
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    deadline_unguard(child);
    assert_false(deadline_set(child, 1));
    deadline_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_fire_in_order_of_time),
        cmocka_unit_test(a_stopped_watch_is_not_called_for_an_event_of_the_same_batch),
        cmocka_unit_test(a_timer_that_restarts_itself_does_not_hold_the_loop),
        cmocka_unit_test(the_watchdog_ends_a_process_whose_loop_hangs),
        cmocka_unit_test(the_watchdog_minds_its_own_alarm_and_no_others),
        cmocka_unit_test(a_loop_that_never_rests_does_not_hang),
        cmocka_unit_test(a_lease_kills_at_its_deadline_though_the_loop_hangs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
