/* Probes against a server in the same loop that answers, or fails to, in every way that matters. */
#include "appliance/probe.h"
#include "appliance/sys.h"
#include "turning.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { CONNECTIONS = 64 };

static struct loop *loop;

/* --- the server --- */

struct connection {
    struct watch watch;
    struct timer more;
    size_t sent;
    bool asked;
};

static struct server {
    struct watch listening;
    int port, requests, accepted;
    const char *answer; /* NULL: none, the connection stays open */
    size_t piece;       /* bytes at a time; 0: all at once */
    bool keeps_open;    /* after the answer */
    bool closes_at_once;
    char request[2000];
    struct connection connections[CONNECTIONS];
} server;

static void hang_up(struct connection *c)
{
    int fd = c->watch.fd;
    timer_stop(&c->more);
    watch_stop(&c->watch);
    close(fd);
}

static void send_more(struct timer *t)
{
    struct connection *c = (struct connection *)((char *)t - offsetof(struct connection, more));
    size_t left = strlen(server.answer) - c->sent, piece = server.piece && server.piece < left ? server.piece : left;
    ssize_t sent = send(c->watch.fd, server.answer + c->sent, piece, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        hang_up(c);
        return;
    }
    c->sent += sent > 0 ? (size_t)sent : 0;
    if (server.answer[c->sent])
        timer_start_ns(&c->more, loop, server.piece ? 20000 : 1000000, send_more);
    else if (!server.keeps_open)
        hang_up(c);
}

static void on_request(struct watch *w, uint32_t events)
{
    (void)events;
    struct connection *c = (struct connection *)w;
    ssize_t size = read(w->fd, server.request, sizeof server.request - 1);
    if (size <= 0) {
        hang_up(c);
        return;
    }
    server.request[size] = 0;
    if (c->asked)
        return;
    c->asked = true;
    server.requests++;
    if (server.answer)
        timer_start_ns(&c->more, loop, 0, send_more);
}

static void on_connection(struct watch *w, uint32_t events)
{
    (void)events;
    int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    server.accepted++;
    if (server.closes_at_once) {
        close(fd);
        return;
    }
    for (int i = 0; i < CONNECTIONS; i++) {
        struct connection *c = &server.connections[i];
        if (watch_is_started(&c->watch))
            continue;
        memset(c, 0, sizeof *c);
        watch_start(&c->watch, loop, fd, EPOLLIN, on_request, NULL);
        return;
    }
    fail_msg("too many connections");
}

static void serve(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)server.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 16), 0);
    getsockname(fd, (struct sockaddr *)&address, &size);
    server.port = ntohs(address.sin_port);
    assert_true(watch_start(&server.listening, loop, fd, EPOLLIN, on_connection, NULL));
}

static void unserve(void)
{
    int fd = server.listening.fd;
    if (!watch_is_started(&server.listening))
        return;
    watch_stop(&server.listening);
    close(fd);
}

/* --- the probe --- */

static struct probe probe;
static struct ready_spec spec;
static struct needle *needle;
static int readies, failures;
static char why[200];

static void on_ready(struct probe *p)
{
    (void)p;
    readies++;
}
static void on_failing(struct probe *p, const char *reason)
{
    (void)p;
    failures++;
    snprintf(why, sizeof why, "%s", reason);
}

static int begin(void **unused)
{
    (void)unused;
    memset(&server, 0, sizeof server);
    memset(&probe, 0, sizeof probe);
    readies = failures = 0;
    loop = loop_new(NULL);
    spec = (struct ready_spec){.kind = READY_HTTP, .host = NULL, .path = (char *)"/json/", .period_ms = 20, .health_period_ms = 10};
    return loop ? 0 : -1;
}

static int end(void **unused)
{
    (void)unused;
    int open_before_stop = probe_is_started(&probe);
    probe_stop(&probe);
    probe_stop(&probe); /* harmless twice */
    (void)open_before_stop;
    unserve();
    for (int i = 0; i < CONNECTIONS; i++)
        if (watch_is_started(&server.connections[i].watch))
            hang_up(&server.connections[i]);
    assert_int_equal(loop_watch_count(loop), 0);
    assert_int_equal(loop_timer_count(loop), 0);
    loop_free(loop);
    needle_free(needle);
    needle = NULL;
    return 0;
}

static void start(enum probe_goal goal)
{
    spec.port = server.port;
    if (spec.has && spec.kind == READY_HTTP && !needle)
        needle = needle_new(spec.has);
    probe_start(&probe, loop, &spec, needle, goal, on_ready, on_failing);
}

static void a_port_is_ready_when_somebody_listens(void **unused)
{
    (void)unused;
    serve();
    unserve(); /* the port is known now, and nobody listens */
    spec.kind = READY_TCP;
    start(PROBE_READY);
    TURN_UNTIL(loop, strstr(probe.why, "refused"));
    assert_int_equal(readies, 0);
    assert_true(strncmp(probe.why, "127.0.0.1:", 10) == 0);
    serve();
    TURN_UNTIL(loop, readies == 1);
    assert_false(probe_is_started(&probe));
}

static void an_answer_that_holds_the_text_is_ready_however_it_comes(void **unused)
{
    (void)unused;
    spec.has = (char *)"\"status\":\"ALIVE\"";
    const char *const answers[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 21\r\n\r\n{\"status\" : \"ALIVE\" }",
        "HTTP/1.0 200 OK\n\n{\n  \"workers\": [],\n  \"status\":\t\"ALIVE\"\n}",
        "HTTP/1.1 204 x\r\nx-a: \"status\":\"DEAD\"\r\nCONTENT-LENGTH:   999\r\n\r\n\"status\": \"\"status\": \"ALIV\"status\":\"ALIVE\"",
    };
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++)
        for (size_t piece = 0; piece < 8; piece += 1 + piece * 2) {
            serve();
            server.answer = answers[i];
            server.piece = piece;
            server.keeps_open = i != 1;
            readies = 0;
            start(PROBE_READY);
            TURN_UNTIL(loop, readies == 1);
            assert_string_equal(server.request + strcspn(server.request, "\r"), strstr(server.request, "\r\nHost: 127.0.0.1:"));
            assert_true(strncmp(server.request, "GET /json/ HTTP/1.0\r\n", 21) == 0);
            unserve();
        }
    spec.has = NULL;
}

static void any_2xx_will_do_when_no_text_is_asked_for(void **unused)
{
    (void)unused;
    serve();
    server.answer = "HTTP/1.1 201 Created\r\nServer: x\r\n\r\n";
    server.keeps_open = true;
    start(PROBE_READY);
    TURN_UNTIL(loop, readies == 1);
}

static void misses_with(const char *answer, const char *reason)
{
    server.answer = answer;
    server.requests = 0;
    probe.why[0] = 0;
    TURN_UNTIL(loop, strstr(probe.why, reason));
    assert_int_equal(readies, 0);
}

static void other_answers_are_misses_that_say_why(void **unused)
{
    (void)unused;
    serve();
    spec.has = (char *)"ALIVE";
    start(PROBE_READY);
    misses_with("HTTP/1.1 503 Service Unavailable\r\n\r\nALIVE", "HTTP status 503");
    misses_with("HTTP/1.1 302 Found\r\n\r\nALIVE", "HTTP status 302");
    misses_with("SSH-2.0-OpenSSH ALIVE\r\n", "no HTTP answer");
    misses_with("HTTP/1.1 200 OK\r\nX: ALIVE\r\n\r\nSTANDBY", "does not hold ALIVE yet");
    misses_with("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nSTANDBYALIVE", "does not hold ALIVE yet");
    misses_with("HTTP/1.1 200 OK\r\nContent-Le", "closed without an answer");
    server.closes_at_once = true;
    misses_with("", "");
    server.closes_at_once = false;
    misses_with("HTTP/1.1 200 OK\r\nVery-Long-Header-Whose-Name-And-Value-Exceed-The-Kept-Part-Of-A-Line: content-length: 3\r\n\r\nno",
                "yet");
    server.answer = "HTTP/1.1 200 OK\r\n\r\nALIVE";
    TURN_UNTIL(loop, readies == 1);
    spec.has = NULL;
}

static void an_endless_answer_is_read_up_to_the_ceiling(void **unused)
{
    (void)unused;
    serve();
    spec.has = (char *)"needle";
    size_t size = 3 << 20;
    char *huge = malloc(size + 1);
    memset(huge, 'n', size);
    memcpy(huge, "HTTP/1.1 200 OK\r\n\r\n", 19);
    huge[size] = 0;
    server.answer = huge;
    start(PROBE_READY);
    TURN_UNTIL(loop, strstr(probe.why, "the first MiB of the answer does not hold needle"));
    probe_stop(&probe);
    for (int i = 0; i < CONNECTIONS; i++)
        if (watch_is_started(&server.connections[i].watch))
            hang_up(&server.connections[i]);
    free(huge);
    spec.has = NULL;
}

/* The clock of the program, moved on. */
static int64_t skipped;
static int64_t (*real_clock)(void);
static int64_t skipping_clock(void)
{
    return real_clock() + skipped;
}

static void silence_is_a_miss_unless_everything_stood_still(void **unused)
{
    (void)unused;
    real_clock = sys.clock_ns;
    sys.clock_ns = skipping_clock;
    serve();
    start(PROBE_READY);
    TURN_UNTIL(loop, server.requests == 1);
    skipped += (PROBE_TRY_MS + 200) * NS_PER_MS;
    TURN_UNTIL(loop, strstr(probe.why, "no answer within 5 s"));
    probe.why[0] = 0;
    TURN_UNTIL(loop, server.requests == 2);
    skipped += 60 * NS_PER_S; /* the container was frozen for a minute */
    TURN_UNTIL(loop, server.requests == 3);
    assert_string_equal(probe.why, "");
    sys.clock_ns = real_clock;
    skipped = 0;
    probe_stop(&probe);
}

static void a_line_of_output_prompts_a_try_soon_and_a_burst_prompts_one(void **unused)
{
    (void)unused;
    serve();
    unserve();
    spec.kind = READY_TCP;
    spec.period_ms = 3600 * 1000;
    start(PROBE_READY);
    int64_t next = 0;
    TURN_UNTIL(loop, probe.pace_ms > 300 && (next = probe.timer.due_ns) > 0);
    serve();
    for (int i = 0; i < 1000; i++)
        probe_line(&probe, "x", 1);
    assert_true(probe.timer.due_ns - clock_ns() <= PROBE_DEBOUNCE_MS * NS_PER_MS);
    int64_t from = clock_ns();
    TURN_UNTIL(loop, readies == 1);
    TURN_UNTIL(loop, server.accepted == 1);
    assert_true(clock_ns() - from < NS_PER_S && next > 0);
}

static void a_line_during_a_try_prompts_another_one(void **unused)
{
    (void)unused;
    serve();
    spec.has = (char *)"ALIVE";
    spec.period_ms = 3600 * 1000;
    server.answer = "HTTP/1.1 200 OK\r\n\r\nSTANDBY";
    start(PROBE_READY);
    TURN_UNTIL(loop, server.requests == 6); /* the pace is hundreds of milliseconds by now */
    TURN_UNTIL(loop, probe.phase == PROBE_IDLE);
    TURN_UNTIL(loop, probe.phase != PROBE_IDLE);
    probe_line(&probe, "up", 2);
    assert_true(probe.prompted);
    TURN_UNTIL(loop, probe.phase == PROBE_IDLE);
    assert_true(probe.timer.due_ns - clock_ns() <= PROBE_DEBOUNCE_MS * NS_PER_MS);
    probe_stop(&probe);
    spec.has = NULL;
}

static void a_line_may_be_what_is_waited_for(void **unused)
{
    (void)unused;
    spec.kind = READY_LINE;
    spec.has = (char *)"I have been elected leader";
    start(PROBE_READY);
    assert_int_equal(loop_timer_count(loop), 0); /* nothing to try */
    probe_line(&probe, "I have been elected", 19);
    assert_int_equal(readies, 0);
    const char line[] = "26/11/22 18:10:02 INFO Master: I have been elected leader! New state: ALIVE";
    probe_line(&probe, line, sizeof line - 1);
    assert_int_equal(readies, 1);
    probe_line(&probe, line, sizeof line - 1);
    assert_int_equal(readies, 1);
    spec.has = NULL;
    start(PROBE_READY);
    probe_line(&probe, "", 0); /* any line */
    assert_int_equal(readies, 2);
}

static void health_goes_on_and_fails_after_so_many_misses_in_a_row(void **unused)
{
    (void)unused;
    serve();
    server.answer = "HTTP/1.1 200 OK\r\n\r\n";
    spec.health_misses = 3;
    start(PROBE_HEALTH);
    TURN_UNTIL(loop, server.requests >= 4);
    server.answer = "HTTP/1.1 500 no\r\n\r\n";
    TURN_UNTIL(loop, probe.misses == 2);
    server.answer = "HTTP/1.1 200 OK\r\n\r\n";
    TURN_UNTIL(loop, probe.misses == 0);
    assert_int_equal(failures, 0);
    unserve();
    TURN_UNTIL(loop, failures == 1);
    assert_false(probe_is_started(&probe));
    assert_non_null(strstr(why, "refused"));
    assert_int_equal(readies, 0);
}

static void a_port_in_the_range_of_clients_is_not_ready_because_we_met_ourselves(void **unused)
{
    (void)unused;
    /* A socket that connects to its own port: what may happen by chance when nobody listens on an ephemeral port. */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    getsockname(fd, (struct sockaddr *)&address, &size);
    server.port = ntohs(address.sin_port);
    close(fd);
    spec.kind = READY_TCP;
    start(PROBE_READY);
    TURN_UNTIL(loop, probe.phase == PROBE_IDLE && probe.why[0]);
    assert_int_equal(readies, 0);
    probe_stop(&probe);
}

static void a_wrong_address_says_so(void **unused)
{
    (void)unused;
    spec.host = (char *)"localhost";
    spec.kind = READY_TCP;
    start(PROBE_READY);
    TURN_UNTIL(loop, strcmp(probe.why, "localhost:0: not a numeric address") == 0);
    probe_stop(&probe);
}

static int no_socket(int domain, int type, int protocol)
{
    (void)domain, (void)type, (void)protocol;
    errno = EMFILE;
    return -1;
}

static void without_descriptors_it_tries_again(void **unused)
{
    (void)unused;
    serve();
    spec.kind = READY_TCP;
    int (*real)(int, int, int) = sys.socket;
    sys.socket = no_socket;
    start(PROBE_READY);
    TURN_UNTIL(loop, strstr(probe.why, "Too many open files"));
    sys.socket = real;
    TURN_UNTIL(loop, readies == 1);
}

static void without_descriptors_a_service_is_not_blamed(void **unused)
{
    (void)unused;
    serve();
    server.answer = "HTTP/1.1 200 OK\r\n\r\n";
    spec.health_misses = 3;
    start(PROBE_HEALTH);
    TURN_UNTIL(loop, server.requests >= 1);
    int (*real)(int, int, int) = sys.socket;
    sys.socket = no_socket;
    for (int tries = 0; tries < 5; tries++) {
        probe.why[0] = 0;
        TURN_UNTIL(loop, strstr(probe.why, "Too many open files"));
        assert_int_equal(failures, 0);
        assert_int_equal(probe.misses, 0);
    }
    sys.socket = real;
    int requests = server.requests;
    TURN_UNTIL(loop, server.requests > requests);
    unserve();
    TURN_UNTIL(loop, failures == 1);
}

static void needles_are_found_across_pieces_and_repetitions(void **unused)
{
    (void)unused;
    static const struct {
        const char *text, *in;
        bool found;
    } cases[] = {
        {"", "", true},
        {" ", "x", true},
        {"abc", "ab", false},
        {"abc", "xxabcxx", true},
        {"a b", "a\n\tb", true},
        {"aab", "aaab", true},
        {"abab", "ababab", true},
        {"ababac", "abababac", true},
        {"abcabd", "abcabcabd", true},
        {"aaa", "aabaabaa", false},
        {"x", "", false},
        {"{\"a\":1}", "{ \"a\" : 1 }", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t piece = 1; piece < 6; piece++) {
            struct needle *n = needle_new(cases[i].text);
            size_t matched = 0, length = strlen(cases[i].in);
            bool found = needle_scan(n, &matched, "", 0);
            for (size_t at = 0; at < length; at += piece)
                found = needle_scan(n, &matched, cases[i].in + at, length - at < piece ? length - at : piece);
            if (found != cases[i].found)
                fail_msg("\"%s\" in \"%s\", pieces of %zu", cases[i].text, cases[i].in, piece);
            needle_free(n);
        }
}

static void a_session_is_asked_for_as_hive_does(void **unused)
{
    (void)unused;
    serve();
    spec.kind = READY_HIVE;
    start(PROBE_READY);
    misses_with("HTTP/1.1 400 Bad Request\r\n\r\n", "no answer of a HiveServer2");
    misses_with("\5", "closed without an answer");
    server.answer = "\3"; /* it wants a login: that is as much as can be known */
    TURN_UNTIL(loop, readies == 1);
    assert_memory_equal(server.request, "\1\0\0\0\5PLAIN\2", 11);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(needles_are_found_across_pieces_and_repetitions),
        TEST(a_port_is_ready_when_somebody_listens),
        TEST(an_answer_that_holds_the_text_is_ready_however_it_comes),
        TEST(any_2xx_will_do_when_no_text_is_asked_for),
        TEST(other_answers_are_misses_that_say_why),
        TEST(an_endless_answer_is_read_up_to_the_ceiling),
        TEST(silence_is_a_miss_unless_everything_stood_still),
        TEST(a_line_of_output_prompts_a_try_soon_and_a_burst_prompts_one),
        TEST(a_line_during_a_try_prompts_another_one),
        TEST(a_line_may_be_what_is_waited_for),
        TEST(health_goes_on_and_fails_after_so_many_misses_in_a_row),
        TEST(a_port_in_the_range_of_clients_is_not_ready_because_we_met_ourselves),
        TEST(a_wrong_address_says_so),
        TEST(without_descriptors_it_tries_again),
        TEST(without_descriptors_a_service_is_not_blamed),
        TEST(a_session_is_asked_for_as_hive_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
