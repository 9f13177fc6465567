/* The server of control.h on TCP: whom it answers, how many at once, and that its port can be had again at once. */
#include "answering.h"
#include "appliance/control.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { CLIENTS = 120 };

static struct loop *loop;
static struct control *control;
static struct {
    int arrived, left;
    bool answering;
    struct control_client *taken[CLIENTS];
} seen;

static void on_arrived(void *argument)
{
    (void)argument;
    struct control_client *c;
    while ((c = control_take(control))) {
        assert_true(seen.arrived < CLIENTS);
        seen.taken[seen.arrived++] = c;
        if (seen.answering)
            control_answer(c, &(struct control_reply){.status = 200, .body = control_request(c)->path});
    }
}

static void on_left(void *argument, struct control_client *c)
{
    (void)argument, (void)c;
    seen.left++;
}

static void on_room(void *argument, struct control_client *c)
{
    (void)argument, (void)c;
}

static void open_server_at(const char *address, uint16_t port)
{
    static const struct control_handler handler = {.arrived = on_arrived, .left = on_left, .room = on_room};
    const struct control_place place = {.address = address, .port = port, .name = "test", .clients = CLIENTS, .without_bodies = true};
    struct err err = {0};
    control = control_open(loop, &place, &handler, &err);
    if (!control)
        fail_msg("%s", err.text);
}

static void open_server(uint16_t port)
{
    open_server_at(NULL, port);
}

static int setup(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof seen);
    seen.answering = true;
    loop = loop_new(NULL);
    open_server(0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    control_free(control);
    assert_int_equal(loop_watch_count(loop), 0);
    assert_int_equal(loop_timer_count(loop), 0);
    loop_free(loop);
    return 0;
}

/* Connects from `source` (network order; 0: whatever the kernel takes). */
static int client_from(in_addr_t source, const char *text)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = source};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(control_port(control)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_true(fd >= 0);
    assert_int_equal(source ? bind(fd, (struct sockaddr *)&from, sizeof from) : 0, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    if (text)
        assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    return fd;
}

static void answers_on_the_port_the_kernel_chose(void **state)
{
    (void)state;
    assert_true(control_port(control) > 0);
    int fd = client_from(0, GET("/a"));
    assert_non_null(strstr(answer_of(loop, fd, "\r\n\r\n/a"), "200 OK"));
    assert_int_equal(send(fd, GET("/b"), strlen(GET("/b")), 0), strlen(GET("/b")));
    assert_non_null(strstr(answer_of(loop, fd, "\r\n\r\n/b"), "200 OK"));
    close(fd);
    TURN_UNTIL(loop, control_client_count(control) == 0);
    assert_int_equal(seen.left, 0);
}

static void many_wait_at_once(void **state)
{
    (void)state;
    int fds[CLIENTS];
    seen.answering = false;
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = client_from(0, GET("/credentials"));
        turn_for(loop, 0);
    }
    TURN_UNTIL(loop, seen.arrived == CLIENTS);
    int more = client_from(0, GET("/one-more"));
    assert_non_null(strstr(answer_of(loop, more, NULL), "503 "));
    close(more);
    for (int i = 0; i < CLIENTS; i++)
        control_answer(seen.taken[i], &(struct control_reply){.status = 200, .body = bytes_of("keys")});
    for (int i = 0; i < CLIENTS; i++) {
        assert_non_null(strstr(answer_of(loop, fds[i], "keys"), "200 OK"));
        close(fds[i]);
    }
    TURN_UNTIL(loop, control_client_count(control) == 0);
    assert_int_equal(seen.left, 0);
}

static void idle_clients_make_room(void **state)
{
    (void)state;
    int fds[CLIENTS + 1];
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = client_from(0, NULL);
        turn_for(loop, 0);
    }
    TURN_UNTIL(loop, control_client_count(control) == CLIENTS);
    fds[CLIENTS] = client_from(0, GET("/a"));
    assert_non_null(strstr(answer_of(loop, fds[CLIENTS], "\r\n\r\n/a"), "200 OK"));
    assert_int_equal(control_client_count(control), CLIENTS);
    for (int i = 0; i <= CLIENTS; i++)
        close(fds[i]);
    TURN_UNTIL(loop, control_client_count(control) == 0);
}

static void notices_who_no_longer_waits(void **state)
{
    (void)state;
    seen.answering = false;
    int fd = client_from(0, GET("/a"));
    TURN_UNTIL(loop, seen.arrived == 1);
    close(fd);
    TURN_UNTIL(loop, seen.left == 1);
    assert_int_equal(control_client_count(control), 0);
}

static void refuses_bodies_unread(void **state)
{
    (void)state;
    int fd = client_from(0, "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nx");
    assert_non_null(strstr(answer_of(loop, fd, NULL), "413 "));
    assert_int_equal(seen.arrived, 0);
    close(fd);
    TURN_UNTIL(loop, control_client_count(control) == 0);
}

static void refuses_a_huge_head(void **state)
{
    (void)state;
    static char head[HTTP_HEAD_LIMIT + 64] = "GET / HTTP/1.1\r\nX: ";
    memset(head + 18, 'a', sizeof head - 19);
    int fd = client_from(0, head);
    assert_non_null(strstr(answer_of(loop, fd, NULL), "431 "));
    close(fd);
    TURN_UNTIL(loop, control_client_count(control) == 0);
}

/* An address of this machine that is no loopback and no link-local one; 0: there is none. */
static in_addr_t other_address(void)
{
    struct ifaddrs *all;
    in_addr_t other = 0;
    assert_int_equal(getifaddrs(&all), 0);
    for (struct ifaddrs *i = all; i; i = i->ifa_next) {
        if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET)
            continue;
        in_addr_t address = ((struct sockaddr_in *)(void *)i->ifa_addr)->sin_addr.s_addr;
        if (ntohl(address) >> 24 != 127 && ntohl(address) >> 16 != 0xa9fe)
            other = address;
    }
    freeifaddrs(all);
    return other;
}

/* The kernel lets a machine's own addresses talk to 127.0.0.1: that is how a forwarded port looks. */
static void refuses_peers_with_another_address(void **state)
{
    (void)state;
    in_addr_t other = other_address();
    if (!other)
        skip();
    int fd = client_from(other, GET("/a"));
    assert_non_null(strstr(answer_of(loop, fd, NULL), "403 "));
    assert_int_equal(seen.arrived, 0);
    close(fd);
    fd = client_from(htonl(0x7f010203), GET("/a")); /* 127.1.2.3 */
    assert_non_null(strstr(answer_of(loop, fd, "\r\n\r\n/a"), "200 OK"));
    close(fd);
    TURN_UNTIL(loop, control_client_count(control) == 0);
}

static void gets_its_port_again_at_once(void **state)
{
    (void)state;
    uint16_t port = control_port(control);
    for (int i = 0; i < 20; i++) {
        int fd = client_from(0, GET("/a"));
        assert_non_null(strstr(answer_of(loop, fd, "\r\n\r\n/a"), "200 OK"));
        control_free(control); /* with a connection: the port is left in TIME_WAIT */
        char byte;
        assert_int_equal(recv(fd, &byte, 1, 0), 0);
        close(fd);
        open_server(port);
        assert_int_equal(control_port(control), port);
    }
}

static void leaves_another_servers_port_alone(void **state)
{
    (void)state;
    static const struct control_handler handler = {.arrived = on_arrived, .left = on_left, .room = on_room};
    const struct control_place place = {.port = control_port(control)};
    struct err err = {0};
    assert_null(control_open(loop, &place, &handler, &err));
    assert_int_equal(err.kind, ERR_CONFLICT);
    assert_non_null(strstr(err.text, "127.0.0.1:"));
}

static void open_to_all_means_reading_only(void **state)
{
    (void)state;
    static const char *const others[] = {"POST /a HTTP/1.1\r\nHost: x\r\n\r\n", "DELETE /a HTTP/1.1\r\nHost: x\r\n\r\n",
                                         "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"};
    control_free(control);
    open_server_at("0.0.0.0", 0);
    in_addr_t other = other_address();
    int fd = client_from(other, GET("/livez")); /* 0, where there is no other: then it comes from 127.0.0.1 */
    assert_non_null(strstr(answer_of(loop, fd, "\r\n\r\n/livez"), "200 OK"));
    close(fd);
    fd = client_from(0, "HEAD /livez HTTP/1.0\r\n\r\n");
    assert_non_null(strstr(answer_of(loop, fd, NULL), "200 OK"));
    close(fd);
    seen.arrived = 0;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        fd = client_from(0, others[i]);
        const char *answer = answer_of(loop, fd, NULL);
        assert_non_null(strstr(answer, "405 Method Not Allowed"));
        assert_non_null(strstr(answer, "Allow: GET, HEAD\r\n"));
        close(fd);
    }
    fd = client_from(0, "GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n");
    assert_non_null(strstr(answer_of(loop, fd, NULL), "413 "));
    close(fd);
    assert_int_equal(seen.arrived, 0);
    TURN_UNTIL(loop, control_client_count(control) == 0);
}

static void half_requests_keep_nobody_out(void **state)
{
    (void)state;
    int fds[CLIENTS];
    control_free(control);
    open_server_at("127.0.0.1", 0);
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = client_from(0, "GET / HTTP/1.1\r\nHo");
        turn_for(loop, 0);
    }
    TURN_UNTIL(loop, control_client_count(control) == CLIENTS);
    int fd = client_from(0, GET("/a"));
    assert_non_null(strstr(answer_of(loop, fd, "\r\n\r\n/a"), "200 OK"));
    close(fd);
    for (int i = 0; i < CLIENTS; i++)
        close(fds[i]);
    TURN_UNTIL(loop, control_client_count(control) == 0);
}

static void listens_on_ipv6_for_both_families(void **state)
{
    (void)state;
    int probe = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 own = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    bool there = probe >= 0 && bind(probe, (struct sockaddr *)&own, sizeof own) == 0;
    close(probe);
    if (!there)
        skip();
    control_free(control);
    open_server_at("::", 0);
    int fd = client_from(0, GET("/a"));
    assert_non_null(strstr(answer_of(loop, fd, "\r\n\r\n/a"), "200 OK"));
    close(fd);
}

static void says_why_an_address_can_not_be_had(void **state)
{
    (void)state;
    static const struct control_handler handler = {.arrived = on_arrived, .left = on_left, .room = on_room};
    struct err err = {0};
    assert_null(control_open(loop, &(struct control_place){.address = "192.0.2.1"}, &handler, &err)); /* TEST-NET-1 */
    assert_non_null(strstr(err.text, "192.0.2.1:0: this machine has no such address"));
    assert_null(control_open(loop, &(struct control_place){.address = "a.name"}, &handler, &err));
    assert_non_null(strstr(err.text, "'a.name': it must be an IP address"));
}

int main(void)
{
#define EACH(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        EACH(answers_on_the_port_the_kernel_chose),
        EACH(many_wait_at_once),
        EACH(idle_clients_make_room),
        EACH(notices_who_no_longer_waits),
        EACH(refuses_bodies_unread),
        EACH(refuses_a_huge_head),
        EACH(refuses_peers_with_another_address),
        EACH(gets_its_port_again_at_once),
        EACH(leaves_another_servers_port_alone),
        EACH(open_to_all_means_reading_only),
        EACH(half_requests_keep_nobody_out),
        EACH(listens_on_ipv6_for_both_families),
        EACH(says_why_an_address_can_not_be_had),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
