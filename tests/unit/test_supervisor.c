/* The supervisor on a kernel made of tables: what it does, when, and what it says. */
#include "fake_world.h"

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_begin, world_end)

static struct service_spec *probed(const char *name)
{
    struct service_spec *spec = spec_of(name);
    spec->ready.kind = READY_TCP;
    spec->ready.port = 8080;
    return spec;
}

/* --- dependencies --- */

static void starts_what_needs_nothing_at_once_and_the_others_as_soon_as_they_may(void **unused)
{
    (void)unused;
    struct service_spec *prepare = spec_of("prepare"), *master = probed("master"), *worker = spec_of("worker"), *shell = spec_of("shell");
    prepare->oneshot = true;
    needs(master, "prepare", NEED_DONE);
    needs(worker, "master", NEED_READY);
    needs(shell, "master", NEED_STARTED);
    declare(worker); /* before what it needs is known */
    declare(shell);
    declare(master);
    declare(prepare);
    want("worker", true);
    want("shell", true);
    want("master", true);
    want("prepare", true);
    assert_int_equal(state_of("prepare"), SERVICE_STARTING);
    assert_int_equal(state_of("master"), SERVICE_WAITING);
    struct service_view view;
    supervisor_view(world.sup, "worker", &view);
    assert_string_equal(view.reason, "waits for master to be ready");
    supervisor_view(world.sup, "shell", &view);
    assert_string_equal(view.reason, "waits for master to be started");

    pass_ms(300);
    exit_with("prepare", 0);
    assert_int_equal(state_of("prepare"), SERVICE_DONE);
    assert_int_equal(state_of("master"), SERVICE_STARTING);
    assert_int_equal(state_of("shell"), SERVICE_UP);
    assert_int_equal(state_of("worker"), SERVICE_WAITING);

    pass_ms(1200);
    fake_ready("master");
    assert_int_equal(state_of("worker"), SERVICE_UP);
    assert_said("prepare: done after 0.3 s");
    assert_said("master: ready after 1.2 s");
    assert_said("worker: waits for master to be ready");
    assert_said("worker: started (pid ");
}

static void a_one_shot_that_fails_is_tried_again_and_nobody_goes_on_without_it(void **unused)
{
    (void)unused;
    struct service_spec *prepare = spec_of("prepare"), *master = spec_of("master");
    prepare->oneshot = true;
    needs(master, "prepare", NEED_DONE);
    declare(prepare);
    declare(master);
    want("master", true);
    want("prepare", true);
    exit_with("prepare", 3);
    assert_int_equal(state_of("prepare"), SERVICE_BACKOFF);
    assert_int_equal(state_of("master"), SERVICE_WAITING);
    pass_ms(600);
    exit_with("prepare", 0);
    assert_int_equal(state_of("master"), SERVICE_UP);
}

static void a_restarted_service_waits_again_for_what_it_needs(void **unused)
{
    (void)unused;
    struct service_spec *worker = spec_of("worker");
    needs(worker, "master", NEED_READY);
    declare(worker);
    run(probed("master"));
    want("worker", true);
    fake_ready("master");
    assert_int_equal(state_of("worker"), SERVICE_UP);
    killed_by("master", SIGKILL);
    assert_int_equal(state_of("worker"), SERVICE_UP); /* it is not stopped for that */
    killed_by("worker", SIGKILL);
    pass_ms(5000);
    assert_int_equal(state_of("master"), SERVICE_STARTING);
    assert_int_equal(state_of("worker"), SERVICE_WAITING);
    fake_ready("master");
    assert_int_equal(state_of("worker"), SERVICE_UP);
}

static void unknown_needs_are_refused_by_name_when_wanted(void **unused)
{
    (void)unused;
    struct service_spec *worker = spec_of("worker");
    needs(worker, "master", NEED_READY);
    needs(worker, "known", NEED_READY);
    needs(worker, "store", NEED_READY);
    declare(worker);
    declare(spec_of("known"));
    struct err err;
    assert_false(supervisor_want(world.sup, "worker", true, &err));
    assert_int_equal(err.kind, ERR_MISSING);
    assert_string_equal(err.text, "worker: needs master, store, which are not declared: correct `after`, or declare them");
    assert_false(supervisor_want(world.sup, "nobody", true, &err));
    assert_string_equal(err.text, "nobody: there is no such service");
    assert_false(supervisor_restart(world.sup, "worker", &err));
}

static void a_cycle_is_refused_with_all_its_names(void **unused)
{
    (void)unused;
    struct service_spec *a = spec_of("a"), *b = spec_of("b"), *c = spec_of("c"), *self = spec_of("self");
    needs(a, "b", NEED_READY);
    needs(b, "c", NEED_STARTED);
    needs(c, "a", NEED_DONE);
    declare(a);
    declare(b);
    struct err err;
    assert_false(supervisor_declare(world.sup, c, &err));
    assert_int_equal(err.kind, ERR_INVALID);
    assert_string_equal(err.text, "c: `after` is a cycle (c needs a needs b needs c): drop one of these needs");
    needs(self, "self", NEED_READY);
    assert_false(supervisor_declare(world.sup, self, &err));
    assert_non_null(strstr(err.text, "self needs self"));
    assert_int_equal(supervisor_count(world.sup), 2);
    /* A known service whose new spec would close a circle keeps its old one. */
    declare(spec_of("c"));
    struct service_spec *again = spec_of("c");
    needs(again, "a", NEED_READY);
    assert_false(supervisor_declare(world.sup, again, &err));
    want("c", true);
    want("b", true);
    want("a", true);
    assert_int_equal(state_of("a"), SERVICE_UP);
}

static void who_waits_for_a_removed_service_goes_on_when_it_comes_back(void **unused)
{
    (void)unused;
    struct service_spec *worker = spec_of("worker");
    needs(worker, "master", NEED_READY);
    declare(worker);
    declare(spec_of("master"));
    want("worker", true);
    struct service_view view;
    supervisor_view(world.sup, "worker", &view);
    assert_string_equal(view.reason, "waits for master to be ready (not wanted)");
    assert_true(supervisor_remove(world.sup, "master", NULL));
    supervisor_view(world.sup, "worker", &view);
    assert_string_equal(view.reason, "waits for master to be ready (not declared)");
    assert_false(supervisor_view(world.sup, "master", &view));
    run(spec_of("master"));
    assert_int_equal(state_of("worker"), SERVICE_UP);
}

/* --- crashes --- */

static void first_restart_after_a_healthy_run_is_immediate_and_costs_nothing(void **unused)
{
    (void)unused;
    run(spec_of("worker"));
    pass_ms(35000);
    int sweeps = world.sweeps, looks = world.oom_looks, timers = loop_timer_count(world.loop);
    killed_by("worker", SIGKILL);
    assert_int_equal(state_of("worker"), SERVICE_UP); /* in the very call that told of the death */
    assert_int_equal(fake_of("worker")->starts, 2);
    assert_int_equal(world.sweeps, sweeps);
    assert_int_equal(loop_timer_count(world.loop), timers);
    assert_int_equal(world.oom_looks, looks + 1); /* after the start, for the sentence */
    assert_said("worker: killed by SIGKILL after 35 s, restarting now");
    assert_string_equal(world.lines[world.line_count - 1], "worker: started (pid 102)");
    struct service_view view;
    supervisor_view(world.sup, "worker", &view);
    assert_int_equal(view.restarts, 1);
    assert_int_equal(view.crashes, 1);
    assert_int_equal(view.last_end.signal, SIGKILL);
    assert_string_equal(view.reason, "");
}

static int64_t loop_starts[64];
static int loop_start_count;
static void crash_at_once(struct fake *f)
{
    if (loop_start_count < 64)
        loop_starts[loop_start_count++] = world.now;
    will_die(f, (struct child_end){.status = 1}, 1);
}

static void a_crash_loop_is_slowed_down_with_jitter_up_to_a_ceiling(void **unused)
{
    (void)unused;
    loop_start_count = 0;
    world.on_start = crash_at_once;
    run(spec_of("worker"));
    pass_ms(10000);
    assert_in_range(loop_start_count, 5, 10); /* in the first ten seconds */
    pass_ms(200000);
    double nominal = 0.5;
    bool jitter = false;
    for (int i = 1; i < loop_start_count; i++) {
        double delay = (double)(loop_starts[i] - loop_starts[i - 1]) / NS_PER_S - 0.001;
        assert_true(delay <= nominal + 0.0001 && delay >= nominal * 0.75 - 0.002);
        jitter |= delay < nominal * 0.99;
        nominal = nominal * 2 < 30 ? nominal * 2 : 30;
    }
    assert_true(jitter);
    assert_said("worker: exited with 1 after 1 ms, next try in 0.");
    assert_said("(3rd crash in a row)");
    world.on_start = NULL;
    pass_ms(31000);
    struct service_view view;
    supervisor_view(world.sup, "worker", &view);
    assert_int_equal(view.state, SERVICE_UP);
    assert_true(view.crashes > 5);
    pass_ms(10000); /* healthy again */
    exit_with("worker", 1);
    supervisor_view(world.sup, "worker", &view);
    assert_int_equal(view.crashes, 1);
    assert_int_equal(view.state, SERVICE_UP);
}

static bool fatal_told, all_stopped;
static void on_stopped(void *unused)
{
    (void)unused;
    all_stopped = true;
}
static void stop_when_fatal(void *unused)
{
    (void)unused;
    fatal_told = true;
    supervisor_stop_all(world.sup, 8000, on_stopped, NULL);
}

static void a_critical_service_that_is_given_up_stops_everything_and_has_the_last_word(void **unused)
{
    (void)unused;
    fatal_told = all_stopped = false;
    supervisor_on_fatal(world.sup, stop_when_fatal, NULL);
    struct service_spec *worker = spec_of("worker");
    worker->critical = true;
    worker->give_up = 3;
    run(spec_of("other"));
    run(worker);
    exit_with("worker", 1);
    for (int i = 0; i < 2; i++) {
        while (!fake_of("worker")->child)
            pass_ms(1);
        pass_ms(300);
        exit_with("worker", 1);
    }
    pass_ms(10);
    assert_int_equal(state_of("worker"), SERVICE_FAILED);
    assert_int_equal(fake_of("worker")->starts, 3);
    assert_true(fatal_told);
    assert_string_equal(supervisor_fatal(world.sup), "worker");
    pass_ms(100);
    assert_true(all_stopped);
    assert_int_equal(state_of("other"), SERVICE_DOWN);
    assert_string_equal(world.lines[world.line_count - 1],
                        "worker: exited with 1 after 0.3 s, given up after 3 crashes in a row; it is critical, so everything was stopped");
}

static void one_that_is_not_critical_may_be_beyond_help_alone(void **unused)
{
    (void)unused;
    struct service_spec *worker = spec_of("worker");
    worker->restart = RESTART_NEVER;
    run(spec_of("other"));
    run(worker);
    exit_with("worker", 1);
    assert_int_equal(state_of("worker"), SERVICE_FAILED);
    assert_int_equal(state_of("other"), SERVICE_UP);
    assert_null(supervisor_fatal(world.sup));
    assert_said("worker: exited with 1 after 0 ms, not to be restarted");
    want("worker", true); /* somebody has mended it */
    assert_int_equal(state_of("worker"), SERVICE_UP);
    exit_with("worker", 0);
    assert_int_equal(state_of("worker"), SERVICE_DONE);
    assert_true(supervisor_restart(world.sup, "worker", NULL));
    assert_int_equal(state_of("worker"), SERVICE_UP);
}

static void exit_codes_mean_what_the_policy_says(void **unused)
{
    (void)unused;
    struct {
        enum restart_policy restart;
        bool oneshot;
        int clean;
        struct child_end how;
        enum service_state next;
    } cases[] = {
        {RESTART_ALWAYS, false, 0, {.status = 0}, SERVICE_BACKOFF},   /* a master that exits with 0 has lost leadership */
        {RESTART_ALWAYS, false, 0, {.status = 143}, SERVICE_BACKOFF}, /* nobody had asked */
        {RESTART_ALWAYS, false, 0, {.status = -1, .signal = SIGTERM}, SERVICE_BACKOFF},
        {RESTART_ALWAYS, true, 0, {.status = 0}, SERVICE_DONE},
        {RESTART_ALWAYS, true, 0, {.status = 1}, SERVICE_BACKOFF},
        {RESTART_ON_FAILURE, false, 0, {.status = 0}, SERVICE_DONE},
        {RESTART_ON_FAILURE, false, 0, {.status = 143}, SERVICE_BACKOFF},
        {RESTART_ON_FAILURE, false, 143, {.status = 143}, SERVICE_DONE},
        {RESTART_NEVER, false, 0, {.status = 0}, SERVICE_DONE},
        {RESTART_NEVER, true, 0, {.status = -1, .signal = SIGSEGV}, SERVICE_FAILED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%zu", i);
        struct service_spec *spec = spec_of(name);
        spec->restart = cases[i].restart;
        spec->oneshot = cases[i].oneshot;
        spec->clean_status[0] = cases[i].clean;
        run(spec);
        die(name, cases[i].how);
        if (state_of(name) != cases[i].next)
            fail_msg("case %zu: is %s", i, service_state_name(state_of(name)));
    }
}

static void what_a_dead_main_process_left_is_ended_before_the_next_start(void **unused)
{
    (void)unused;
    run(spec_of("worker"));
    pass_ms(20000);
    struct fake *f = fake_of("worker");
    f->members = 4;
    f->members_ignore_term = true;
    killed_by("worker", SIGSEGV);
    assert_int_equal(state_of("worker"), SERVICE_CLEARING);
    assert_int_equal(signals_to("worker", SIGTERM, NULL), 1);
    assert_said("worker: killed by SIGSEGV, ending what is left of its family");
    pass_ms(9900);
    assert_int_equal(signals_to("worker", SIGKILL, NULL), 0);
    pass_ms(200);
    assert_int_equal(state_of("worker"), SERVICE_UP);
    assert_said("worker: killed by SIGSEGV after 20 s, restarting now");
    struct service_view view;
    supervisor_view(world.sup, "worker", &view);
    assert_int_equal(view.crashes, 1);
}

static void a_kill_by_the_kernel_for_memory_is_named(void **unused)
{
    (void)unused;
    run(spec_of("worker"));
    run(spec_of("shell"));
    pass_ms(15000);
    world.oom_kills++;
    killed_by("worker", SIGKILL);
    assert_said("worker: killed by the kernel for memory: limit 2.0 GiB, after 15 s, restarting now");
    pass_ms(12000);
    killed_by("worker", SIGKILL); /* no new one: somebody else did that */
    assert_said("worker: killed by SIGKILL after 12 s, restarting now");
    pass_ms(50);
    world.oom_kills++;
    exit_with("shell", 137); /* what a shell makes of its child's SIGKILL */
    assert_said("shell: killed by the kernel for memory: limit 2.0 GiB, after 27 s, restarting now");
    int looks = world.oom_looks;
    exit_with("shell", 1);
    assert_int_equal(world.oom_looks, looks); /* not asked without reason */
}

/* --- starts that fail --- */

static void fork_failures_are_waited_out_and_never_counted(void **unused)
{
    (void)unused;
    world.spawn_errno = EAGAIN;
    char name[16];
    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof name, "s%d", i);
        run(spec_of(name));
    }
    struct service_view view;
    supervisor_view(world.sup, "s7", &view);
    assert_int_equal(view.state, SERVICE_UNSPAWNED);
    assert_string_equal(view.reason, "fork: EAGAIN");
    assert_int_equal(view.retry_ns - world.now, 100 * NS_PER_MS);
    int before = world.spawn_failures;
    pass_ms(5000);
    assert_true(world.spawn_failures - before <= 50 * 6); /* doubling, not hammering */
    want("s49", false);
    assert_int_equal(state_of("s49"), SERVICE_DOWN);
    for (int64_t offset = 0; offset < 40; offset++) { /* wherever in the delay the kernel has room again */
        pass_ms(offset);
        world.spawn_errno = 0;
        int64_t from = world.now;
        pass_ms(2000);
        for (int i = 0; i < 49; i++) {
            snprintf(name, sizeof name, "s%d", i);
            struct fake *f = fake_of(name);
            assert_true(f->child && f->started_at - from <= 2 * NS_PER_S);
            supervisor_view(world.sup, name, &view);
            assert_int_equal(view.crashes, 0);
            assert_int_equal(view.state, SERVICE_UP);
        }
        world.spawn_errno = EAGAIN;
        for (int i = 0; i < 49; i++) {
            snprintf(name, sizeof name, "s%d", i);
            assert_true(supervisor_restart(world.sup, name, NULL));
        }
        pass_ms(3000 + offset * 47);
    }
    world.spawn_errno = 0;
    assert_int_equal(fake_of("s49")->starts, 0);
    int told = 0;
    for (int i = 0; i < world.line_count; i++)
        told += strcmp(world.lines[i], "s3: fork: EAGAIN (fork: Resource temporarily unavailable), trying again until there is room") == 0;
    assert_in_range(told, 1, 41); /* once each time, not once each try */
}

static void the_delay_between_forks_doubles_from_a_tenth_of_a_second_to_less_than_two(void **unused)
{
    (void)unused;
    static const int delays_ms[] = {100, 200, 400, 800, 1600, 1600, 1600};
    world.spawn_errno = EAGAIN;
    run(spec_of("worker"));
    for (size_t i = 0; i < sizeof delays_ms / sizeof *delays_ms; i++) {
        struct service_view view;
        supervisor_view(world.sup, "worker", &view);
        assert_in_range((view.retry_ns - world.now) / NS_PER_MS, delays_ms[i] - 1, delays_ms[i]);
        pass_ms((view.retry_ns - world.now) / NS_PER_MS + 1);
    }
    world.spawn_errno = 0;
}

static void a_restart_that_finds_no_process_tells_of_the_death_all_the_same(void **unused)
{
    (void)unused;
    run(spec_of("worker"));
    pass_ms(20000);
    world.spawn_errno = EAGAIN;
    killed_by("worker", SIGKILL);
    assert_int_equal(state_of("worker"), SERVICE_UNSPAWNED);
    assert_said("worker: killed by SIGKILL after 20 s, restarting now");
    assert_string_equal(world.lines[world.line_count - 1],
                        "worker: fork: EAGAIN (fork: Resource temporarily unavailable), trying again until there is room");
    world.spawn_errno = 0;
    pass_ms(200);
    struct service_view view;
    supervisor_view(world.sup, "worker", &view);
    assert_int_equal(view.state, SERVICE_UP);
    assert_int_equal(view.crashes, 1); /* the one death, no matter how often fork failed */
}

static void one_success_lets_all_in_line_try_at_once(void **unused)
{
    (void)unused;
    world.spawn_errno = ENOMEM;
    run(spec_of("a"));
    pass_ms(3200);
    world.spawn_errno = 0;
    run(spec_of("b"));
    pass_ms(1);
    assert_int_equal(state_of("a"), SERVICE_UP);
    assert_said("a: fork: ENOMEM");
}

static void a_program_that_can_not_be_run_fails_at_once_and_for_good(void **unused)
{
    (void)unused;
    fake_of("worker")->missing = true;
    run(spec_of("worker"));
    run(spec_of("other"));
    pass_ms(100000);
    assert_int_equal(state_of("worker"), SERVICE_FAILED);
    assert_int_equal(state_of("other"), SERVICE_UP);
    assert_int_equal(fake_of("worker")->starts, 0);
    assert_said("worker: can't be started: exec /bin/fake: No such file or directory");
}

/* --- readiness --- */

static void not_ready_in_time_is_a_crash_that_ends_the_whole_family(void **unused)
{
    (void)unused;
    struct service_spec *master = probed("master");
    master->ready.deadline_ms = 5000;
    run(master);
    fake_of("master")->members = 2;
    pass_ms(4990);
    assert_int_equal(state_of("master"), SERVICE_STARTING);
    pass_ms(20);
    assert_said("master: not ready within 5.0 s (127.0.0.1:8080: connection refused), ending it");
    assert_int_equal(signals_to("master", SIGTERM, NULL), 1);
    assert_int_equal(fake_of("master")->members, 0);
    assert_int_equal(state_of("master"), SERVICE_BACKOFF);
    assert_said("master: not ready within 5.0 s (127.0.0.1:8080: connection refused), next try in 0.");
    struct service_view view;
    supervisor_view(world.sup, "master", &view);
    assert_int_equal(view.crashes, 1); /* the deadline and the death that followed are one */
}

static void time_in_which_all_were_frozen_does_not_count_against_readiness(void **unused)
{
    (void)unused;
    struct service_spec *master = probed("master");
    master->ready.deadline_ms = 5000;
    run(master);
    pass_ms(1000);
    world.now += 60 * NS_PER_S; /* the cgroup was frozen */
    loop_turn(world.loop, 0, NULL);
    assert_int_equal(state_of("master"), SERVICE_STARTING);
    fake_ready("master");
    assert_int_equal(state_of("master"), SERVICE_UP);
}

static void health_probes_go_on_and_a_failing_one_is_a_crash(void **unused)
{
    (void)unused;
    struct service_spec *master = probed("master");
    master->ready.health_misses = 3;
    run(master);
    assert_int_equal(fake_of("master")->probe->goal, PROBE_READY);
    fake_ready("master");
    struct probe *p = fake_of("master")->probe;
    assert_int_equal(p->goal, PROBE_HEALTH);
    assert_non_null(p->loop);
    pass_ms(20000);
    p->loop = NULL;
    p->failing(p, "127.0.0.1:8080: no answer within 5 s");
    assert_int_equal(state_of("master"), SERVICE_CLEARING);
    pass_ms(10);
    assert_int_equal(state_of("master"), SERVICE_STARTING); /* it had been healthy: at once */
    assert_said("master: missed 3 health probes in a row (127.0.0.1:8080: no answer within 5 s), restarting now");
}

static void readiness_by_line_and_by_lua(void **unused)
{
    (void)unused;
    struct service_spec *line = spec_of("line"), *lua = spec_of("lua");
    line->ready.kind = READY_LINE;
    line->ready.has = strdup("listening");
    lua->ready.kind = READY_LUA;
    run(line);
    run(lua);
    struct output *o = fake_of("line")->output;
    o->line(o->argument, "now listening", 13);
    assert_int_equal(state_of("line"), SERVICE_UP);
    assert_null(o->line);
    struct err err;
    assert_false(supervisor_ready(world.sup, "line", &err));
    assert_int_equal(err.kind, ERR_CONFLICT);
    assert_int_equal(state_of("lua"), SERVICE_STARTING);
    assert_true(supervisor_ready(world.sup, "lua", &err));
    assert_true(supervisor_ready(world.sup, "lua", &err));
    assert_int_equal(state_of("lua"), SERVICE_UP);
    want("lua", false);
    pass_ms(10);
    assert_false(supervisor_ready(world.sup, "lua", &err));
    assert_string_equal(err.text, "lua: is down, so it can't be ready");
}

/* --- stopping one --- */

static void stop_asks_the_family_and_143_is_what_was_asked_for(void **unused)
{
    (void)unused;
    run(spec_of("worker"));
    struct fake *f = fake_of("worker");
    f->slow_ms = 200;
    f->members = 3;
    want("worker", false);
    assert_int_equal(state_of("worker"), SERVICE_STOPPING);
    pass_ms(1000);
    assert_int_equal(state_of("worker"), SERVICE_DOWN);
    assert_int_equal(signals_to("worker", SIGTERM, NULL), 1);
    assert_int_equal(signals_to("worker", SIGKILL, NULL), 0);
    assert_said("worker: stopped after 0.2 s");
    pass_ms(100000);
    assert_int_equal(f->starts, 1);
}

static void an_end_that_was_not_as_asked_is_told(void **unused)
{
    (void)unused;
    run(spec_of("worker"));
    fake_of("worker")->ignores_term = true;
    want("worker", false);
    pass_ms(100);
    exit_with("worker", 2);
    assert_int_equal(state_of("worker"), SERVICE_DOWN);
    assert_said("worker: stopped after 0.1 s: exited with 2");
}

static void a_deaf_one_is_asked_for_a_dump_and_killed_when_its_grace_is_over(void **unused)
{
    (void)unused;
    struct service_spec *worker = spec_of("worker");
    worker->dump_signal = SIGQUIT;
    worker->grace_ms = 3000;
    run(worker);
    fake_of("worker")->ignores_term = true;
    int64_t from = world.now, dump_at = 0, kill_at = 0;
    want("worker", false);
    pass_ms(10000);
    assert_int_equal(state_of("worker"), SERVICE_DOWN);
    assert_int_equal(signals_to("worker", SIGQUIT, &dump_at), 1);
    assert_int_equal(signals_to("worker", SIGKILL, &kill_at), 1);
    assert_in_range((dump_at - from) / NS_PER_MS, 2490, 2510);
    assert_in_range((kill_at - from) / NS_PER_MS, 2990, 3010);
    assert_said("worker: stopped after 3.0 s: had to be killed");
}

static void it_is_not_down_while_a_member_of_its_group_lives(void **unused)
{
    (void)unused;
    run(spec_of("worker"));
    struct fake *f = fake_of("worker");
    f->members = 2;
    f->members_ignore_term = true; /* the leader obeys, its family does not: the leader's exit must not cancel the KILL */
    want("worker", false);
    pass_ms(100);
    assert_null(f->child);
    assert_int_equal(state_of("worker"), SERVICE_STOPPING);
    pass_ms(10000);
    assert_int_equal(f->members, 0);
    assert_int_equal(state_of("worker"), SERVICE_DOWN);
}

static void what_a_one_shot_left_behind_ends_with_its_stop(void **unused)
{
    (void)unused;
    struct service_spec *prepare = spec_of("prepare");
    prepare->oneshot = true;
    run(prepare);
    fake_of("prepare")->members = 1;
    exit_with("prepare", 0);
    assert_int_equal(state_of("prepare"), SERVICE_DONE);
    want("prepare", false);
    pass_ms(10);
    assert_int_equal(fake_of("prepare")->members, 0);
    assert_int_equal(state_of("prepare"), SERVICE_DOWN);
}

static void a_wish_while_it_stops_is_served_when_it_is_down(void **unused)
{
    (void)unused;
    run(spec_of("worker"));
    fake_of("worker")->slow_ms = 500;
    want("worker", false);
    want("worker", true);
    assert_int_equal(state_of("worker"), SERVICE_STOPPING);
    pass_ms(600);
    assert_int_equal(state_of("worker"), SERVICE_UP);
    assert_true(supervisor_restart(world.sup, "worker", NULL));
    assert_said("worker: stopping, to start again");
    want("worker", false); /* changed our mind */
    pass_ms(600);
    assert_int_equal(state_of("worker"), SERVICE_DOWN);
}

/* --- changes --- */

static void a_new_spec_is_used_from_the_next_start(void **unused)
{
    (void)unused;
    run(spec_of("worker"));
    struct service_spec *changed = spec_of("worker");
    changed->dir = strdup("/new");
    declare(changed);
    assert_int_equal(fake_of("worker")->starts, 1);
    assert_string_equal(fake_of("worker")->dir, "");
    assert_true(supervisor_restart(world.sup, "worker", NULL));
    pass_ms(10);
    assert_string_equal(fake_of("worker")->dir, "/new");
    changed = spec_of("worker");
    changed->dir = strdup("/newer");
    declare(changed);
    changed = spec_of("worker");
    changed->dir = strdup("/newest");
    declare(changed);
    killed_by("worker", SIGKILL);
    pass_ms(1000);
    assert_string_equal(fake_of("worker")->dir, "/newest");
}

static void a_removed_service_stops_first_and_is_then_forgotten(void **unused)
{
    (void)unused;
    run(spec_of("worker"));
    fake_of("worker")->slow_ms = 300;
    assert_true(supervisor_remove(world.sup, "worker", NULL));
    assert_int_equal(state_of("worker"), SERVICE_STOPPING);
    struct err err;
    assert_false(supervisor_want(world.sup, "worker", true, &err));
    pass_ms(400);
    struct service_view view;
    assert_false(supervisor_view(world.sup, "worker", &view));
    assert_int_equal(supervisor_count(world.sup), 0);
    assert_null(fake_of("worker")->output);
    /* Declared again while it still ends: it stays. */
    run(spec_of("other"));
    fake_of("other")->slow_ms = 300;
    assert_true(supervisor_remove(world.sup, "other", NULL));
    run(spec_of("other"));
    pass_ms(400);
    assert_int_equal(state_of("other"), SERVICE_UP);
}

static void observer(void *argument, const struct service_view *view, const char *text)
{
    char *out = argument;
    size_t length = strlen(out);
    snprintf(out + length, 1000 - length, "%s|%s\n", service_state_name(view->state), text);
}

static void observers_hear_every_change_with_its_sentence(void **unused)
{
    (void)unused;
    char heard[1000] = "";
    supervisor_observe(world.sup, observer, heard);
    struct service_spec *worker = spec_of("worker");
    worker->healthy_ms = 0;
    run(worker);
    pass_ms(12);
    killed_by("worker", SIGSEGV);
    want("worker", false);
    pass_ms(10);
    assert_string_equal(heard, "up|worker: started (pid 101)\n"
                               "backoff|worker: killed by SIGSEGV after 12 ms, restarting now\n"
                               "up|worker: started (pid 102)\n"
                               "stopping|worker: stopping\n"
                               "down|worker: stopped after 0 ms\n");
    world.line_count = 0;
    supervisor_dump(world.sup);
    assert_said("1 service, running");
    assert_said("worker: down for ");
    assert_said("started 2 times, 1 crash in a row, last exited with 143, not wanted");
}

/* --- stopping everything --- */

static int64_t stopped_at;
static int stopped_count;
static void stopped(void *unused)
{
    (void)unused;
    stopped_at = world.now;
    stopped_count++;
}

static void chain_of_three(void)
{
    struct service_spec *worker = spec_of("worker"), *sql = spec_of("sql");
    needs(worker, "master", NEED_READY);
    needs(sql, "worker", NEED_READY);
    needs(sql, "master", NEED_READY);
    run(spec_of("master"));
    run(worker);
    run(sql);
    stopped_at = stopped_count = 0;
}

static void everything_stops_in_order_within_the_budget(void **unused)
{
    (void)unused;
    chain_of_three();
    run(spec_of("gateway"));
    fake_of("sql")->slow_ms = 300;
    fake_of("gateway")->slow_ms = 100;
    fake_of("worker")->slow_ms = 200;
    int64_t from = world.now, sql = 0, gateway = 0, worker = 0, master = 0;
    supervisor_stop_all(world.sup, 8000, stopped, NULL);
    assert_true(supervisor_is_stopping(world.sup));
    struct err err;
    assert_false(supervisor_want(world.sup, "master", true, &err));
    assert_string_equal(err.text, "master: everything is being stopped, nothing starts any more");
    assert_int_equal(stopped_count, 0);
    pass_ms(8000);
    signals_to("sql", SIGTERM, &sql);
    signals_to("gateway", SIGTERM, &gateway);
    signals_to("worker", SIGTERM, &worker);
    signals_to("master", SIGTERM, &master);
    assert_int_equal(sql - from, 0);
    assert_int_equal(gateway - from, 0);
    assert_in_range((worker - from) / NS_PER_MS, 300, 302);
    assert_in_range((master - from) / NS_PER_MS, 500, 504);
    assert_int_equal(stopped_count, 1);
    assert_in_range((stopped_at - from) / NS_PER_MS, 500, 510);
    assert_int_equal(signals_to("sql", SIGKILL, NULL), 0);
}

static void each_level_has_its_share_and_a_deaf_one_can_not_take_the_others_time(void **unused)
{
    (void)unused;
    chain_of_three();
    fake_of("sql")->ignores_term = true;
    fake_of("worker")->ignores_term = true;
    fake_of("master")->slow_ms = 1500;
    int64_t from = world.now, sql = 0, worker = 0;
    supervisor_stop_all(world.sup, 8000, stopped, NULL);
    pass_ms(9000);
    assert_int_equal(signals_to("sql", SIGKILL, &sql), 1);
    assert_int_equal(signals_to("worker", SIGKILL, &worker), 1);
    assert_int_equal(signals_to("master", SIGKILL, NULL), 0); /* it had the rest, more than its 2.5 s */
    assert_in_range((sql - from) / NS_PER_MS, 2490, 2510);
    assert_in_range((worker - from) / NS_PER_MS, 4990, 5020);
    assert_int_equal(stopped_count, 1);
    assert_true(stopped_at - from < 8 * NS_PER_S);
}

static void a_second_request_hurries(void **unused)
{
    (void)unused;
    chain_of_three();
    fake_of("sql")->ignores_term = true;
    fake_of("master")->ignores_term = true;
    int64_t from = world.now, sql = 0, master = 0;
    supervisor_stop_all(world.sup, 8000, stopped, NULL);
    pass_ms(200);
    supervisor_stop_all(world.sup, 8000, stopped, NULL);
    pass_ms(2000);
    assert_int_equal(signals_to("worker", SIGTERM, NULL), 1);
    signals_to("master", SIGTERM, &master);
    signals_to("sql", SIGKILL, &sql);
    assert_int_equal(master - from, 200 * NS_PER_MS); /* at once, not in order any more */
    assert_in_range((sql - from) / NS_PER_MS, 690, 710);
    assert_int_equal(stopped_count, 1); /* told once, though asked twice */
    assert_in_range((stopped_at - from) / NS_PER_MS, 690, 1000);
}

static void a_third_request_kills_now(void **unused)
{
    (void)unused;
    chain_of_three();
    fake_of("sql")->ignores_term = fake_of("worker")->ignores_term = fake_of("master")->ignores_term = true;
    int64_t from = world.now;
    for (int i = 0; i < 3; i++)
        supervisor_stop_all(world.sup, 8000, stopped, NULL);
    pass_ms(100);
    assert_int_equal(stopped_count, 1);
    assert_true(stopped_at - from < 50 * NS_PER_MS);
}

static void a_stop_during_start_is_immediate_and_nothing_starts_after_it(void **unused)
{
    (void)unused;
    struct service_spec *worker = spec_of("worker"), *crashing = spec_of("crashing");
    needs(worker, "master", NEED_READY);
    declare(worker);
    run(probed("master"));
    want("worker", true);
    run(crashing);
    exit_with("crashing", 1);
    fake_of("unlucky")->missing = false;
    world.spawn_errno = EAGAIN;
    run(spec_of("unlucky"));
    world.spawn_errno = 0;
    stopped_count = 0;
    int64_t from = world.now;
    supervisor_stop_all(world.sup, 8000, stopped, NULL);
    pass_ms(50);
    assert_int_equal(stopped_count, 1);
    assert_true(stopped_at - from < 20 * NS_PER_MS);
    pass_ms(60000);
    assert_int_equal(fake_of("worker")->starts, 0);
    assert_int_equal(fake_of("crashing")->starts, 1);
    assert_int_equal(fake_of("unlucky")->starts, 0);
    assert_int_equal(state_of("unlucky"), SERVICE_DOWN);
}

static void one_that_crashes_while_others_stop_is_not_restarted(void **unused)
{
    (void)unused;
    chain_of_three();
    pass_ms(20000);
    fake_of("sql")->slow_ms = 500;
    supervisor_stop_all(world.sup, 8000, stopped, NULL);
    killed_by("master", SIGKILL); /* it had been healthy: would be restarted at once */
    assert_int_equal(state_of("master"), SERVICE_DOWN);
    pass_ms(1000);
    assert_int_equal(fake_of("master")->starts, 1);
    assert_int_equal(stopped_count, 1);
}

static void one_that_can_not_be_killed_does_not_hold_up_the_end(void **unused)
{
    (void)unused;
    chain_of_three();
    fake_of("sql")->ignores_term = true;
    fake_of("sql")->kill_ms = 20000;
    int64_t from = world.now;
    supervisor_stop_all(world.sup, 4000, stopped, NULL);
    pass_ms(4000);
    assert_int_equal(stopped_count, 1);
    assert_true(stopped_at - from <= 4 * NS_PER_S);
    assert_int_equal(signals_to("master", SIGTERM, NULL), 1);
    assert_said("sql: did not end within the time to stop, left to the kernel");
    pass_ms(30000);
}

static void as_the_last_whoever_is_no_service_is_asked_and_killed(void **unused)
{
    (void)unused;
    assert_true(supervisor_answer_for_all(world.sup, NULL));
    chain_of_three();
    world.strangers = 3;
    fake_of("(everybody)")->slow_ms = 700;
    int64_t from = world.now;
    supervisor_stop_all(world.sup, 8000, stopped, NULL);
    pass_ms(1000);
    assert_int_equal(stopped_count, 1);
    assert_in_range((stopped_at - from) / NS_PER_MS, 700, 720);
    assert_int_equal(world.strangers, 0);

    supervisor_reopen(world.sup);
    want("master", true);
    world.strangers = 1;
    world.strangers_stay = true;
    from = world.now;
    supervisor_stop_all(world.sup, 8000, stopped, NULL);
    pass_ms(9000);
    assert_int_equal(stopped_count, 2);
    assert_int_equal(signals_to("(everybody)", SIGKILL, NULL), 1);
    assert_true(stopped_at - from <= 8 * NS_PER_S);
    world.strangers_stay = false;
}

static void with_nothing_to_stop_it_is_done_in_the_next_turn(void **unused)
{
    (void)unused;
    stopped_count = 0;
    supervisor_stop_all(world.sup, 8000, stopped, NULL);
    assert_int_equal(stopped_count, 0);
    pass_ms(1);
    assert_int_equal(stopped_count, 1);
    supervisor_reopen(world.sup);
    run(spec_of("worker"));
    assert_int_equal(state_of("worker"), SERVICE_UP);
}

static void a_thousand_services_in_a_chain(void **unused)
{
    (void)unused;
    enum { MANY = 1000 };
    char name[16], before[16];
    for (int i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "s%d", i);
        snprintf(before, sizeof before, "s%d", i - 1);
        struct service_spec *spec = spec_of(name);
        if (i > 0)
            needs(spec, before, NEED_READY);
        declare(spec);
    }
    for (int i = MANY - 1; i >= 0; i--) { /* the first one wanted last: then all follow in one go */
        snprintf(name, sizeof name, "s%d", i);
        want(name, true);
    }
    assert_int_equal(state_of("s999"), SERVICE_UP);
    stopped_count = 0;
    supervisor_stop_all(world.sup, 60000, stopped, NULL);
    pass_ms(60000);
    assert_int_equal(stopped_count, 1);
    assert_int_equal(state_of("s0"), SERVICE_DOWN);
    assert_int_equal(signals_to("s0", SIGKILL, NULL), 0);
}

static void says(const char *name, const char *text)
{
    struct output *o = fake_of(name)->output;
    strcat(o->said, text);
}

static void a_death_is_explained_by_what_that_run_said_last(void **unused)
{
    (void)unused;
    struct service_spec *master = spec_of("master");
    master->restart = RESTART_NEVER;
    declare(master);
    want("master", true);
    says("master", "java.net.BindException: Address already in use: Service 'sparkMaster' failed (starting from 7077)!\n");
    exit_with("master", 1);
    assert_said("master: exited with 1 after 0 ms: port 7077 is taken (its last words: java.net.BindException: Address already in use");
    struct service_view view;
    supervisor_view(world.sup, "master", &view);
    assert_non_null(strstr(view.reason, ": port 7077 is taken ("));

    supervisor_restart(world.sup, "master", NULL);
    says("master", "good bye\n");
    exit_with("master", 1);
    supervisor_view(world.sup, "master", &view);
    assert_null(strstr(view.reason, "port")); /* those were words of an earlier run */

    supervisor_restart(world.sup, "master", NULL);
    exit_with("master", 1);
    supervisor_view(world.sup, "master", &view);
    assert_null(strstr(view.reason, "port"));
}

static void a_death_that_is_told_after_the_restart_is_explained_too(void **unused)
{
    (void)unused;
    struct service_spec *worker = spec_of("worker");
    worker->restart = RESTART_ALWAYS;
    declare(worker);
    want("worker", true);
    pass_ms(3600 * 1000);
    says("worker", "java.lang.OutOfMemoryError: Java heap space\n");
    exit_with("worker", 3);
    assert_said("its memory was full (its last words: java.lang.OutOfMemoryError: Java heap space), restarting now");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(starts_what_needs_nothing_at_once_and_the_others_as_soon_as_they_may),
        TEST(a_one_shot_that_fails_is_tried_again_and_nobody_goes_on_without_it),
        TEST(a_restarted_service_waits_again_for_what_it_needs),
        TEST(unknown_needs_are_refused_by_name_when_wanted),
        TEST(a_cycle_is_refused_with_all_its_names),
        TEST(who_waits_for_a_removed_service_goes_on_when_it_comes_back),
        TEST(first_restart_after_a_healthy_run_is_immediate_and_costs_nothing),
        TEST(a_crash_loop_is_slowed_down_with_jitter_up_to_a_ceiling),
        TEST(a_critical_service_that_is_given_up_stops_everything_and_has_the_last_word),
        TEST(one_that_is_not_critical_may_be_beyond_help_alone),
        TEST(exit_codes_mean_what_the_policy_says),
        TEST(what_a_dead_main_process_left_is_ended_before_the_next_start),
        TEST(a_kill_by_the_kernel_for_memory_is_named),
        TEST(fork_failures_are_waited_out_and_never_counted),
        TEST(the_delay_between_forks_doubles_from_a_tenth_of_a_second_to_less_than_two),
        TEST(a_restart_that_finds_no_process_tells_of_the_death_all_the_same),
        TEST(one_success_lets_all_in_line_try_at_once),
        TEST(a_program_that_can_not_be_run_fails_at_once_and_for_good),
        TEST(not_ready_in_time_is_a_crash_that_ends_the_whole_family),
        TEST(time_in_which_all_were_frozen_does_not_count_against_readiness),
        TEST(health_probes_go_on_and_a_failing_one_is_a_crash),
        TEST(readiness_by_line_and_by_lua),
        TEST(stop_asks_the_family_and_143_is_what_was_asked_for),
        TEST(an_end_that_was_not_as_asked_is_told),
        TEST(a_deaf_one_is_asked_for_a_dump_and_killed_when_its_grace_is_over),
        TEST(it_is_not_down_while_a_member_of_its_group_lives),
        TEST(what_a_one_shot_left_behind_ends_with_its_stop),
        TEST(a_wish_while_it_stops_is_served_when_it_is_down),
        TEST(a_new_spec_is_used_from_the_next_start),
        TEST(a_removed_service_stops_first_and_is_then_forgotten),
        TEST(observers_hear_every_change_with_its_sentence),
        TEST(everything_stops_in_order_within_the_budget),
        TEST(each_level_has_its_share_and_a_deaf_one_can_not_take_the_others_time),
        TEST(a_second_request_hurries),
        TEST(a_third_request_kills_now),
        TEST(a_stop_during_start_is_immediate_and_nothing_starts_after_it),
        TEST(one_that_crashes_while_others_stop_is_not_restarted),
        TEST(one_that_can_not_be_killed_does_not_hold_up_the_end),
        TEST(as_the_last_whoever_is_no_service_is_asked_and_killed),
        TEST(with_nothing_to_stop_it_is_done_in_the_next_turn),
        TEST(a_thousand_services_in_a_chain),
        TEST(a_death_is_explained_by_what_that_run_said_last),
        TEST(a_death_that_is_told_after_the_restart_is_explained_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
