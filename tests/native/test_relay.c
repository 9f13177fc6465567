/* The relay: whom it connects with whom, and how connections end. The ways of the bytes themselves: test_relay_bytes.c. */
#include "relaying.h"

#include "appliance/sys.h"

static void test_bytes_go_both_ways(void **state)
{
    (void)state;
    struct server s = open_to_server();
    struct pair p = connected(&s);
    talk(p);
    talk(p);
    assert_int_equal(relay_count(relay).established, 1);
    assert_int_equal(relay_count(relay).served, 1);
    pair_close(p);
    TURN_UNTIL(loop, relay_count(relay).established == 0);
    close(s.fd);
}

static void test_the_end_is_passed_on_each_direction_by_itself(void **state)
{
    (void)state;
    struct server s = open_to_server();
    for (int from_client = 0; from_client < 2; from_client++) {
        struct pair p = connected(&s);
        int first = from_client ? p.client : p.target, second = from_client ? p.target : p.client;
        say(first, "all I have to say");
        shutdown(first, SHUT_WR);
        hears(second, "all I have to say");
        hears_end(second);
        settle();
        assert_int_equal(relay_count(relay).established, 1);
        say(second, "and my answer");
        hears(first, "and my answer");
        shutdown(second, SHUT_WR);
        hears_end(first);
        TURN_UNTIL(loop, relay_count(relay).established == 0);
        pair_close(p);
    }
    close(s.fd);
}

static void test_a_reset_is_passed_on_behind_what_came_before(void **state)
{
    (void)state;
    struct server s = open_to_server();
    for (int from_client = 0; from_client < 2; from_client++) {
        struct pair p = connected(&s);
        int first = from_client ? p.client : p.target, second = from_client ? p.target : p.client;
        talk(p);
        say(first, "last words");
        reset(first);
        TURN_UNTIL(loop, relay_count(relay).established == 0);
        hears(second, "last words");
        is_reset(second);
        close(second);
    }
    close(s.fd);
}

static void test_who_closes_with_bytes_unread_resets(void **state)
{
    (void)state;
    struct server s = open_to_server();
    struct pair p = connected(&s);
    say(p.client, "never read");
    settle();
    close(p.target);
    is_reset(p.client);
    close(p.client);
    close(s.fd);
}

static void test_a_connection_waits_for_a_target(void **state)
{
    (void)state;
    struct server s = server_new();
    open_relay();
    int client = client_new();
    TURN_UNTIL(loop, relay_count(relay).held == 1);
    say(client, "early");
    settle();
    lead_to(&s, NULL);
    int target = take(&s);
    hears(target, "early");
    assert_int_equal(relay_count(relay).held, 0);
    close(client);
    close(target);
    close(s.fd);
}

static void test_its_waiting_has_an_end_which_is_told_once(void **state)
{
    (void)state;
    enum { MANY = 20 };
    int clients[MANY];
    spec.hold_ms = 50;
    open_relay();
    for (int i = 0; i < MANY; i++)
        clients[i] = client_new();
    for (int i = 0; i < MANY; i++) {
        hears_end(clients[i]);
        close(clients[i]);
    }
    assert_int_equal(relay_count(relay).expired, MANY);
    assert_int_equal(relay_count(relay).held, 0);
    assert_int_equal(lines_said("waited 0.05 s and"), 1);
    assert_non_null(strstr(said, "there is no target"));
}

static void test_no_hold_means_no_waiting(void **state)
{
    (void)state;
    struct server s = server_new();
    spec.hold_ms = 0;
    open_relay();
    int client = client_new();
    hears_end(client);
    close(client);
    lead_to(&s, NULL);
    struct pair p = connected(&s);
    talk(p);
    pair_close(p);
    close(s.fd);
}

static void test_who_leaves_while_waiting_is_forgotten(void **state)
{
    (void)state;
    struct server s = server_new();
    open_relay();
    int gone = client_new(), half = client_new();
    TURN_UNTIL(loop, relay_count(relay).held == 2);
    say(half, "all is said, now I listen");
    shutdown(half, SHUT_WR);
    close(gone);
    TURN_UNTIL(loop, relay_count(relay).held == 1);
    lead_to(&s, NULL);
    int target = take(&s), other;
    hears(target, "all is said, now I listen");
    hears_end(target);
    say(target, "heard");
    hears(half, "heard");
    settle();
    assert_false(taken(&s, &other));
    close(half);
    close(target);
    close(s.fd);
}

static void test_the_next_target_is_tried_and_remembered(void **state)
{
    (void)state;
    struct server gone = server_gone(), s = server_new();
    open_relay();
    lead_to(&gone, &s);
    struct pair p = connected(&s);
    talk(p);
    fault_set(FAULT_CONNECT, 1000, 1, EIO); /* only counts */
    struct pair q = connected(&s);
    assert_int_equal(fault_calls(FAULT_CONNECT), 1);
    pair_close(p);
    pair_close(q);
    close(s.fd);
}

static void wait_for_none(void)
{
    TURN_UNTIL(loop, relay_count(relay).established == 0);
}

static void test_a_target_that_is_of_no_use_is_left_for_the_next_one(void **state)
{
    (void)state;
    struct server a = server_new(), b = server_new();
    open_relay();
    lead_to(&a, &b);
    struct pair p = connected(&a);
    close(p.target); /* without a word: no quorum */
    hears_end(p.client);
    close(p.client);
    wait_for_none();
    p = connected(&b);
    talk(p);
    close(p.target); /* it has said something, and it was not the client who had enough */
    hears_end(p.client);
    close(p.client);
    wait_for_none();
    p = connected(&b);
    talk(p);
    close(p.client); /* who had enough of it */
    hears_end(p.target);
    close(p.target);
    wait_for_none();
    p = connected(&a);
    reset(p.client);
    wait_for_none();
    close(p.target);
    p = connected(&b);
    talk(p);
    close(p.client);
    settle(); /* and its target hangs: it says nothing, and does not end either */
    struct pair q = connected(&a);
    talk(q);
    pair_close(q);
    close(p.target);
    close(a.fd);
    close(b.fd);
}

static void test_a_target_that_does_not_answer_in_time_is_left(void **state)
{
    (void)state;
    struct server deaf = server_on("127.0.0.1", 0, 0), s = server_new();
    int fillers[4]; /* its queue is full: the kernel drops what else comes */
    for (int i = 0; i < 4; i++)
        fillers[i] = dial("127.0.0.1", server_port(&deaf));
    spec.connect_ms = 100;
    open_relay();
    lead_to(&deaf, &s);
    struct pair p = connected(&s);
    talk(p);
    pair_close(p);
    for (int i = 0; i < 4; i++)
        close(fillers[i]);
    close(deaf.fd);
    close(s.fd);
}

static void test_many_who_wait_for_a_refusing_target_make_no_storm(void **state)
{
    (void)state;
    enum { MANY = 200 };
    int clients[MANY], targets[MANY];
    struct server s = server_gone();
    open_relay();
    lead_to(&s, NULL);
    clients[0] = client_new();
    TURN_UNTIL(loop, lines_said("no target answers") == 1);
    fault_set(FAULT_CONNECT, 100000, 1, EIO); /* only counts */
    for (int i = 1; i < MANY; i++)
        clients[i] = client_new();
    TURN_UNTIL(loop, relay_count(relay).held == MANY);
    TURN_UNTIL(loop, fault_calls(FAULT_CONNECT) >= 4);
    assert_in_range(fault_calls(FAULT_CONNECT), 4, 6);
    assert_int_equal(lines_said("no target answers"), 1);
    s = server_on("127.0.0.1", server_port(&s), 4096);
    for (int i = 0; i < MANY; i++)
        targets[i] = take(&s);
    TURN_UNTIL(loop, relay_count(relay).established == MANY);
    assert_int_equal(lines_said("answers\n"), 1);
    for (int i = 0; i < MANY; i++)
        pair_close((struct pair){clients[i], targets[i]});
    close(s.fd);
}

static void test_a_refusing_target_does_not_outlast_the_waiting(void **state)
{
    (void)state;
    struct server s = server_gone();
    spec.hold_ms = 250;
    open_relay();
    lead_to(&s, NULL);
    int client = client_new();
    hears_end(client);
    close(client);
    assert_non_null(strstr(said, "no target answers\n"));
}

/* As it happens by chance, once in some ten thousand tries: the port that the kernel gives is the one we ask for. */
static int connect_to_itself(int fd, const struct sockaddr *address, socklen_t length)
{
    if (bind(fd, address, length) < 0)
        fail_msg("bind: %s", strerror(errno));
    return connect(fd, address, length);
}

static void test_a_socket_that_met_itself_is_no_target(void **state)
{
    (void)state;
    struct server gone = server_gone();
    int (*real)(int, const struct sockaddr *, socklen_t) = sys.connect;
    open_relay();
    sys.connect = connect_to_itself;
    lead_to(&gone, NULL);
    int client = client_new();
    TURN_UNTIL(loop, lines_said("no target answers") == 1);
    sys.connect = real;
    assert_int_equal(relay_count(relay).served, 0);
    assert_non_null(strstr(said, "refused"));
    close(client);
}

static void test_a_moved_target_resets_what_led_to_it(void **state)
{
    (void)state;
    struct server a = server_new(), b = server_new();
    open_relay();
    lead_to(&a, NULL);
    struct pair p = connected(&a), q = connected(&a);
    talk(p);
    lead_to(&b, &a); /* `a` is one still */
    talk(p);
    lead_to(&b, NULL);
    is_reset(p.client);
    is_reset(p.target);
    is_reset(q.client);
    is_reset(q.target);
    assert_int_equal(relay_count(relay).cut, 2);
    assert_non_null(strstr(said, "reset 2 connections to where it led before"));
    struct pair r = connected(&b);
    talk(r);
    lead_to(NULL, NULL);
    is_reset(r.client);
    pair_close(p);
    pair_close(q);
    pair_close(r);
    close(a.fd);
    close(b.fd);
}

static void test_kept_connections_outlive_their_target(void **state)
{
    (void)state;
    struct server a = server_new(), b = server_new();
    spec.keep = true;
    open_relay();
    lead_to(&a, NULL);
    struct pair p = connected(&a);
    lead_to(&b, NULL);
    struct pair q = connected(&b);
    talk(p);
    talk(q);
    lead_to(NULL, NULL);
    talk(p);
    assert_int_equal(relay_count(relay).cut, 0);
    pair_close(p);
    pair_close(q);
    close(a.fd);
    close(b.fd);
}

static void test_who_was_on_the_way_to_a_former_target_goes_to_the_new_one(void **state)
{
    (void)state;
    struct server deaf = server_on("127.0.0.1", 0, 0), s = server_new();
    int fillers[4];
    for (int i = 0; i < 4; i++)
        fillers[i] = dial("127.0.0.1", server_port(&deaf));
    open_relay();
    lead_to(&deaf, NULL);
    int client = client_new();
    TURN_UNTIL(loop, relay_count(relay).held == 1);
    settle();
    lead_to(&s, NULL);
    int target = take(&s);
    talk((struct pair){client, target});
    for (int i = 0; i < 4; i++)
        close(fillers[i]);
    pair_close((struct pair){client, target});
    close(deaf.fd);
    close(s.fd);
}

static void test_a_wrong_address_changes_nothing(void **state)
{
    (void)state;
    static const char *const wrong[] = {"10.0.0.1", "host:80", "10.0.0.1:0", "10.0.0.1:65536", "::1:80",
                                        "[::1]80",  ":80",     "",           "[]:1",           "1.2.3.4:8x"};
    struct err err;
    struct server s = open_to_server();
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const char *addresses[] = {s.address, wrong[i]};
        assert_false(relay_target(relay, addresses, 2, &err));
        assert_int_equal(err.kind, ERR_INVALID);
        assert_non_null(strstr(err.text, "must look like"));
    }
    struct pair p = connected(&s);
    talk(p);
    pair_close(p);
    close(s.fd);
}

static void test_ipv6_on_both_sides(void **state)
{
    (void)state;
    int probe = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 own = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    bool there = probe >= 0 && bind(probe, (struct sockaddr *)&own, sizeof own) == 0;
    close(probe);
    if (!there)
        skip();
    struct server s = server_on("::1", 0, 16);
    spec.bind = "::";
    open_relay();
    lead_to(&s, NULL);
    int six = dial("::1", relay_port(relay)), target = take(&s);
    talk((struct pair){six, target});
    pair_close((struct pair){six, target});
    struct pair four = connected(&s); /* 127.0.0.1 reaches "::" */
    talk(four);
    pair_close(four);
    close(s.fd);
}

static void test_a_port_that_can_not_be_had_is_told_with_its_cure(void **state)
{
    (void)state;
    struct server s = server_new();
    struct err err;
    spec.port = server_port(&s);
    assert_null(relay_open(loop, &spec, &err));
    assert_int_equal(err.kind, ERR_CONFLICT);
    assert_non_null(strstr(err.text, s.address));
    assert_non_null(strstr(err.text, "ss -ltnp"));
    close(s.fd);
    spec.port = 0;
    spec.bind = "192.0.2.1"; /* TEST-NET-1 */
    assert_null(relay_open(loop, &spec, &err));
    assert_non_null(strstr(err.text, "192.0.2.1:0: this machine has no such address"));
    spec.bind = "a.name";
    assert_null(relay_open(loop, &spec, &err));
    assert_non_null(strstr(err.text, "'a.name': it must be an IP address"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_bytes_go_both_ways),
        TEST(test_the_end_is_passed_on_each_direction_by_itself),
        TEST(test_a_reset_is_passed_on_behind_what_came_before),
        TEST(test_who_closes_with_bytes_unread_resets),
        TEST(test_a_connection_waits_for_a_target),
        TEST(test_its_waiting_has_an_end_which_is_told_once),
        TEST(test_no_hold_means_no_waiting),
        TEST(test_who_leaves_while_waiting_is_forgotten),
        TEST(test_the_next_target_is_tried_and_remembered),
        TEST(test_a_target_that_is_of_no_use_is_left_for_the_next_one),
        TEST(test_a_target_that_does_not_answer_in_time_is_left),
        TEST(test_many_who_wait_for_a_refusing_target_make_no_storm),
        TEST(test_a_refusing_target_does_not_outlast_the_waiting),
        TEST(test_a_socket_that_met_itself_is_no_target),
        TEST(test_a_moved_target_resets_what_led_to_it),
        TEST(test_kept_connections_outlive_their_target),
        TEST(test_who_was_on_the_way_to_a_former_target_goes_to_the_new_one),
        TEST(test_a_wrong_address_changes_nothing),
        TEST(test_ipv6_on_both_sides),
        TEST(test_a_port_that_can_not_be_had_is_told_with_its_cure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
