/* Leases, orders to kill, and who is told of runs, on a kernel made of tables. */
#include "fake_world.h"

#include "appliance/leases.h"

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_begin, world_end)

static struct service_spec *leased(const char *name)
{
    struct service_spec *spec = spec_of(name);
    spec->lease = strdup("sql");
    return spec;
}

/* The lease is held for so long from now on; 0: no more. */
static void hold_ms(int64_t ms)
{
    assert_true(supervisor_lease(world.sup, "sql", ms ? world.now + ms * NS_PER_MS : 0, NULL));
}

static struct service_view view_of(const char *name)
{
    struct service_view view;
    assert_true(supervisor_view(world.sup, name, &view));
    return view;
}

static void names_are_found_again_and_hold_until_they_are_due(void **unused)
{
    (void)unused;
    struct lease *list = NULL, *a = leases_get(&list, "a"), *b = leases_get(&list, "b");
    assert_ptr_equal(leases_get(&list, "a"), a);
    assert_ptr_not_equal(a, b);
    assert_true(lease_is_over(a, 1)); /* nobody has it at first */
    a->due_boot_ns = 1000 * NS_PER_MS;
    assert_false(lease_is_over(a, 1000 * NS_PER_MS - 1));
    assert_true(lease_is_over(a, 1000 * NS_PER_MS));
    assert_true(lease_may_start(a, 1000 * NS_PER_MS - LEASE_START_MARGIN_NS - 1));
    assert_false(lease_may_start(a, 1000 * NS_PER_MS - LEASE_START_MARGIN_NS));
    a->due_boot_ns = INT64_MIN;
    assert_false(lease_may_start(a, INT64_MAX));
    leases_free(&list);
    assert_null(list);
}

static void waits_for_its_lease_and_for_enough_of_it(void **unused)
{
    (void)unused;
    struct service_spec *spec = leased("shell");
    needs(spec, "master", NEED_READY);
    declare(spec_of("master"));
    run(spec);
    assert_string_equal(view_of("shell").reason, "waits for master to be ready (not wanted), the lease sql");
    hold_ms(5000);
    assert_int_equal(state_of("shell"), SERVICE_WAITING);
    hold_ms(0);
    want("master", true);
    assert_int_equal(state_of("shell"), SERVICE_WAITING);
    assert_string_equal(view_of("shell").reason, "waits for the lease sql");
    hold_ms(150);
    assert_int_equal(state_of("shell"), SERVICE_WAITING);
    hold_ms(1000);
    assert_int_equal(state_of("shell"), SERVICE_UP);
    assert_int_equal(fake_of("shell")->due, world.now + 1000 * NS_PER_MS); /* from its first step on */
}

static void is_killed_at_the_deadline_and_comes_back_with_the_lease_as_if_nothing_had_been(void **unused)
{
    (void)unused;
    run(spec_of("other"));
    hold_ms(2000);
    run(leased("shell"));
    pass_ms(1000);
    hold_ms(2000);
    pass_ms(1999);
    assert_int_equal(state_of("shell"), SERVICE_UP);
    int sweeps = world.sweeps;
    pass_ms(3); /* the fake's KILL takes one of them */
    assert_int_equal(state_of("shell"), SERVICE_WAITING);
    assert_int_equal(world.sweeps, sweeps); /* nobody is left behind, so nobody is looked for */
    assert_string_equal(view_of("shell").reason, "waits for the lease sql");
    assert_said("shell: killed at the end of its lease sql");
    assert_false(said("sql, restarting now"));
    assert_int_equal(view_of("shell").crashes, 0);
    pass_ms(60000);
    assert_int_equal(fake_of("shell")->starts, 1);
    hold_ms(1000);
    assert_int_equal(state_of("shell"), SERVICE_UP); /* without a delay */
    assert_int_equal(view_of("shell").crashes, 0);
    assert_int_equal(state_of("other"), SERVICE_UP);
    assert_int_equal(fake_of("other")->starts, 1);
}

static void a_lease_that_is_given_up_kills_at_once(void **unused)
{
    (void)unused;
    hold_ms(5000);
    run(leased("shell"));
    fake_of("shell")->members = 2;
    fake_of("shell")->members_ignore_term = true;
    pass_ms(100);
    hold_ms(0);
    assert_int_equal(state_of("shell"), SERVICE_CLEARING);
    assert_int_equal(signals_to("shell", SIGKILL, NULL), 1); /* by name of the family, who left the group too */
    assert_int_equal(signals_to("shell", SIGTERM, NULL), 0);
    pass_ms(5);
    assert_int_equal(state_of("shell"), SERVICE_WAITING);
    assert_int_equal(fake_of("shell")->members, 0);
}

static void whom_the_deadline_has_killed_no_later_one_brings_back(void **unused)
{
    (void)unused;
    hold_ms(1000);
    run(leased("shell"));
    fake_of("shell")->kill_ms = 50; /* as with a heap that takes its time to be given back */
    pass_ms(1010);
    assert_int_equal(state_of("shell"), SERVICE_UP); /* nobody knows yet */
    hold_ms(2000);
    assert_int_equal(state_of("shell"), SERVICE_CLEARING);
    pass_ms(100);
    assert_int_equal(state_of("shell"), SERVICE_UP);
    assert_int_equal(fake_of("shell")->starts, 2);
    assert_int_equal(view_of("shell").crashes, 0);
    assert_said("shell: killed at the end of its lease sql, restarting now");
}

static void a_crash_under_a_lease_is_a_crash_and_a_good_run_forgets_it(void **unused)
{
    (void)unused;
    hold_ms(3600 * 1000);
    run(leased("shell"));
    exit_with("shell", 1);
    assert_int_equal(state_of("shell"), SERVICE_BACKOFF);
    assert_int_equal(view_of("shell").crashes, 1);
    pass_ms(600);
    assert_int_equal(state_of("shell"), SERVICE_UP);
    hold_ms(0); /* after a short run: what was is not forgotten */
    pass_ms(2);
    assert_int_equal(view_of("shell").crashes, 1);
    hold_ms(3600 * 1000);
    pass_ms(20000);
    hold_ms(0);
    pass_ms(2);
    assert_int_equal(view_of("shell").crashes, 0);
}

static void the_end_of_the_lease_during_backoff_changes_nothing(void **unused)
{
    (void)unused;
    hold_ms(100000);
    run(leased("shell"));
    exit_with("shell", 1);
    hold_ms(0);
    assert_int_equal(state_of("shell"), SERVICE_BACKOFF);
    pass_ms(600);
    assert_int_equal(state_of("shell"), SERVICE_WAITING);
    hold_ms(1000);
    assert_int_equal(state_of("shell"), SERVICE_UP);
}

static void who_dies_under_a_lease_leaves_nobody_behind(void **unused)
{
    (void)unused;
    hold_ms(100000);
    run(leased("shell"));
    fake_of("shell")->members = 3;
    fake_of("shell")->members_ignore_term = true;
    exit_with("shell", 1);
    assert_int_equal(signals_to("shell", SIGTERM, NULL), 0);
    assert_int_equal(signals_to("shell", SIGKILL, NULL), 1);
    pass_ms(5);
    assert_int_equal(state_of("shell"), SERVICE_BACKOFF);
    assert_int_equal(view_of("shell").crashes, 1);

    pass_ms(600);
    fake_of("shell")->members = 3;
    world.signal_count = 0;
    want("shell", false); /* main is asked, and has its time; who is left when it has gone has none */
    assert_int_equal(signals_to("shell", SIGTERM, NULL), 1);
    pass_ms(5);
    assert_int_equal(signals_to("shell", SIGKILL, NULL), 1);
    assert_int_equal(state_of("shell"), SERVICE_DOWN);

    struct service_spec *calm = leased("calm");
    calm->restart = RESTART_ON_FAILURE;
    run(calm);
    fake_of("calm")->members = 1;
    exit_with("calm", 0);
    assert_int_equal(state_of("calm"), SERVICE_DONE);
    assert_int_equal(signals_to("calm", SIGKILL, NULL), 1);
    pass_ms(5);
}

static void an_orderly_end_has_its_grace_while_the_lease_is_held_and_not_longer(void **unused)
{
    (void)unused;
    hold_ms(1000);
    run(leased("shell"));
    fake_of("shell")->ignores_term = true;
    want("shell", false);
    for (int i = 0; i < 5; i++) {
        pass_ms(500);
        hold_ms(1000);
    }
    assert_int_equal(state_of("shell"), SERVICE_STOPPING);
    assert_int_equal(signals_to("shell", SIGKILL, NULL), 0);
    pass_ms(1002);
    assert_int_equal(state_of("shell"), SERVICE_DOWN);
    hold_ms(1000);
    want("shell", true);
    want("shell", false);
    hold_ms(0);
    assert_int_equal(signals_to("shell", SIGKILL, NULL), 1);
    pass_ms(2);
    assert_int_equal(state_of("shell"), SERVICE_DOWN);
}

static void nothing_is_started_that_nobody_could_kill(void **unused)
{
    (void)unused;
    world.no_thread = true;
    hold_ms(100000);
    run(leased("shell"));
    run(spec_of("other"));
    assert_int_equal(state_of("other"), SERVICE_UP);
    assert_int_equal(state_of("shell"), SERVICE_UNSPAWNED);
    assert_int_equal(fake_of("shell")->starts, 0);
    world.no_thread = false;
    pass_ms(500);
    assert_int_equal(state_of("shell"), SERVICE_UP);
}

static void a_new_spec_brings_its_lease_with_the_next_start(void **unused)
{
    (void)unused;
    run(spec_of("shell"));
    declare(leased("shell"));
    hold_ms(0);
    assert_int_equal(state_of("shell"), SERVICE_UP);
    assert_true(supervisor_restart(world.sup, "shell", NULL));
    pass_ms(5);
    assert_int_equal(state_of("shell"), SERVICE_WAITING);
    struct service_spec *elsewhere = leased("shell");
    elsewhere->dir = strdup("/elsewhere");
    declare(elsewhere); /* while it waits: what it will start with is the newest */
    assert_int_equal(state_of("shell"), SERVICE_WAITING);
    hold_ms(1000);
    assert_int_equal(state_of("shell"), SERVICE_UP);
    assert_string_equal(fake_of("shell")->dir, "/elsewhere");
    pass_ms(1002);
    assert_int_equal(state_of("shell"), SERVICE_WAITING);
    declare(spec_of("shell"));
    assert_int_equal(state_of("shell"), SERVICE_UP);
    assert_int_equal(fake_of("shell")->due, INT64_MAX);
}

static void several_hang_on_one_lease_and_others_on_another(void **unused)
{
    (void)unused;
    struct service_spec *node = spec_of("master");
    node->lease = strdup("node");
    assert_true(supervisor_lease(world.sup, "node", world.now + 60 * NS_PER_S, NULL));
    hold_ms(1000);
    run(leased("a"));
    run(leased("b"));
    run(node);
    pass_ms(1005);
    assert_int_equal(state_of("a"), SERVICE_WAITING);
    assert_int_equal(state_of("b"), SERVICE_WAITING);
    assert_int_equal(state_of("master"), SERVICE_UP);
    supervisor_dump(world.sup);
    assert_said("a: waiting for 4 ms: waits for the lease sql");
}

/* --- orders to kill --- */

static void one_that_is_killed_on_command_is_back_at_once(void **unused)
{
    (void)unused;
    run(spec_of("master"));
    fake_of("master")->ignores_term = true;
    fake_of("master")->members = 1;
    assert_true(supervisor_kill(world.sup, "master", NULL));
    assert_int_equal(state_of("master"), SERVICE_CLEARING);
    pass_ms(5);
    assert_int_equal(state_of("master"), SERVICE_UP);
    assert_int_equal(fake_of("master")->starts, 2);
    assert_int_equal(view_of("master").crashes, 0);
    assert_int_equal(signals_to("master", SIGTERM, NULL), 0);
    assert_said("master: killed on command, restarting now");

    want("master", false); /* one that stops is killed, too, and stays down */
    assert_int_equal(state_of("master"), SERVICE_STOPPING);
    assert_true(supervisor_kill(world.sup, "master", NULL));
    pass_ms(5);
    assert_int_equal(state_of("master"), SERVICE_DOWN);
    assert_true(supervisor_kill(world.sup, "master", NULL));
    assert_int_equal(state_of("master"), SERVICE_DOWN);

    struct service_spec *once = spec_of("once");
    once->restart = RESTART_NEVER;
    run(once);
    assert_true(supervisor_kill(world.sup, "once", NULL));
    pass_ms(5);
    assert_int_equal(state_of("once"), SERVICE_FAILED);
    assert_said("once: killed on command, not to be restarted");
    struct err err;
    assert_false(supervisor_kill(world.sup, "nobody", &err));
    assert_string_equal(err.text, "nobody: there is no such service");
}

static void what_a_crash_left_behind_is_killed_on_command(void **unused)
{
    (void)unused;
    run(spec_of("worker"));
    fake_of("worker")->members = 2;
    fake_of("worker")->members_ignore_term = true;
    exit_with("worker", 1);
    assert_int_equal(state_of("worker"), SERVICE_CLEARING);
    assert_true(supervisor_kill(world.sup, "worker", NULL));
    pass_ms(5);
    assert_int_equal(state_of("worker"), SERVICE_UP);
    assert_int_equal(view_of("worker").crashes, 1);
}

/* --- who is told of runs --- */

static struct heard {
    struct run_watcher watcher; /* first */
    char text[600];
} heard;

static void hear(struct run_watcher *w, enum run_moment moment)
{
    struct heard *h = (struct heard *)w;
    size_t length = strlen(h->text);
    static const char *const words[] = {"started", "ready", "ended", "removed"};
    if (moment == RUN_ENDED)
        snprintf(h->text + length, sizeof h->text - length, "ended %d/%d%s ", w->run->end.status, w->run->end.signal,
                 w->run->unasked ? " unasked" : "");
    else
        snprintf(h->text + length, sizeof h->text - length, "%s ", words[moment]);
    if (moment != RUN_REMOVED)
        assert_int_equal(w->run->pid, fake_of("shell")->pid);
}

static void expect_heard(const char *text)
{
    assert_string_equal(heard.text, text);
    heard.text[0] = 0;
}

static void watchers_hear_of_each_run_and_of_its_end_when_nobody_is_left(void **unused)
{
    (void)unused;
    heard = (struct heard){.watcher.told = hear};
    struct heard second = {.watcher.told = hear};
    struct err err;
    assert_false(supervisor_watch_runs(world.sup, "shell", &heard.watcher, &err));
    struct service_spec *spec = leased("shell");
    spec->ready.kind = READY_LUA;
    declare(spec);
    assert_true(supervisor_watch_runs(world.sup, "shell", &second.watcher, NULL));
    assert_true(supervisor_watch_runs(world.sup, "shell", &heard.watcher, NULL));
    run_unwatch(&second.watcher);
    run_unwatch(&second.watcher);
    want("shell", true);
    expect_heard("");
    hold_ms(100000);
    expect_heard("started ");
    assert_true(supervisor_ready(world.sup, "shell", NULL));
    expect_heard("ready ");
    fake_of("shell")->members = 1;
    exit_with("shell", 0);
    expect_heard("");
    pass_ms(5);
    expect_heard("ended 0/0 unasked ");
    pass_ms(600);
    expect_heard("started ");
    hold_ms(0);
    pass_ms(5);
    expect_heard("ended -1/9 ");
    hold_ms(1000);
    pass_ms(1005);
    expect_heard("started ended -1/9 ");
    hold_ms(100000);
    assert_true(supervisor_kill(world.sup, "shell", NULL));
    pass_ms(5);
    expect_heard("started ended -1/9 started ");
    assert_true(supervisor_restart(world.sup, "shell", NULL));
    pass_ms(5);
    expect_heard("ended 143/0 started ");
    world.spawn_errno = EAGAIN;
    assert_true(supervisor_restart(world.sup, "shell", NULL));
    pass_ms(50);
    expect_heard("ended 143/0 ");
    world.spawn_errno = 0;
    pass_ms(2000);
    expect_heard("started ");
    pass_ms(60 * 1000); /* it did not get ready */
    expect_heard("ended 143/0 unasked started ");
    assert_true(supervisor_remove(world.sup, "shell", NULL));
    pass_ms(5);
    expect_heard("ended 143/0 removed ");
    assert_null(heard.watcher.run);
    run_unwatch(&heard.watcher);
    assert_string_equal(second.text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_found_again_and_hold_until_they_are_due),
        TEST(waits_for_its_lease_and_for_enough_of_it),
        TEST(is_killed_at_the_deadline_and_comes_back_with_the_lease_as_if_nothing_had_been),
        TEST(a_lease_that_is_given_up_kills_at_once),
        TEST(whom_the_deadline_has_killed_no_later_one_brings_back),
        TEST(a_crash_under_a_lease_is_a_crash_and_a_good_run_forgets_it),
        TEST(the_end_of_the_lease_during_backoff_changes_nothing),
        TEST(who_dies_under_a_lease_leaves_nobody_behind),
        TEST(an_orderly_end_has_its_grace_while_the_lease_is_held_and_not_longer),
        TEST(nothing_is_started_that_nobody_could_kill),
        TEST(a_new_spec_brings_its_lease_with_the_next_start),
        TEST(several_hang_on_one_lease_and_others_on_another),
        TEST(one_that_is_killed_on_command_is_back_at_once),
        TEST(what_a_crash_left_behind_is_killed_on_command),
        TEST(watchers_hear_of_each_run_and_of_its_end_when_nobody_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
