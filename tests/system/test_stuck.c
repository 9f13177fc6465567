/* The real program and processes that do not move: a frozen service, a frozen node, one that no KILL ends. */
#include "node.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PUPPET "programs .. 'puppet', "

/* A port that nobody listens on, for this moment. */
static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, length), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    close(fd);
    return ntohs(address.sin_port);
}

static void a_frozen_service_shows_by_its_health_probe(void **unused)
{
    (void)unused;
    /* A stopped process keeps its port: the kernel goes on taking connections for it. Only an answer that does not come tells. */
    char services[600];
    int port = free_port();
    snprintf(services, sizeof services,
             "service { name = 'a', command = { " PUPPET "'serve', '%d' }, backoff = { min = 0.01 },\n"
             "  ready = http(%d, '/', { misses = 1, health_period = 0.1 }) }",
             port, port);
    struct node *n = node_start(NULL, &(struct node_options){.services = services});
    node_await(n, "a: ready");
    assert_int_equal(node_signal_members(n, "puppet", SIGSTOP), 1);
    node_await(n, "missed 1 health probe");
    node_await_times(n, "a: ready", 2);
    assert_int_equal(node_members(n, NULL), 1); /* the frozen one has ended */
    node_end_well(n);
}

static void freeze(struct node *n, int64_t how_long_ns)
{
    node_signal(n, SIGSTOP); /* first, so that it sees nothing of what happens to its services */
    node_signal_members(n, "puppet", SIGSTOP);
    for (int64_t until = clock_ns() + how_long_ns; clock_ns() < until;)
        usleep(10000);
    node_signal_members(n, "puppet", SIGCONT);
    node_signal(n, SIGCONT);
}

static void a_freeze_of_the_whole_node_is_nobodys_failure(void **unused)
{
    (void)unused;
    char services[800];
    char *environment[] = {"WATCHDOG=1s", NULL};
    int port = free_port();
    snprintf(services, sizeof services,
             "service { name = 'well', command = { " PUPPET "'serve', '%d' },\n"
             "  ready = http(%d, '/', { misses = 1, health_period = 0.05 }) },\n"
             "service { name = 'late', command = { " PUPPET
             "'hang' }, ready = { kind = 'line', has = 'never', deadline = 2 }, backoff = { min = 60, max = 60 } }",
             port, port);
    struct node *n = node_start(NULL, &(struct node_options){.services = services, .environment = environment});
    node_await(n, "well: ready");
    node_await(n, "late: started");
    freeze(n, 6 * NS_PER_S); /* longer than a probe may take, than the deadline, and than the watchdog's limit */
    int64_t thawed = clock_ns();
    node_await(n, "late: not ready within 2.0 s");
    int64_t taken = clock_ns() - thawed;
    if (taken < NS_PER_S) /* it was frozen soon after its start, so most of its two seconds are left */
        fail_msg("given up %lld ms after the thaw:\n%s", (long long)(taken / NS_PER_MS), n->text);
    assert_null(strstr(n->text, "health"));
    assert_int_equal(node_times(n, "well: started"), 1);
    node_end_well(n);
}

static void one_that_no_kill_ends_does_not_keep_the_node(void **unused)
{
    (void)unused;
    /* The first process of a PID namespace can't end while another one of it is not reaped, and this one's death is ours to collect: as
     * its tracer. So KILL does nothing, as with a process that waits for a dead disk. */
    char *environment[] = {"STOP_TIMEOUT=2s", NULL};
    struct node *n = node_start(
        NULL,
        &(struct node_options){
            .kind = NODE_PLAIN,
            .environment = environment,
            .services = "service { name = 'stuck', command = { '/usr/bin/unshare', '-U', '-r', '-p', '-f', '/bin/sh', '-c',\n"
                        "  '\"$0\" note \"$1/inner\" say up hang & wait', programs .. 'puppet', folder } },\n"
                        "service { name = 'other', command = { " PUPPET "'say', 'other is up', 'wait', 'note', folder .. 'ended' } }"});
    if (!node_await_any(n, (const char *const[]){"stuck | up", "unshare failed", "not permitted", NULL}) ||
        !strstr(n->text, "stuck | up")) {
        print_message("user namespaces can't be made here\n");
        node_free(n);
        skip();
    }
    node_await(n, "other is up");
    pid_t inner = node_pid_of(n, (pid_t)atoi(scratch_read(n->folder, "inner")));
    if (inner <= 0 || ptrace(PTRACE_SEIZE, inner, NULL, NULL) < 0) {
        print_message("may not trace: %s\n", strerror(errno));
        node_free(n);
        skip();
    }
    int64_t before = clock_ns();
    node_signal(n, SIGTERM);
    int code = node_await_end(n);
    int64_t taken = clock_ns() - before;
    while (waitpid(inner, NULL, __WALL) == inner) { /* now it can end */
    }
    assert_int_equal(code, 0);
    if (taken > 4 * NS_PER_S)
        fail_msg("took %lld ms of 2000:\n%s", (long long)(taken / NS_PER_MS), n->text);
    assert_non_null(strstr(n->text, "stuck: did not end within the time to stop, left to the kernel"));
    assert_true(scratch_has(n->folder, "ended"));
    node_free(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frozen_service_shows_by_its_health_probe),
        cmocka_unit_test(a_freeze_of_the_whole_node_is_nobodys_failure),
        cmocka_unit_test(one_that_no_kill_ends_does_not_keep_the_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
