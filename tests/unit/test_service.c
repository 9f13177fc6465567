/* The state table of a service, cell by cell: what it does, or why there is nothing to do. */
#include "appliance/service.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* clang-format off */
/* Why a cell is empty. */
#define SAME    "= it is so already"
#define WISH    "= the wish is remembered and served when it is down"
#define CALM    "= it ended by itself: it is there already, and a restart runs it again"
#define NO_MAIN "! nothing of it runs, so nothing can end or become ready"
#define NO_TRY  "! no start is under way"
#define NO_TIME "! its timer is not armed in this state"
#define ENDING  "= its end is under way: only the end of the whole family counts"
#define ALIVE   "! its main process lives, so it is not the end of all"

static const char *const expected[SERVICE_STATES][SERVICE_EVENTS] = {
    [SERVICE_DOWN] = {
        [EVENT_WANT_UP] = "waiting: check announce", [EVENT_WANT_DOWN] = SAME, [EVENT_NEEDS_MET] = NO_TRY,
        [EVENT_SPAWN_LATER] = NO_TRY, [EVENT_SPAWN_NEVER] = NO_TRY, [EVENT_READY] = NO_MAIN, [EVENT_UNREADY] = NO_MAIN,
        [EVENT_EXITED_CLEAN] = NO_MAIN, [EVENT_EXITED_BAD] = NO_MAIN, [EVENT_FAMILY_GONE] = NO_MAIN,
        [EVENT_RETRY] = NO_TIME, [EVENT_GIVE_UP] = NO_TRY, [EVENT_GRACE_OVER] = NO_TIME,
        [EVENT_PUT_DOWN] = NO_MAIN,
    },
    [SERVICE_WAITING] = {
        [EVENT_WANT_UP] = SAME, [EVENT_WANT_DOWN] = "down: disarm announce", [EVENT_NEEDS_MET] = "starting: spawn probe announce",
        [EVENT_SPAWN_LATER] = NO_TRY, [EVENT_SPAWN_NEVER] = NO_TRY, [EVENT_READY] = NO_MAIN, [EVENT_UNREADY] = NO_MAIN,
        [EVENT_EXITED_CLEAN] = NO_MAIN, [EVENT_EXITED_BAD] = NO_MAIN, [EVENT_FAMILY_GONE] = NO_MAIN,
        [EVENT_RETRY] = NO_TIME, [EVENT_GIVE_UP] = NO_TRY, [EVENT_GRACE_OVER] = NO_TIME,
        [EVENT_PUT_DOWN] = NO_MAIN,
    },
    [SERVICE_STARTING] = {
        [EVENT_WANT_UP] = SAME, [EVENT_WANT_DOWN] = "stopping: disarm term announce", [EVENT_NEEDS_MET] = SAME,
        [EVENT_SPAWN_LATER] = "unspawned: disarm arm-spawn announce", [EVENT_SPAWN_NEVER] = "failed: disarm announce",
        [EVENT_READY] = "up: disarm probe announce", [EVENT_UNREADY] = "clearing: disarm term count announce",
        [EVENT_EXITED_CLEAN] = "done: disarm announce", [EVENT_EXITED_BAD] = "clearing: disarm clear count announce",
        [EVENT_FAMILY_GONE] = ALIVE, [EVENT_RETRY] = NO_TIME, [EVENT_GIVE_UP] = NO_TRY, [EVENT_GRACE_OVER] = NO_TIME,
        [EVENT_PUT_DOWN] = "clearing: disarm clear announce",
    },
    [SERVICE_UP] = {
        [EVENT_WANT_UP] = SAME, [EVENT_WANT_DOWN] = "stopping: disarm term announce", [EVENT_NEEDS_MET] = SAME,
        [EVENT_SPAWN_LATER] = NO_TRY, [EVENT_SPAWN_NEVER] = NO_TRY, [EVENT_READY] = SAME,
        [EVENT_UNREADY] = "clearing: disarm term count announce",
        [EVENT_EXITED_CLEAN] = "done: disarm announce", [EVENT_EXITED_BAD] = "clearing: disarm clear count announce",
        [EVENT_FAMILY_GONE] = ALIVE, [EVENT_RETRY] = NO_TIME, [EVENT_GIVE_UP] = NO_TRY, [EVENT_GRACE_OVER] = NO_TIME,
        [EVENT_PUT_DOWN] = "clearing: disarm clear announce",
    },
    [SERVICE_UNSPAWNED] = {
        [EVENT_WANT_UP] = SAME, [EVENT_WANT_DOWN] = "down: disarm announce", [EVENT_NEEDS_MET] = SAME,
        [EVENT_SPAWN_LATER] = NO_TRY, [EVENT_SPAWN_NEVER] = NO_TRY, [EVENT_READY] = NO_MAIN, [EVENT_UNREADY] = NO_MAIN,
        [EVENT_EXITED_CLEAN] = NO_MAIN, [EVENT_EXITED_BAD] = NO_MAIN, [EVENT_FAMILY_GONE] = NO_MAIN,
        [EVENT_RETRY] = "waiting: disarm check announce", [EVENT_GIVE_UP] = NO_TRY, [EVENT_GRACE_OVER] = NO_TIME,
        [EVENT_PUT_DOWN] = NO_MAIN,
    },
    [SERVICE_CLEARING] = {
        [EVENT_WANT_UP] = SAME, [EVENT_WANT_DOWN] = "stopping: announce", [EVENT_NEEDS_MET] = NO_TRY,
        [EVENT_SPAWN_LATER] = NO_TRY, [EVENT_SPAWN_NEVER] = NO_TRY, [EVENT_READY] = ENDING, [EVENT_UNREADY] = ENDING,
        [EVENT_EXITED_CLEAN] = ENDING, [EVENT_EXITED_BAD] = ENDING, [EVENT_FAMILY_GONE] = "backoff: disarm arm-retry announce",
        [EVENT_RETRY] = NO_TIME, [EVENT_GIVE_UP] = NO_TRY, [EVENT_GRACE_OVER] = "clearing: kill",
        [EVENT_PUT_DOWN] = "clearing: kill",
    },
    [SERVICE_BACKOFF] = {
        [EVENT_WANT_UP] = SAME, [EVENT_WANT_DOWN] = "down: disarm announce", [EVENT_NEEDS_MET] = NO_TRY,
        [EVENT_SPAWN_LATER] = NO_TRY, [EVENT_SPAWN_NEVER] = NO_TRY, [EVENT_READY] = NO_MAIN, [EVENT_UNREADY] = NO_MAIN,
        [EVENT_EXITED_CLEAN] = NO_MAIN, [EVENT_EXITED_BAD] = NO_MAIN, [EVENT_FAMILY_GONE] = NO_MAIN,
        [EVENT_RETRY] = "waiting: disarm check announce", [EVENT_GIVE_UP] = "failed: disarm announce", [EVENT_GRACE_OVER] = NO_TIME,
        [EVENT_PUT_DOWN] = NO_MAIN,
    },
    [SERVICE_STOPPING] = {
        [EVENT_WANT_UP] = WISH, [EVENT_WANT_DOWN] = SAME, [EVENT_NEEDS_MET] = NO_TRY,
        [EVENT_SPAWN_LATER] = NO_TRY, [EVENT_SPAWN_NEVER] = NO_TRY, [EVENT_READY] = ENDING, [EVENT_UNREADY] = ENDING,
        [EVENT_EXITED_CLEAN] = ENDING, [EVENT_EXITED_BAD] = ENDING, [EVENT_FAMILY_GONE] = "down: disarm announce",
        [EVENT_RETRY] = NO_TIME, [EVENT_GIVE_UP] = NO_TRY, [EVENT_GRACE_OVER] = "stopping: kill",
        [EVENT_PUT_DOWN] = "stopping: kill",
    },
    [SERVICE_DONE] = {
        [EVENT_WANT_UP] = CALM, [EVENT_WANT_DOWN] = "stopping: clear announce", [EVENT_NEEDS_MET] = NO_TRY,
        [EVENT_SPAWN_LATER] = NO_TRY, [EVENT_SPAWN_NEVER] = NO_TRY, [EVENT_READY] = NO_MAIN, [EVENT_UNREADY] = NO_MAIN,
        [EVENT_EXITED_CLEAN] = NO_MAIN, [EVENT_EXITED_BAD] = NO_MAIN, [EVENT_FAMILY_GONE] = NO_MAIN,
        [EVENT_RETRY] = NO_TIME, [EVENT_GIVE_UP] = NO_TRY, [EVENT_GRACE_OVER] = NO_TIME,
        [EVENT_PUT_DOWN] = NO_MAIN,
    },
    [SERVICE_FAILED] = {
        [EVENT_WANT_UP] = "waiting: check announce", [EVENT_WANT_DOWN] = "down: announce", [EVENT_NEEDS_MET] = NO_TRY,
        [EVENT_SPAWN_LATER] = NO_TRY, [EVENT_SPAWN_NEVER] = NO_TRY, [EVENT_READY] = NO_MAIN, [EVENT_UNREADY] = NO_MAIN,
        [EVENT_EXITED_CLEAN] = NO_MAIN, [EVENT_EXITED_BAD] = NO_MAIN, [EVENT_FAMILY_GONE] = NO_MAIN,
        [EVENT_RETRY] = NO_TIME, [EVENT_GIVE_UP] = NO_TRY, [EVENT_GRACE_OVER] = NO_TIME,
        [EVENT_PUT_DOWN] = NO_MAIN,
    },
};
/* clang-format on */

static const char *step_text(struct service_step step, char out[160])
{
    static const char *const actions[] = {"disarm", "check",     "spawn",     "probe", "term",    "kill",
                                          "clear",  "arm-retry", "arm-spawn", "count", "announce"};
    int length = sprintf(out, "%s:", service_state_name(step.next));
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++)
        if (step.actions & (1u << i))
            length += sprintf(out + length, " %s", actions[i]);
    return out;
}

static void print_table(void)
{
    char text[160];
    for (int state = 0; state < SERVICE_STATES; state++)
        for (int event = 0; event < SERVICE_EVENTS; event++) {
            struct service_step step = service_step(state, event);
            if (step.known)
                print_message("%-10s + %-12s -> %s\n", service_state_name(state), service_event_name(event), step_text(step, text));
        }
}

static void every_cell_does_what_it_should_or_has_a_reason_not_to(void **unused)
{
    (void)unused;
    int wrong = 0;
    for (int state = 0; state < SERVICE_STATES; state++)
        for (int event = 0; event < SERVICE_EVENTS; event++) {
            struct service_step step = service_step(state, event);
            const char *want = expected[state][event];
            char text[160];
            assert_non_null(want);
            bool empty = *want == '=' || *want == '!';
            bool right = empty ? !step.known && (int)step.next == state && step.actions == 0
                               : step.known && strcmp(want, step_text(step, text)) == 0;
            if (right)
                continue;
            wrong++;
            print_error("%s + %s: expected \"%s\", is \"%s\"\n", service_state_name(state), service_event_name(event), want,
                        step.known ? step_text(step, text) : "nothing new");
        }
    if (wrong)
        print_table();
    assert_int_equal(wrong, 0);
}

/* States in which the main process may be alive. */
static bool may_run(enum service_state state)
{
    return state == SERVICE_STARTING || state == SERVICE_UP || state == SERVICE_CLEARING || state == SERVICE_STOPPING;
}

static void only_what_certainly_has_no_process_is_started(void **unused)
{
    (void)unused;
    for (int state = 0; state < SERVICE_STATES; state++)
        for (int event = 0; event < SERVICE_EVENTS; event++) {
            struct service_step step = service_step(state, event);
            if (step.actions & DO_SPAWN) {
                assert_int_equal(state, SERVICE_WAITING);
                assert_int_equal(step.next, SERVICE_STARTING);
            }
            if (may_run(state) && step.known && !may_run(step.next))
                assert_true(event == EVENT_FAMILY_GONE || event == EVENT_EXITED_CLEAN || event == EVENT_SPAWN_LATER ||
                            event == EVENT_SPAWN_NEVER);
        }
}

static void whoever_is_not_wanted_is_on_its_way_down_and_stays_there(void **unused)
{
    (void)unused;
    for (int state = 0; state < SERVICE_STATES; state++) {
        enum service_state next = service_step(state, EVENT_WANT_DOWN).next;
        assert_true(next == SERVICE_DOWN || next == SERVICE_STOPPING);
        for (int event = 0; event < SERVICE_EVENTS; event++) {
            if (event == EVENT_WANT_UP)
                continue;
            enum service_state later = service_step(next, event).next;
            assert_true(later == SERVICE_DOWN || later == SERVICE_STOPPING);
        }
    }
}

static void every_death_is_counted_once(void **unused)
{
    (void)unused;
    for (int state = 0; state < SERVICE_STATES; state++)
        for (int event = 0; event < SERVICE_EVENTS; event++) {
            bool counts = service_step(state, event).actions & DO_COUNT;
            bool crash = (state == SERVICE_STARTING || state == SERVICE_UP) && (event == EVENT_EXITED_BAD || event == EVENT_UNREADY);
            assert_int_equal(counts, crash);
        }
}

static void every_state_can_be_reached_and_left(void **unused)
{
    (void)unused;
    bool reached[SERVICE_STATES] = {[SERVICE_DOWN] = true};
    for (int round = 0; round < SERVICE_STATES; round++)
        for (int state = 0; state < SERVICE_STATES; state++)
            for (int event = 0; reached[state] && event < SERVICE_EVENTS; event++)
                reached[service_step(state, event).next] = true;
    for (int state = 0; state < SERVICE_STATES; state++) {
        assert_true(reached[state]);
        bool leaves = false;
        for (int event = 0; event < SERVICE_EVENTS; event++)
            leaves |= (int)service_step(state, event).next != state;
        assert_true(leaves);
    }
}

static void states_and_events_have_names_of_their_own(void **unused)
{
    (void)unused;
    for (int a = 0; a < SERVICE_STATES; a++)
        for (int b = 0; b < a; b++)
            assert_string_not_equal(service_state_name(a), service_state_name(b));
    for (int a = 0; a < SERVICE_EVENTS; a++)
        for (int b = 0; b < a; b++)
            assert_string_not_equal(service_event_name(a), service_event_name(b));
    assert_string_equal(service_state_name(SERVICE_STATES), "unknown");
    assert_string_equal(service_event_name(SERVICE_EVENTS), "unknown");
}

static void a_spec_has_sound_defaults_and_owns_its_strings(void **unused)
{
    (void)unused;
    struct service_spec *spec = service_spec_new("worker");
    assert_string_equal(spec->name, "worker");
    assert_int_equal(spec->stop_signal, SIGTERM);
    assert_int_equal(spec->restart, RESTART_ALWAYS);
    assert_true(spec->critical && spec->log_console && !spec->oneshot);
    assert_int_equal(spec->backoff_min_ms, 500);
    assert_int_equal(spec->backoff_max_ms, 30000);
    spec->argv = calloc(2, sizeof(char *));
    spec->argv[0] = strdup("/bin/true");
    spec->envp = calloc(2, sizeof(char *));
    spec->envp[0] = strdup("A=b");
    spec->after = calloc(1, sizeof *spec->after);
    spec->after[0].service = strdup("master");
    spec->after_count = 1;
    spec->dir = strdup("/");
    spec->lease = strdup("sql");
    spec->ready.host = strdup("127.0.0.1");
    spec->ready.path = strdup("/");
    spec->ready.has = strdup("x");
    spec->log_file = strdup("/dev/null");
    service_spec_free(spec); /* the sanitizer build sees what is left */
    service_spec_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cell_does_what_it_should_or_has_a_reason_not_to),
        cmocka_unit_test(only_what_certainly_has_no_process_is_started),
        cmocka_unit_test(whoever_is_not_wanted_is_on_its_way_down_and_stays_there),
        cmocka_unit_test(every_death_is_counted_once),
        cmocka_unit_test(every_state_can_be_reached_and_left),
        cmocka_unit_test(states_and_events_have_names_of_their_own),
        cmocka_unit_test(a_spec_has_sound_defaults_and_owns_its_strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
