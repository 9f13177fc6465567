/* The real program and what its services print: who reads slowly, who keeps a pipe, who closes it. */
#include "node.h"
#include "process.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PUPPET "programs .. 'puppet', "

static void a_reader_that_stands_still_holds_up_only_who_asked_for_it(void **unused)
{
    (void)unused;
    /* Nobody reads our output. Both print 8 MiB, more than all pipes and buffers hold: one may lose lines, one may not. */
    for (enum node_kind kind = 0; kind < NODE_KINDS; kind++) {
        static const char flood[] =
            "command = { '/bin/sh', '-c', 'head -c 8388608 /dev/zero | tr \"\\\\0\" \"\\\\n\"; exec \"$0\" note \"$1\" hang', "
            "programs .. 'puppet', folder .. '%s' }";
        char drops[400], blocks[400], services[1200];
        snprintf(drops, sizeof drops, flood, "dropped");
        snprintf(blocks, sizeof blocks, flood, "blocked");
        snprintf(services, sizeof services,
                 "service { name = 'blocks', %s, log = { full = 'block' } },\n"
                 "service { name = 'drops', %s, log = { full = 'drop' }, after = { blocks = 'started' } },\n"
                 "service { name = 'other', command = { " PUPPET "'note', folder .. 'up', 'hang' }, backoff = { min = 0.01 } }",
                 blocks, drops);
        struct node *n = node_start(NULL, &(struct node_options){.kind = kind, .output = NODE_ALL_FULL, .services = services});
        node_await_file(n, "dropped");
        node_await_file(n, "up");
        /* The loop turns: it answers, and starts again what dies. */
        assert_int_equal(node_command(n, "status --json"), 0);
        const char *up = scratch_read(n->folder, "up");
        assert_true(node_signal_inner(n, (pid_t)atoi(up), SIGKILL));
        for (int64_t limit = clock_ns() + 20 * NS_PER_S; !strchr(strchr(scratch_read(n->folder, "up"), '\n') + 1, '\n');)
            assert_true(clock_ns() < limit);
        assert_false(scratch_has(n->folder, "blocked"));
        node_end_well(n);
    }
}

static void a_stranger_that_keeps_the_pipe_holds_nobody_up(void **unused)
{
    (void)unused;
    /* A daemon in a session of its own with a wiped environment is nobody's once its parent has ended, and still has the pipe. */
    struct node *n = node_start(
        NULL, &(struct node_options){
                  .services = "service { name = 'a', backoff = { min = 0.01, max = 0.01 }, command = { '/bin/sh', '-c',\n"
                              "  '[ -e \"$1/daemon\" ] || (setsid env -i \"$0\" note \"$1/daemon\" say \"daemon here\" hang &)\\n"
                              "  exec \"$0\" note \"$1/pid\" say \"a is up\" wait', programs .. 'puppet', folder } }"});
    node_await(n, "a | daemon here");
    node_await(n, "a | a is up");
    assert_true(node_signal_inner(n, (pid_t)atoi(scratch_read(n->folder, "pid")), SIGKILL));
    node_await_times(n, "a | a is up", 2);
    node_await_members(n, 2);
    int64_t before = clock_ns();
    node_signal(n, SIGTERM);
    assert_int_equal(node_await_end(n), 0);
    assert_true(clock_ns() - before < 3 * NS_PER_S);
    node_free(n);
}

static void a_closed_output_wakes_nobody(void **unused)
{
    (void)unused;
    struct node *n =
        node_start(NULL, &(struct node_options){.services = "service { name = 'a', command = { " PUPPET
                                                            "'say', 'last words', 'close', 'note', folder .. 'closed', 'wait' } }"});
    node_await(n, "last words");
    node_await_file(n, "closed");
    long long before = process_number(n->pid, "voluntary_ctxt_switches", 10), after;
    for (int64_t limit = clock_ns() + 20 * NS_PER_S;; before = after) { /* what the start still had to do is over some time */
        usleep(1000000);
        after = process_number(n->pid, "voluntary_ctxt_switches", 10);
        if (after - before <= 1)
            break;
        if (clock_ns() > limit)
            fail_msg("%lld wake-ups in a second", after - before);
    }
    assert_int_equal(node_members(n, NULL), 1);
    node_end_well(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reader_that_stands_still_holds_up_only_who_asked_for_it),
        cmocka_unit_test(a_stranger_that_keeps_the_pipe_holds_nobody_up),
        cmocka_unit_test(a_closed_output_wakes_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
