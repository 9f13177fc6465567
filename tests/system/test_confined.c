/* The real program where nothing can be written but one directory, from which nothing can be executed: as root and as another user. */
#include "node.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define PUPPET "programs .. 'puppet', "

static void one_writable_directory_is_enough(void **unused)
{
    (void)unused;
    static const char services[] =
        /* that the room is as it should be */
        "service { name = 'room', command = { '/bin/sh', '-c',\n"
        "  'touch \"$1/x\" || echo no place for x; cp \"$0\" \"$1/state/p\" && \"$1/state/p\" || echo may not run; exec \"$0\" hang',\n"
        "  programs .. 'puppet', folder } },\n"
        "service { name = 'a', command = { " PUPPET "'say', 'a is up', 'wait', 'say', 'a has ended' },\n"
        "  ready = { kind = 'line', has = 'a is up' }, log = { file = folder .. 'state/logs/a.log' } },\n"
        /* who asks the node, as the same user */
        "service { name = 'asks', oneshot = true, critical = false, after = { a = 'ready' }, command = { '/bin/sh', '-c',\n"
        "  '\"$0\" healthcheck && \"$0\" restart a && \"$0\" status && cat \"$STATE_DIR/logs/a.log\" && echo asked', '" TEST_BUILD
        "/spark-appliance' },\n"
        "  env = { STATE_DIR = folder .. 'state', PATH = '/bin:/usr/bin', ASAN_OPTIONS = 'detect_leaks=0' } }";
    for (enum node_kind kind = NODE_PID1; kind <= NODE_PID1_ROOT; kind++) {
        struct node *n = node_start(NULL, &(struct node_options){.kind = kind, .read_only = true, .services = services});
        if (!node_await_any(n, (const char *const[]){"no place for x", NULL}) && strstr(n->text, "test: mount")) {
            print_message("%s", n->text);
            node_free(n);
            skip();
        }
        node_await(n, "no place for x");
        node_await(n, "may not run");
        node_await(n, "asks | asked");
        assert_non_null(strstr(n->text, "asks | a has ended")); /* what was in its file */
        node_signal(n, SIGTERM);
        assert_int_equal(node_await_end(n), 0);
        node_await_times(n, "a | a has ended", 2);
        node_free(n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_writable_directory_is_enough)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
