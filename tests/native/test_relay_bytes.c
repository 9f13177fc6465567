/* The relay's bytes: big ones and slow readers, and what it does when something runs out. Whom it connects: test_relay.c. */
#include "process.h"
#include "relaying.h"

enum { MIB = 1024 * 1024 };

/* --- a stream of bytes that everybody can tell by heart: one text of a prime length, over and over --- */

enum { PERIOD = 65521 };
static char text[2 * PERIOD]; /* twice, so that a piece may begin anywhere in it */

static void write_text(void)
{
    for (size_t i = 0; i < PERIOD; i++)
        text[i] = text[i + PERIOD] = (char)(i * 2654435761U >> 13);
}

struct stream {
    int from, to;
    size_t length, sent, heard;
    bool ended;
};

/* As much as the kernel takes just now. */
static void stream_send(struct stream *s, size_t most)
{
    while (s->sent < s->length && most > 0) {
        size_t length = s->length - s->sent < PERIOD ? s->length - s->sent : PERIOD;
        length = length < most ? length : most;
        ssize_t count = send(s->from, text + s->sent % PERIOD, length, MSG_NOSIGNAL);
        if (count < 0) {
            assert_int_equal(errno, EAGAIN);
            return;
        }
        s->sent += (size_t)count;
        most -= (size_t)count;
    }
    if (s->sent == s->length && !s->ended) {
        shutdown(s->from, SHUT_WR);
        s->ended = true;
    }
}

/* True: its end has come. */
static bool stream_hear(struct stream *s)
{
    static char piece[PERIOD];
    ssize_t count;
    while ((count = recv(s->to, piece, sizeof piece, 0)) > 0) {
        if (memcmp(piece, text + s->heard % PERIOD, (size_t)count) != 0)
            fail_msg("of the bytes from %zu to %zu one is wrong", s->heard, s->heard + (size_t)count);
        s->heard += (size_t)count;
    }
    if (count < 0)
        assert_int_equal(errno, EAGAIN);
    return count == 0;
}

static bool streams_move(struct stream *streams, int count)
{
    int over = 0;
    for (int i = 0; i < count; i++) {
        stream_send(&streams[i], SIZE_MAX);
        over += stream_hear(&streams[i]);
    }
    return over == count;
}

static void all_arrives(struct stream *streams, int count)
{
    TURN_UNTIL(loop, streams_move(streams, count));
    for (int i = 0; i < count; i++)
        assert_int_equal(streams[i].heard, streams[i].length);
}

static void test_big_transfers_in_both_directions_at_once(void **state)
{
    (void)state;
    struct server s = open_to_server();
    struct pair p = connected(&s);
    struct stream streams[] = {{.from = p.client, .to = p.target, .length = 32 * MIB + 1},
                               {.from = p.target, .to = p.client, .length = 24 * MIB + 7}};
    all_arrives(streams, 2);
    TURN_UNTIL(loop, relay_count(relay).established == 0);
    pair_close(p);
    close(s.fd);
}

static void test_without_pipes_bytes_are_copied(void **state)
{
    (void)state;
    struct server s = open_to_server();
    fault_set(FAULT_PIPE2, 1, 0, EMFILE);
    struct pair p = connected(&s);
    struct stream stream = {.from = p.client, .to = p.target, .length = 8 * MIB};
    all_arrives(&stream, 1);
    assert_true(fault_hits(FAULT_PIPE2) > 0);
    pair_close(p);
    close(s.fd);
}

static void test_small_pieces_keep_their_order_among_big_ones(void **state)
{
    (void)state;
    struct server s = open_to_server();
    struct pair p = connected(&s);
    struct stream stream = {.from = p.client, .to = p.target, .length = 12 * MIB};
    for (size_t piece = 1; stream.sent < stream.length; piece = piece * 7 % 300007) {
        stream_send(&stream, piece);
        loop_turn(loop, 0, NULL);
        if (piece % 5 == 0)
            stream_hear(&stream);
    }
    all_arrives(&stream, 1);
    pair_close(p);
    close(s.fd);
}

static bool nothing_moves(struct stream *stream)
{
    size_t before = stream->sent;
    for (int i = 0; i < 200; i++) {
        loop_turn(loop, 0, NULL);
        stream_send(stream, SIZE_MAX);
    }
    return stream->sent == before;
}

static void small_buffers(int fd)
{
    int size = 32 * 1024;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

static void test_a_slow_reader_slows_its_sender_and_costs_no_memory(void **state)
{
    (void)state;
    enum { MANY = 100 };
    struct pair pairs[MANY];
    static struct stream streams[MANY];
    struct server s = open_to_server();
    for (int i = 0; i < MANY; i++) {
        pairs[i] = connected(&s);
        small_buffers(pairs[i].client);
        small_buffers(pairs[i].target);
        streams[i] = (struct stream){.from = pairs[i].client, .to = pairs[i].target, .length = 256 * (size_t)MIB};
    }
    long long before = process_number(getpid(), "VmRSS", 10);
    for (int i = 0; i < MANY; i++)
        TURN_UNTIL(loop, nothing_moves(&streams[i]));
    long long grown = process_number(getpid(), "VmRSS", 10) - before;
    if (!getenv("SANITIZED") && grown > MANY * 20 + 2048)
        fail_msg("%d readers who read nothing cost %lld KiB", MANY, grown);
    for (int i = 0; i < MANY; i++)
        assert_true(streams[i].sent < streams[i].length);
    assert_int_equal(relay_count(relay).established, MANY);
    /* Others are not held up by them, and who reads at last gets everything. */
    struct pair quick = connected(&s);
    talk(quick);
    pair_close(quick);
    for (int i = 0; i < 3; i++) {
        streams[i].length = streams[i].sent + 5;
        all_arrives(&streams[i], 1);
    }
    for (int i = 0; i < MANY; i++)
        pair_close(pairs[i]);
    close(s.fd);
}

static void test_a_reset_gets_past_a_slow_reader(void **state)
{
    (void)state;
    struct server s = open_to_server();
    struct pair p = connected(&s);
    struct stream stream = {.from = p.client, .to = p.target, .length = 256 * (size_t)MIB};
    TURN_UNTIL(loop, nothing_moves(&stream));
    reset(p.client);
    TURN_UNTIL(loop, relay_count(relay).established == 0);
    close(p.target);
    close(s.fd);
}

/* --- many, and too many --- */

static void test_a_thousand_connections(void **state)
{
    (void)state;
    enum { MANY = 1000 };
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_cur < 4 * MANY + 300)
        skip();
    static struct pair pairs[MANY];
    struct server s = open_to_server();
    for (int i = 0; i < MANY; i++)
        pairs[i].client = client_new();
    for (int i = 0; i < MANY; i++)
        pairs[i].target = take(&s); /* whose it is, the first word tells */
    TURN_UNTIL(loop, relay_count(relay).established == MANY);
    for (int i = 0; i < MANY; i++) {
        char word[16];
        snprintf(word, sizeof word, "%-7d", i);
        say(pairs[i].client, word);
    }
    int target_of[MANY];
    for (int i = 0; i < MANY; i++) {
        char word[8] = "";
        size_t have = 0;
        TURN_UNTIL(loop, got(pairs[i].target, word, 7, &have));
        target_of[atoi(word)] = pairs[i].target;
    }
    for (int i = 0; i < MANY; i++) {
        say(target_of[i], "heard");
        hears(pairs[i].client, "heard");
        close(pairs[i].client);
        hears_end(target_of[i]);
        close(target_of[i]);
    }
    TURN_UNTIL(loop, relay_count(relay).established == 0);
    assert_int_equal(relay_count(relay).served, MANY);
    close(s.fd);
}

static void test_more_than_the_ceiling_are_reset_and_told_once(void **state)
{
    (void)state;
    enum { MOST = 10, MORE = 15 };
    struct pair pairs[MOST];
    int more[MORE];
    spec.most = MOST;
    struct server s = open_to_server();
    for (int i = 0; i < MOST; i++)
        pairs[i] = connected(&s);
    for (int i = 0; i < MORE; i++)
        more[i] = client_new();
    for (int i = 0; i < MORE; i++) {
        is_reset(more[i]);
        close(more[i]);
    }
    assert_int_equal(relay_count(relay).refused, MORE);
    assert_int_equal(lines_said("all 10 connections are in use"), 1);
    for (int i = 0; i < MOST; i++)
        pair_close(pairs[i]);
    TURN_UNTIL(loop, relay_count(relay).established == 0);
    struct pair p = connected(&s);
    talk(p);
    pair_close(p);
    close(s.fd);
}

static void test_without_descriptors_clients_wait_and_nobody_spins(void **state)
{
    (void)state;
    struct server s = open_to_server();
    fault_set(FAULT_ACCEPT4, 1, 3, EMFILE);
    int64_t begun = clock_ns();
    struct pair p = connected(&s);
    talk(p);
    assert_in_range(fault_calls(FAULT_ACCEPT4), 4, 6);
    assert_true(clock_ns() - begun > 3 * 150 * NS_PER_MS); /* it looked again every 200 ms */
    assert_int_equal(lines_said("new connections wait"), 1);
    fault_set(FAULT_SOCKET, 1, 2, EMFILE); /* the socket to the target */
    struct pair q = connected(&s);
    talk(q);
    pair_close(p);
    pair_close(q);
    close(s.fd);
}

static void test_each_system_call_may_fail_once(void **state)
{
    (void)state;
    static const enum fault_call calls[] = {FAULT_SOCKET, FAULT_CONNECT, FAULT_ACCEPT4, FAULT_EPOLL_CTL, FAULT_PIPE2, FAULT_FCNTL};
    struct server s = server_new();
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        for (struct fault f = fault_sweep(calls[i], ENOMEM); fault_next(&f);) {
            struct err err;
            if (!(relay = relay_open(loop, &spec, &err)))
                continue;
            lead_to(&s, NULL);
            int client = client_new(), target = -1;
            /* Connected through, or closed; never hung. */
            int how = -EAGAIN;
            TURN_UNTIL(loop, taken(&s, &target) || (how = ending(client)) != -EAGAIN);
            if (target >= 0) {
                say(client, "x");
                settle();
                close(target);
            }
            close(client);
            relay_close(relay);
            relay = NULL;
            for (int other; taken(&s, &other);)
                close(other);
        }
    close(s.fd);
}

static void test_it_can_be_closed_at_any_moment(void **state)
{
    (void)state;
    struct server a = server_new(), gone = server_gone();
    for (int turns = 0; turns < 40; turns++) {
        int clients[8], target;
        struct stream big = {.length = 64 * (size_t)MIB};
        open_relay();
        lead_to(turns % 3 ? &a : &gone, turns % 2 ? &gone : NULL);
        for (int i = 0; i < 8; i++)
            clients[i] = client_new();
        big.from = clients[0];
        for (int i = 0; i < turns; i++) {
            loop_turn(loop, 0, NULL);
            if (i > 5)
                stream_send(&big, 300000);
            if (i == 12)
                lead_to(&gone, &a);
            if (i == 25)
                shutdown(clients[1], SHUT_WR);
        }
        relay_close(relay);
        relay = NULL;
        for (int i = 0; i < 8; i++)
            close(clients[i]);
        while (taken(&a, &target))
            close(target);
    }
    close(a.fd);
}

static int inheritable(void)
{
    int count = 0;
    for (int fd = 0; fd < 4096; fd++) {
        int flags = fcntl(fd, F_GETFD);
        count += flags >= 0 && !(flags & FD_CLOEXEC);
    }
    return count;
}

static void test_a_target_moves_under_traffic(void **state)
{
    (void)state;
    enum { MANY = 20 };
    struct server a = server_new(), b = server_new();
    struct pair pairs[MANY];
    struct stream streams[MANY];
    open_relay();
    for (int round = 0; round < 10; round++) {
        struct server *from = round % 2 ? &b : &a, *to = round % 2 ? &a : &b;
        lead_to(from, NULL);
        for (int i = 0; i < MANY; i++) {
            pairs[i] = connected(from);
            streams[i] = (struct stream){.from = i % 2 ? pairs[i].client : pairs[i].target,
                                         .to = i % 2 ? pairs[i].target : pairs[i].client,
                                         .length = 256 * (size_t)MIB};
        }
        for (int turns = 0; turns < 3 + 5 * round; turns++) {
            for (int i = 0; i < MANY; i++) {
                stream_send(&streams[i], SIZE_MAX);
                stream_hear(&streams[i]);
            }
            loop_turn(loop, 0, NULL);
        }
        lead_to(to, NULL);
        assert_int_equal(relay_count(relay).established, 0);
        struct pair after = connected(to);
        talk(after);
        pair_close(after);
        TURN_UNTIL(loop, relay_count(relay).established == 0);
        for (int i = 0; i < MANY; i++)
            pair_close(pairs[i]);
    }
    assert_int_equal(relay_count(relay).cut, 10 * MANY);
    close(a.fd);
    close(b.fd);
}

static void test_no_child_inherits_a_descriptor(void **state)
{
    (void)state;
    int before = inheritable();
    struct server s = open_to_server();
    struct pair p = connected(&s);
    struct stream stream = {.from = p.client, .to = p.target, .length = 4 * MIB};
    stream_send(&stream, SIZE_MAX); /* so that pipes are there, too */
    settle();
    assert_int_equal(inheritable(), before);
    pair_close(p);
    close(s.fd);
}

int main(void)
{
    write_text();
    const struct CMUnitTest tests[] = {
        TEST(test_big_transfers_in_both_directions_at_once),
        TEST(test_without_pipes_bytes_are_copied),
        TEST(test_small_pieces_keep_their_order_among_big_ones),
        TEST(test_a_slow_reader_slows_its_sender_and_costs_no_memory),
        TEST(test_a_reset_gets_past_a_slow_reader),
        TEST(test_a_thousand_connections),
        TEST(test_more_than_the_ceiling_are_reset_and_told_once),
        TEST(test_without_descriptors_clients_wait_and_nobody_spins),
        TEST(test_each_system_call_may_fail_once),
        TEST(test_it_can_be_closed_at_any_moment),
        TEST(test_a_target_moves_under_traffic),
        TEST(test_no_child_inherits_a_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
