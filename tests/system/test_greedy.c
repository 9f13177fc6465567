/* A profile whose Lua computes for ever: the program goes on as it was, or ends with 70; no service ever runs unsupervised. */
#include "node.h"

#include <signal.h>
#include <stdio.h>

/* The profile's services come from a module beside it, so that a test can change what they compute. */
static const char services[] = "table.unpack(require 'mine')";
static const char good[] = "return { service { name = 'a', command = { '/bin/sleep', '1000' } } }";
/* What "(a?)^n a^n" does to a matcher that backtracks: 2^n steps in one call of C, where no hook of Lua's can look. */
static const char backtracking[] = "return { (('a'):rep(40)):match(('a?'):rep(40) .. ('a'):rep(40) .. 'b') }";

static struct node *start_with(enum node_kind kind, const char *module, char *const *environment)
{
    char *folder = scratch_new();
    scratch_write(folder, "mine.lua", module, 0644);
    return node_start(folder, &(struct node_options){.kind = kind, .services = services, .environment = environment});
}

static void a_loop_without_end_at_the_start_is_a_fault_with_its_line(void **unused)
{
    (void)unused;
    static const char *const loops[] = {"while true do end", "while true do pcall(function() while true do end end) end"};
    for (size_t i = 0; i < sizeof loops / sizeof *loops; i++) {
        struct node *n = start_with(NODE_PID1, loops[i], NULL);
        node_await(n, "mine.lua:1: computes without end");
        assert_int_equal(node_await_end(n), 78);
        node_free(n);
    }
}

static void a_loop_without_end_after_a_hangup_changes_nothing(void **unused)
{
    (void)unused;
    static const char *const loops[] = {"while true do end", "while true do pcall(function() while true do end end) end"};
    for (size_t i = 0; i < sizeof loops / sizeof *loops; i++) {
        struct node *n = start_with(NODE_PID1, good, NULL);
        node_await(n, "a: started");
        scratch_write(n->folder, "mine.lua", loops[i], 0644);
        node_signal(n, SIGHUP);
        node_await(n, "SIGHUP: nothing was changed");
        assert_int_equal(node_members(n, NULL), 1);
        assert_int_equal(node_times(n, "a: started"), 1);
        node_end_well(n);
    }
}

static void whatever_a_profile_makes_of_memory_plans_and_errors_changes_nothing(void **unused)
{
    (void)unused;
    static const char endless_error[] = "local b = setmetatable({}, { __tostring = function() while true do end end })\n"
                                        "return { setmetatable({}, { __index = function() error(b) end }) }";
    static const char *const bad[] = {
        "local t = {} while true do t = { t } end",
        "local t = {} while true do t[#t + 1] = ('x'):rep(1e6) .. #t end",
        "local t = {} for i = 1, 2e5 do t[i] = service { name = 's' .. i, command = { '/bin/true' } } end return t",
        "local t = {} t[1] = t return t",
        "local t = {} for i = 1, 1e5 do t = { t } end return t",
        "error(setmetatable({}, { __tostring = function(problem) error(problem) end }))",
        "error(setmetatable({}, { __tostring = function() while true do end end }))",
        endless_error,
    };
    struct node *n = start_with(NODE_PID1, good, NULL);
    node_await(n, "a: started");
    for (int i = 0; i < (int)(sizeof bad / sizeof *bad); i++) {
        scratch_write(n->folder, "mine.lua", bad[i], 0644);
        node_signal(n, SIGHUP);
        node_await_times(n, "SIGHUP: nothing was changed", i + 1);
        assert_int_equal(node_members(n, NULL), 1);
    }
    assert_int_equal(node_times(n, "a: started"), 1);
    scratch_write(n->folder, "mine.lua", good, 0644);
    node_signal(n, SIGHUP);
    node_await(n, "are in force");
    node_end_well(n);
}

static void a_backtracking_pattern_ends_with_70_and_takes_every_service_along(void **unused)
{
    (void)unused;
    char *environment[] = {"WATCHDOG=1s", NULL};
    for (enum node_kind kind = 0; kind < NODE_KINDS; kind++) {
        struct node *n = start_with(kind, good, environment);
        node_await(n, "a: started");
        scratch_write(n->folder, "mine.lua", backtracking, 0644);
        node_signal(n, SIGHUP);
        node_await(n, "the event loop has not turned for 1 s");
        assert_int_equal(node_await_end(n), 70);
        node_free(n); /* fails if anybody was left */
    }
}

static void a_backtracking_pattern_at_the_start_ends_with_70(void **unused)
{
    (void)unused;
    char *environment[] = {"WATCHDOG=1s", NULL};
    struct node *n = start_with(NODE_PID1, backtracking, environment);
    node_await(n, "the event loop has not turned for 1 s");
    assert_int_equal(node_await_end(n), 70);
    node_free(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loop_without_end_at_the_start_is_a_fault_with_its_line),
        cmocka_unit_test(a_loop_without_end_after_a_hangup_changes_nothing),
        cmocka_unit_test(whatever_a_profile_makes_of_memory_plans_and_errors_changes_nothing),
        cmocka_unit_test(a_backtracking_pattern_ends_with_70_and_takes_every_service_along),
        cmocka_unit_test(a_backtracking_pattern_at_the_start_ends_with_70),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
