/* The real program with a profile that is wrong, or has to wait: it refuses in words, changes nothing by halves, and answers TERM. */
#include "node.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PUPPET "programs .. 'puppet', "

/* The services come from a module beside the profile, so that a test can change them. */
static const char services[] = "table.unpack(require 'mine')";

static void write_module(const char *folder, const char *text)
{
    char *whole;
    if (asprintf(&whole, "local programs = '%s/tests/programs/'\nlocal hang = { programs .. 'puppet', 'hang' }\n%s", TEST_BUILD, text) < 0)
        fail();
    scratch_write(folder, "mine.lua", whole, 0644);
    free(whole);
}

static struct node *start_with(const char *module)
{
    char *folder = scratch_new();
    write_module(folder, module);
    return node_start(folder, &(struct node_options){.services = services});
}

static void a_reload_that_is_wrong_changes_nothing_at_all(void **unused)
{
    (void)unused;
    static const struct {
        const char *module, *said;
    } wrong[] = {
        {"return { service { name = 'a', command = hang }, service { name = 'b' command = hang } }", "mine.lua:3"},
        {"return { service { name = 'a', command = hang, comand = 1 }, service { name = 'new', command = hang } }", "comand"},
        {"return { service { name = 'a', command = 7 }, service { name = 'new', command = hang } }", "command"},
        {"return { service { name = 'a', command = hang, after = { nobody = 'ready' } }, service { name = 'new', command = hang } }",
         "nobody"},
        {"return { service { name = 'a', command = hang, after = { new = 'ready' } }, "
         "service { name = 'new', command = hang, after = { a = 'ready' } } }",
         "new"},
        {"return { service { name = 'new', command = hang }, service { name = 'new', command = hang } }", "new"},
        {"error 'on purpose'", "on purpose"},
        {"return nil + 1", "mine.lua:3"},
    };
    struct node *n = start_with("return { service { name = 'a', command = hang }, service { name = 'b', command = hang } }");
    node_await(n, "a: started");
    node_await(n, "b: started");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        size_t before = n->length;
        write_module(n->folder, wrong[i].module);
        node_signal(n, SIGHUP);
        node_await_times(n, "SIGHUP: nothing was changed", (int)i + 1);
        if (!strstr(n->text + before, wrong[i].said))
            fail_msg("not a word of \"%s\":\n%s", wrong[i].said, n->text + before);
    }
    assert_int_equal(node_members(n, NULL), 2);
    assert_int_equal(node_times(n, ": started"), 2);
    assert_null(strstr(n->text, "stopped"));

    /* And the next one that is right is taken: only what differs is touched. */
    write_module(n->folder, "return { service { name = 'a', command = hang }, service { name = 'new', command = hang } }");
    node_signal(n, SIGHUP);
    node_await(n, "new: started");
    node_await(n, "b: stopped");
    assert_int_equal(node_times(n, "a: started"), 1);
    node_end_well(n);
}

static void term_ends_it_while_it_waits_for_facts(void **unused)
{
    (void)unused;
    for (enum node_kind kind = 0; kind < NODE_KINDS; kind++) {
        char *folder = scratch_new();
        scratch_write(folder, "test.lua",
                      "local facts = require 'appliance.facts'\n"
                      "local never = facts.source('what never comes', function(emit, env) facts.follow({}, env):next() end)\n"
                      "return profile { doc = 'Waits.', settings = {}, facts = { it = never },\n"
                      "  plan = function() return plan { services = {} } end }\n",
                      0644);
        struct node *n = node_start(folder, &(struct node_options){.kind = kind});
        for (int64_t limit = clock_ns() + 20 * NS_PER_S;
             node_command(n, "status") != 0 || !strstr(scratch_read(n->folder, "command"), "facts");)
            if (clock_ns() > limit)
                fail_msg("it does not wait: %s", scratch_read(n->folder, "command"));
        int64_t before = clock_ns();
        node_signal(n, SIGTERM);
        assert_int_equal(node_await_end(n), 0);
        assert_true(clock_ns() - before < 2 * NS_PER_S);
        node_free(n);
    }
}

static void a_wrong_profile_at_the_start_ends_it_with_78(void **unused)
{
    (void)unused;
    struct node *n = start_with("return { service { name = 'a', command = hang, comand = 1 } }");
    assert_int_equal(node_await_end(n), 78);
    assert_non_null(strstr(n->text, "comand"));
    assert_null(strstr(n->text, "started"));
    node_free(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reload_that_is_wrong_changes_nothing_at_all),
        cmocka_unit_test(term_ends_it_while_it_waits_for_facts),
        cmocka_unit_test(a_wrong_profile_at_the_start_ends_it_with_78),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
