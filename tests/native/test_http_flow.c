/* The HTTP client in time: bodies that pause, requests that are stopped at any moment, connections that are kept, shared and closed. */
#include "fetching.h"

#include "appliance/sys.h"

#include <fcntl.h>
#include <unistd.h>

/* --- bodies --- */

static struct {
    size_t total, pauses, calls;
    bool wrong, pausing;
    size_t stop_after;
} sink;

static ssize_t take(struct http_fetch *f, const char *data, size_t length)
{
    (void)f;
    sink.calls++;
    if (sink.pausing && sink.calls % 2) {
        sink.pauses++;
        return HTTP_PAUSE;
    }
    sink.wrong |= !is_pattern(data, length, sink.total);
    sink.total += length;
    return sink.stop_after && sink.total > sink.stop_after ? HTTP_STOP : (ssize_t)length;
}

static void gives_a_body_piece_by_piece(void **unused)
{
    (void)unused;
    memset(&sink, 0, sizeof sink);
    spec.push = take;
    spec.ceiling = 10;
    run(at("/bytes/3000000"));
    assert_int_equal(fetch.failure, HTTP_OK);
    assert_int_equal(sink.total, 3000000);
    assert_int_equal(fetch.received, 3000000);
    assert_false(sink.wrong);
    assert_int_equal(fetch.body.length, 0);
}

static void keeps_the_body_of_a_failure_out_of_the_sink(void **unused)
{
    (void)unused;
    memset(&sink, 0, sizeof sink);
    spec.push = take;
    run(at("/status/404?body=<Error/>"));
    assert_answer(404, "<Error/>");
    assert_int_equal(sink.calls, 0);
}

static void waits_for_a_paused_sink(void **unused)
{
    (void)unused;
    memset(&sink, 0, sizeof sink);
    sink.pausing = true;
    spec.push = take;
    spec.stall_ms = 50; /* our own pause is not the peer's fault */
    spec.stall_bytes = 1000;
    start(&fetch, at("/bytes/3000000"));
    TURN_UNTIL(loop, sink.pauses == 1);
    int64_t until = clock_ns() + 150 * NS_PER_MS;
    int turns = 0;
    for (; clock_ns() < until; turns++)
        loop_turn(loop, until, NULL);
    assert_true(turns < 10); /* what waits to be read must not keep the loop turning */
    assert_int_equal(sink.calls, 1);
    assert_int_equal(ended, 0);
    for (size_t pauses = 1; !ended;) {
        http_fetch_resume(&fetch);
        TURN_UNTIL(loop, ended || sink.pauses > pauses);
        pauses = sink.pauses;
    }
    assert_int_equal(fetch.failure, HTTP_OK);
    assert_int_equal(sink.total, 3000000);
    assert_false(sink.wrong);
    assert_true(sink.pauses > 3);
}

static void ends_at_the_deadline_though_paused(void **unused)
{
    (void)unused;
    memset(&sink, 0, sizeof sink);
    sink.pausing = true;
    spec.push = take;
    spec.deadline_ms = 100;
    run(at("/bytes/3000000"));
    assert_failure(HTTP_DEADLINE, "not done within 0.1 s", NULL);
}

static void ends_when_the_sink_says_so(void **unused)
{
    (void)unused;
    memset(&sink, 0, sizeof sink);
    sink.stop_after = 100000;
    spec.push = take;
    run(at("/bytes/3000000"));
    assert_failure(HTTP_STOPPED, "stopped by its owner", NULL);
    assert_int_equal(fetch.err.kind, ERR_CANCELLED);
}

static struct {
    int64_t length, at;
    int pauses, rewinds;
    bool pausing;
} source;

static ssize_t give(struct http_fetch *f, char *room, size_t size)
{
    (void)f;
    if (source.pausing && source.pauses * 100000 <= source.at) {
        source.pauses++;
        return HTTP_PAUSE;
    }
    size_t length = (int64_t)size < source.length - source.at ? size : (size_t)(source.length - source.at);
    if (source.pausing && length > 50000)
        length = 50000;
    for (size_t i = 0; i < length; i++)
        room[i] = (char)((source.at + (int64_t)i) % 251);
    source.at += (int64_t)length;
    return (ssize_t)length;
}

static bool start_anew(struct http_fetch *f)
{
    (void)f;
    source.rewinds++;
    source.at = 0;
    return true;
}

/* "<size> <hash>" of the first n bytes of the pattern, by the server's own count of what it serves. */
static const char DIGEST_300000[] = "300000 ";

static void sends_a_body_that_is_pulled(void **unused)
{
    (void)unused;
    for (int known = 0; known < 2; known++) {
        memset(&source, 0, sizeof source);
        source.length = 300000;
        spec.method = "PUT";
        spec.body = (struct http_body){.kind = HTTP_FROM_PULL, .length = known ? 300000 : -1, .pull = give};
        run(at("/digest"));
        assert_int_equal(fetch.status, 200);
        assert_int_equal(strncmp(body_text(), DIGEST_300000, strlen(DIGEST_300000)), 0);
        assert_int_equal(fetch.sent, 300000);
    }
}

static void waits_for_a_paused_source(void **unused)
{
    (void)unused;
    memset(&source, 0, sizeof source);
    source.length = 300000;
    source.pausing = true;
    spec.method = "PUT";
    spec.stall_ms = 50;
    spec.stall_bytes = 1000;
    spec.body = (struct http_body){.kind = HTTP_FROM_PULL, .length = -1, .pull = give};
    start(&fetch, at("/digest"));
    TURN_UNTIL(loop, source.pauses == 1);
    int64_t until = clock_ns() + 150 * NS_PER_MS;
    while (clock_ns() < until)
        loop_turn(loop, until, NULL);
    assert_int_equal(ended, 0);
    for (int pauses = 1; !ended;) {
        http_fetch_resume(&fetch);
        TURN_UNTIL(loop, ended || source.pauses > pauses);
        pauses = source.pauses;
    }
    assert_int_equal(fetch.failure, HTTP_OK);
    assert_int_equal(strncmp(body_text(), DIGEST_300000, strlen(DIGEST_300000)), 0);
    assert_int_equal(source.pauses, 4);
}

static void sends_a_range_of_a_file(void **unused)
{
    (void)unused;
    char *folder = scratch_new();
    scratch_write(folder, "f", "0123456789", 0600);
    int fd = open(scratch_path(folder, "f"), O_RDONLY | O_CLOEXEC);
    spec.method = "PUT";
    spec.body = (struct http_body){.kind = HTTP_FROM_FILE, .fd = fd, .offset = 3, .length = 4};
    run(at("/echo"));
    assert_int_equal(fetch.status, 200);
    assert_non_null(strstr(body_text(), "\r\n\r\n3456"));
    spec.body.length = 20;
    run(at("/echo"));
    assert_failure(HTTP_STOPPED, "became shorter while it was sent: 10 of 23 bytes", NULL);
    assert_int_equal(fetch.err.kind, ERR_CONFLICT);
    close(fd);
    scratch_free(folder);
}

static void does_not_send_less_than_it_announced(void **unused)
{
    (void)unused;
    memset(&source, 0, sizeof source);
    source.length = 100;
    spec.method = "PUT";
    spec.body = (struct http_body){.kind = HTTP_FROM_PULL, .length = 200, .pull = give};
    run(at("/echo"));
    assert_failure(HTTP_STOPPED, "ended after 100 of 200 bytes", NULL);
}

/* --- stopping --- */

static void can_be_stopped_at_every_turn(void **unused)
{
    (void)unused;
    for (int turns = 0; turns < 40; turns++) {
        memset(&sink, 0, sizeof sink);
        spec.push = take;
        start(&fetch, at("/slow/100000?piece=1000&every=0.001"));
        for (int i = 0; i < turns; i++)
            loop_turn(loop, clock_ns() + NS_PER_MS, NULL);
        http_fetch_stop(&fetch);
        assert_int_equal(http_fetch_count(), 0);
        assert_null(fetch.headers.text.data);
    }
    assert_int_equal(ended, 0);
    http_fetch_stop(&fetch);
}

static struct http_fetch other;

static ssize_t stop_both(struct http_fetch *f, const char *data, size_t length)
{
    (void)data;
    sink.total += length;
    http_fetch_stop(&other);
    http_fetch_stop(f);
    return (ssize_t)length;
}

static ssize_t stop_source(struct http_fetch *f, char *room, size_t size)
{
    (void)room;
    source.at += (int64_t)size;
    http_fetch_stop(f);
    return HTTP_PAUSE;
}

static void can_be_stopped_from_its_own_callbacks(void **unused)
{
    (void)unused;
    memset(&sink, 0, sizeof sink);
    start(&other, at("/silent"));
    spec.push = stop_both;
    start(&fetch, at("/bytes/3000000"));
    TURN_UNTIL(loop, http_fetch_count() == 0);
    assert_int_equal(ended, 0);
    assert_true(sink.total > 0 && sink.total <= HTTP_PIECE);

    memset(&source, 0, sizeof source);
    spec.push = NULL;
    spec.method = "PUT";
    spec.body = (struct http_body){.kind = HTTP_FROM_PULL, .length = -1, .pull = stop_source};
    start(&fetch, at("/echo"));
    TURN_UNTIL(loop, http_fetch_count() == 0);
    assert_int_equal(ended, 0);
    assert_true(source.at > 0);
}

static void start_again(struct http_fetch *f)
{
    http_fetch_stop(f);
    if (++ended < 5)
        assert_true(http_fetch_start(f, loop, &spec, start_again, &err));
}

static void can_start_the_next_from_the_end_of_one(void **unused)
{
    (void)unused;
    spec.url = at("/count");
    assert_true(http_fetch_start(&fetch, loop, &spec, start_again, &err));
    TURN_UNTIL(loop, ended == 5);
    assert_int_equal(http_fetch_count(), 0);
}

static void stops_while_a_name_is_looked_up(void **unused)
{
    (void)unused;
    int64_t before = clock_ns();
    for (int i = 0; i < 20; i++) {
        start(&fetch, at_port("http://localhost", "plain", "/count"));
        for (int turns = 0; turns < i % 4; turns++)
            loop_turn(loop, 0, NULL);
        http_fetch_stop(&fetch);
    }
    assert_true(clock_ns() - before < 2 * NS_PER_S);
    assert_int_equal(ended, 0);
    run(at_port("http://localhost", "plain", "/status/200?body=x"));
    assert_answer(200, "x");
}

static void forgets_what_is_under_way_when_it_is_shut_down(void **unused)
{
    (void)unused;
    start(&fetch, at("/silent"));
    start(&other, at("/slow/1000"));
    for (int i = 0; i < 10; i++)
        loop_turn(loop, clock_ns() + NS_PER_MS, NULL);
    http_shutdown();
    assert_int_equal(http_fetch_count(), 0);
    assert_int_equal(loop_watch_count(loop), 0);
    assert_int_equal(ended, 0);
    http_fetch_stop(&other);
}

/* --- connections --- */

static void keeps_a_connection_for_the_next_request(void **unused)
{
    (void)unused;
    run(at("/count"));
    assert_false(fetch.reused);
    int connection = atoi(body_text() + strlen("connection "));
    for (int request = 2; request < 5; request++) {
        char expected[60];
        snprintf(expected, sizeof expected, "connection %d request %d", connection, request);
        run(at("/count"));
        assert_answer(200, expected);
        assert_true(fetch.reused);
    }
    spec.fresh = true;
    run(at("/count"));
    assert_false(fetch.reused);
    assert_non_null(strstr(body_text(), "request 1"));
}

static void does_not_keep_what_the_server_closes(void **unused)
{
    (void)unused;
    run(at("/last"));
    run(at("/count"));
    assert_false(fetch.reused);
    assert_non_null(strstr(body_text(), "request 1"));
}

/* The server closes a kept connection just as the next request goes out: it is sent once more, body and all. */
static void tries_again_when_a_kept_connection_was_dead(void **unused)
{
    (void)unused;
    for (int i = 0; i < 10; i++) {
        run(at("/drop-next"));
        memset(&source, 0, sizeof source);
        source.length = 300000;
        spec.method = "PUT";
        spec.body = (struct http_body){.kind = HTTP_FROM_PULL, .length = 300000, .pull = give, .rewind = start_anew};
        run(at("/digest"));
        assert_int_equal(fetch.status, 200);
        assert_int_equal(strncmp(body_text(), DIGEST_300000, strlen(DIGEST_300000)), 0);
        spec.method = "GET";
        spec.body.kind = HTTP_NO_BODY;
    }
}

enum { MANY = HTTP_CONNECTIONS + 40 };

static void takes_turns_at_one_place(void **unused)
{
    (void)unused;
    static struct http_fetch many[MANY];
    run(at("/count"));
    int before = atoi(body_text() + strlen("connection "));
    ended = 0;
    for (int i = 0; i < MANY; i++)
        start(&many[i], at("/late?after=0.05"));
    http_fetch_stop(&many[MANY - 2]); /* one that waits */
    http_fetch_stop(&many[0]);        /* one that runs */
    TURN_UNTIL(loop, ended == MANY - 2);
    for (int i = 1; i < MANY; i++)
        if (i != MANY - 2) {
            assert_int_equal(many[i].failure, HTTP_OK);
            assert_int_equal(many[i].status, 200);
            http_fetch_stop(&many[i]);
        }
    run(at("/count"));
    assert_true(fetch.reused);
    spec.fresh = true;
    run(at("/count"));
    assert_true(atoi(body_text() + strlen("connection ")) - before <= HTTP_CONNECTIONS + 1);
}

static void says_when_its_turn_never_came(void **unused)
{
    (void)unused;
    static struct http_fetch many[HTTP_CONNECTIONS];
    for (int i = 0; i < HTTP_CONNECTIONS; i++)
        start(&many[i], at("/silent"));
    spec.deadline_ms = 50;
    run(at("/count"));
    assert_failure(HTTP_DEADLINE, "it still waited for one of the connections to this place", NULL);
    for (int i = 0; i < HTTP_CONNECTIONS; i++)
        http_fetch_stop(&many[i]);
}

static int64_t ahead_ns;
static int64_t (*real_clock)(void);
static int64_t clock_ahead(void)
{
    return real_clock() + ahead_ns;
}

static void leaves_nothing_open_or_ticking_after_a_while(void **unused)
{
    (void)unused;
    int before = open_descriptors();
    run(at("/bytes/1000"));
    http_fetch_stop(&fetch);
    assert_int_equal(loop_watch_count(loop), 0); /* an idle connection is not watched, */
    assert_int_equal(loop_timer_count(loop), 1); /* and only the end of its time is awaited */
    assert_true(open_descriptors() > before);
    real_clock = sys.clock_ns;
    sys.clock_ns = clock_ahead;
    ahead_ns = (HTTP_IDLE_MS + 1) * NS_PER_MS;
    loop_turn(loop, 0, NULL);
    sys.clock_ns = real_clock;
    assert_int_equal(loop_timer_count(loop), 0);
    assert_int_equal(open_descriptors(), before);
    run(at("/status/200?body=x"));
    assert_answer(200, "x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(gives_a_body_piece_by_piece),
        TEST(keeps_the_body_of_a_failure_out_of_the_sink),
        TEST(waits_for_a_paused_sink),
        TEST(ends_at_the_deadline_though_paused),
        TEST(ends_when_the_sink_says_so),
        TEST(sends_a_body_that_is_pulled),
        TEST(waits_for_a_paused_source),
        TEST(sends_a_range_of_a_file),
        TEST(does_not_send_less_than_it_announced),
        TEST(can_be_stopped_at_every_turn),
        TEST(can_be_stopped_from_its_own_callbacks),
        TEST(can_start_the_next_from_the_end_of_one),
        TEST(stops_while_a_name_is_looked_up),
        TEST(forgets_what_is_under_way_when_it_is_shut_down),
        TEST(keeps_a_connection_for_the_next_request),
        TEST(does_not_keep_what_the_server_closes),
        TEST(tries_again_when_a_kept_connection_was_dead),
        TEST(takes_turns_at_one_place),
        TEST(says_when_its_turn_never_came),
        TEST(leaves_nothing_open_or_ticking_after_a_while),
    };
    return cmocka_run_group_tests(tests, plain_server_start, plain_server_stop);
}
