/* The real program and clients of its control socket that mean no good: silent, endless, senseless, deaf, or somebody else. */
#include "node.h"
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define PUPPET "programs .. 'puppet', "

enum { CLIENTS = 300 };

static int connect_to(const struct node *n)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/state/control.sock", n->folder);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

#define GIVE(fd, literal) give(fd, literal, sizeof literal - 1)

static void give(int fd, const char *text, size_t length)
{
    if (send(fd, text, length, MSG_NOSIGNAL) < 0 && errno != EAGAIN && errno != EPIPE && errno != ECONNRESET)
        fail_msg("send: %s", strerror(errno));
}

/* What a client of each kind does with its connection. */
static void misbehave(int fd, int kind)
{
    static char much[1 << 16];
    memset(much, 'x', sizeof much);
    switch (kind) {
    case 0: break;                                                      /* says nothing */
    case 1: GIVE(fd, "GET /status HTTP/1.1\r\nHos"); break;             /* and never goes on */
    case 2: give(fd, much, sizeof much); break;                         /* a line without end */
    case 3: GIVE(fd, "\0\xff\r\n\r\nDELETE * HTTP/9.9\r\n\r\n"); break; /* no sense */
    case 4: GIVE(fd, "POST /plan/diff HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n"); break;
    case 5: GIVE(fd, "POST /plan/diff HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"); break;
    case 6: GIVE(fd, "GET /logs/noisy?follow=1&bytes=65536 HTTP/1.1\r\nHost: x\r\n\r\n"); break; /* and never reads */
    case 7: /* asks a thousand times, and never reads */
        for (int i = 0; i < 1000; i++)
            GIVE(fd, "GET /status HTTP/1.1\r\nHost: x\r\n\r\n");
        break;
    }
}

static void hostile_clients_change_nothing_for_services_and_others(void **unused)
{
    (void)unused;
    struct node *n = node_start(
        NULL, &(struct node_options){
                  .services = "service { name = 'noisy', command = { '/bin/sh', '-c', 'while :; do seq 2000; sleep 0.05; done' } },\n"
                              "service { name = 'a', command = { " PUPPET "'say', 'a is up', 'wait' }, backoff = { min = 0.01 } }"});
    node_await(n, "a is up");
    while (node_command(n, "status") != 0) {
        if (n->ended)
            fail_msg("%s", n->text);
    }
    int fds[CLIENTS], came = 0;
    long long kib = process_number(n->pid, "VmRSS", 10);
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = connect_to(n);
        if (fds[i] < 0)
            continue; /* the queue is full: it will be taken when its turn comes, or not at all */
        came++;
        misbehave(fds[i], i % 8);
    }
    assert_true(came > 64); /* more than it has room for */
    assert_true(node_signal_members(n, "puppet", SIGKILL) == 1);
    node_await_times(n, "a is up", 2);
    assert_int_equal(node_command(n, "healthcheck"), 0);
    assert_int_equal(node_command(n, "status --json"), 0);
    assert_int_equal(node_command(n, "restart a"), 0);
    node_await_times(n, "a is up", 3);
    kib = process_number(n->pid, "VmRSS", 10) - kib;
    print_message("%d clients of no good will cost %lld KiB\n", came, kib);
#ifndef __SANITIZE_ADDRESS__ /* which keeps what was freed */
    assert_true(kib < 48 << 10);
#endif
    int64_t before = clock_ns();
    node_signal(n, SIGTERM);
    assert_int_equal(node_await_end(n), 0);
    assert_true(clock_ns() - before < 4 * NS_PER_S);
    for (int i = 0; i < CLIENTS; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    node_free(n);
}

static void another_user_gets_nothing(void **unused)
{
    (void)unused;
    if (geteuid() != 0) {
        print_message("needs root, to become another user\n");
        skip();
    }
    struct node *n =
        node_start(NULL, &(struct node_options){.kind = NODE_PLAIN,
                                                .services = "service { name = 'a', command = { " PUPPET "'say', 'a is up', 'wait' } }"});
    node_await(n, "a is up");
    while (node_command(n, "status") != 0) {
        if (n->ended)
            fail_msg("%s", n->text);
    }
    /* Even if somebody opens the way to the socket: who is no root and not our user is sent away unheard. */
    assert_int_equal(chmod(n->folder, 0777), 0);
    assert_int_equal(chmod(scratch_path(n->folder, "state"), 0777), 0);
    node_nobody();
    for (int open_to_all = 0; open_to_all < 2; open_to_all++) {
        if (open_to_all)
            assert_int_equal(chmod(scratch_path(n->folder, "state/control.sock"), 0777), 0);
        pid_t other = fork();
        if (other == 0) {
            static const char question[] = "GET /status HTTP/1.1\r\nHost: x\r\n\r\n";
            char answer[4096];
            node_become_nobody();
            int fd = connect_to(n);
            if (fd < 0)
                _exit(errno == EACCES ? 1 : 2);
            fcntl(fd, F_SETFL, 0);
            if (send(fd, question, sizeof question - 1, MSG_NOSIGNAL) < 0)
                _exit(3);
            _exit(read(fd, answer, sizeof answer) <= 0 ? 3 : memcmp(answer, "HTTP/1.1 200", 12) == 0 ? 4 : 3);
        }
        int status;
        assert_int_equal(waitpid(other, &status, 0), other);
        assert_int_equal(WEXITSTATUS(status), open_to_all ? 3 : 1);
    }
    assert_int_equal(node_command(n, "status"), 0);
    node_end_well(n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_clients_change_nothing_for_services_and_others),
        cmocka_unit_test(another_user_gets_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
