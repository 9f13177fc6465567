/* The control socket with real sockets: who may have it, what a client may do, and that everybody's leaving is noticed. */
#include "answering.h"
#include "appliance/control.h"
#include "appliance/http_client.h"
#include "appliance/http_unix.h"
#include "appliance/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct loop *loop;
static struct control *control;
static char folder[64], path[80];

/* What the handler saw; `answering`: 0 keep, 1 at once with the path as body, 2 start a stream. */
static struct {
    int arrived, left, room, answering;
    struct control_client *last;
} seen;

static void on_arrived(void *argument)
{
    (void)argument;
    struct control_client *c;
    while ((c = control_take(control))) {
        seen.arrived++;
        seen.last = c;
        if (seen.answering == 1) {
            struct control_reply reply = {.status = 200, .body = control_request(c)->path};
            control_answer(c, &reply);
        } else if (seen.answering == 2) {
            control_stream_start(c, 200, "text/plain");
        }
    }
}

static void on_left(void *argument, struct control_client *c)
{
    (void)argument;
    seen.left++;
    if (c == seen.last)
        seen.last = NULL;
}

static void on_room(void *argument, struct control_client *c)
{
    (void)argument, (void)c;
    seen.room++;
}

static const struct control_handler handler = {.arrived = on_arrived, .left = on_left, .room = on_room};

static int setup(void **state)
{
    (void)state;
    memset(&seen, 0, sizeof seen);
    seen.answering = 1;
    strcpy(folder, "/tmp/test_control.XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/control.sock", folder);
    loop = loop_new(NULL);
    struct err err;
    control = control_new(loop, path, &handler, &err);
    assert_non_null(control);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    control_free(control);
    control = NULL;
    struct stat found;
    assert_int_equal(stat(path, &found), -1);
    assert_int_equal(loop_watch_count(loop), 0);
    assert_int_equal(loop_timer_count(loop), 0);
    loop_free(loop);
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

static int client(const char *text)
{
    int fd = http_connect_unix(path, NULL);
    assert_true(fd >= 0);
    if (text)
        assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    return fd;
}

static void answers_and_keeps_the_connection(void **state)
{
    (void)state;
    int fd = client(GET("/a"));
    assert_string_equal(answer_of(loop, fd, "/a"),
                        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 2\r\n\r\n/a");
    assert_int_equal(send(fd, GET("/b") GET("/c"), 2 * strlen(GET("/b")), 0), 2 * strlen(GET("/b"))); /* pipelined */
    const char *both = answer_of(loop, fd, "/c");
    assert_non_null(strstr(both, "/b"));
    assert_int_equal(control_client_count(control), 1);
    close(fd);
    TURN_UNTIL(loop, control_client_count(control) == 0);
    assert_int_equal(seen.left, 0);
}

static void takes_a_request_byte_by_byte(void **state)
{
    (void)state;
    const char *text = "POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    int fd = client(NULL);
    for (const char *at = text; *at; at++) {
        assert_int_equal(seen.arrived, 0);
        assert_int_equal(send(fd, at, 1, 0), 1);
        turn_for(loop, 1000);
        turn_for(loop, 0);
    }
    assert_non_null(strstr(answer_of(loop, fd, "/slow"), "200 OK"));
    close(fd);
}

static void answers_HEAD_without_a_body(void **state)
{
    (void)state;
    int fd = client("HEAD /long HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    const char *text = answer_of(loop, fd, NULL);
    assert_non_null(strstr(text, "Content-Length: 5\r\n"));
    assert_string_equal(text + strlen(text) - 4, "\r\n\r\n");
    close(fd);
}

static void answers_a_client_that_ended_its_side(void **state)
{
    (void)state;
    int fd = client(GET("/half"));
    shutdown(fd, SHUT_WR);
    assert_non_null(strstr(answer_of(loop, fd, NULL), "/half"));
    close(fd);
    TURN_UNTIL(loop, control_client_count(control) == 0);
}

static void refuses_in_a_sentence_and_closes(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"nonsense\n\n", "HTTP/1.1 400 "},
        {"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 501 "},
        {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n", "HTTP/1.1 413 "},
        {"GET / HTTP/3.0\r\n\r\n", "HTTP/1.1 505 "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int fd = client(cases[i][0]);
        const char *text = answer_of(loop, fd, NULL);
        assert_memory_equal(text, cases[i][1], strlen(cases[i][1]));
        assert_non_null(strstr(text, "Connection: close\r\n"));
        assert_true(strlen(strstr(text, "\r\n\r\n")) > 20);
        close(fd);
    }
    assert_int_equal(seen.arrived, 0);

    /* A body that nobody asked for is swallowed, so that the answer gets through. */
    int fd = client("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n");
    char junk[4096] = "junk";
    for (int i = 0; i < 100; i++) {
        if (send(fd, junk, sizeof junk, MSG_NOSIGNAL) < 0)
            assert_int_equal(errno, EAGAIN);
        turn_for(loop, 1);
    }
    assert_memory_equal(answer_of(loop, fd, NULL), "HTTP/1.1 413 ", 13);
    close(fd);

    static char long_head[HTTP_HEAD_LIMIT + 100];
    memset(long_head, 'a', sizeof long_head - 1);
    fd = client(long_head);
    assert_memory_equal(answer_of(loop, fd, NULL), "HTTP/1.1 431 ", 13);
    close(fd);
}

static void says_continue(void **state)
{
    (void)state;
    int fd = client("POST /big HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert_string_equal(answer_of(loop, fd, "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
    assert_int_equal(send(fd, "hi", 2, 0), 2);
    assert_non_null(strstr(answer_of(loop, fd, "/big"), "200 OK"));
    close(fd);
}

static void notices_a_quiet_follower_that_leaves(void **state)
{
    (void)state;
    seen.answering = 2;
    int fd = client(GET("/logs"));
    TURN_UNTIL(loop, seen.last);
    assert_true(control_stream_send(seen.last, bytes_of("line\n")));
    const char *text = answer_of(loop, fd, "line\n");
    assert_non_null(strstr(text, "Transfer-Encoding: chunked\r\n\r\n5\r\nline\n"));
    close(fd);
    TURN_UNTIL(loop, seen.left == 1);
    assert_int_equal(control_client_count(control), 0);
}

static void notices_who_leaves_before_the_answer(void **state)
{
    (void)state;
    seen.answering = 0;
    int fd = client(GET("/wait"));
    TURN_UNTIL(loop, seen.last);
    close(fd);
    TURN_UNTIL(loop, seen.left == 1);
    assert_int_equal(control_client_count(control), 0);
}

static void bounds_what_waits_for_a_slow_reader(void **state)
{
    (void)state;
    seen.answering = 2;
    int fd = client(GET("/logs"));
    TURN_UNTIL(loop, seen.last);
    static char piece[CONTROL_PIECE];
    memset(piece, 'x', sizeof piece);
    size_t given = 0;
    while (control_stream_send(seen.last, (struct bytes){piece, sizeof piece}))
        assert_true((given += sizeof piece) < 2 * 1024 * 1024); /* the socket's own buffer and ours */
    turn_for(loop, 50);
    assert_int_equal(seen.room, 0);

    /* It reads again: room comes, everything arrives. */
    size_t got = 0;
    static char text[65536];
    int64_t limit = clock_ns() + 10 * NS_PER_S;
    while (got < given && clock_ns() < limit) {
        ssize_t count = read(fd, text, sizeof text);
        for (ssize_t i = 0; i < count; i++)
            got += text[i] == 'x';
        turn_for(loop, 1);
    }
    assert_int_equal(got, given + 1); /* and the one of "text/plain" */
    assert_int_equal(seen.room, 1);
    control_stream_end(seen.last);
    assert_non_null(strstr(answer_of(loop, fd, "0\r\n\r\n"), "0\r\n\r\n"));
    /* The connection is good for another request. */
    seen.answering = 1;
    assert_true(send(fd, GET("/next"), strlen(GET("/next")), 0) > 0);
    assert_non_null(strstr(answer_of(loop, fd, "/next"), "200 OK"));
    close(fd);
}

static void breaks_off_instead_of_lying(void **state)
{
    (void)state;
    seen.answering = 2;
    int fd = client(GET("/logs"));
    TURN_UNTIL(loop, seen.last);
    control_stream_send(seen.last, bytes_of("half"));
    control_hang_up(seen.last);
    const char *text = answer_of(loop, fd, NULL);
    assert_null(strstr(text, "0\r\n\r\n"));
    close(fd);
    TURN_UNTIL(loop, control_client_count(control) == 0);
    assert_int_equal(seen.left, 0);
}

static void closes_the_longest_idle_when_full(void **state)
{
    (void)state;
    int fds[CONTROL_CLIENTS + 1];
    for (int i = 0; i <= CONTROL_CLIENTS; i++) {
        fds[i] = client(GET("/a"));
        assert_non_null(strstr(answer_of(loop, fds[i], "/a"), "200 OK"));
    }
    assert_int_equal(control_client_count(control), CONTROL_CLIENTS);
    char byte;
    assert_int_equal(read(fds[0], &byte, 1), 0);
    assert_int_equal(read(fds[1], &byte, 1), -1);
    for (int i = 0; i <= CONTROL_CLIENTS; i++)
        close(fds[i]);
    TURN_UNTIL(loop, control_client_count(control) == 0);
}

static void keeps_room_beside_followers(void **state)
{
    (void)state;
    seen.answering = 0;
    int fds[CONTROL_STREAMS + 1];
    for (int i = 0; i <= CONTROL_STREAMS; i++) {
        fds[i] = client(GET("/logs"));
        int before = seen.arrived;
        TURN_UNTIL(loop, seen.arrived > before);
        bool has_room = control_stream_start(seen.last, 200, NULL);
        assert_int_equal(has_room, i < CONTROL_STREAMS);
    }
    struct control_reply busy = {.status = 503};
    control_answer(seen.last, &busy);
    seen.answering = 1;
    int fd = client(GET("/health"));
    assert_non_null(strstr(answer_of(loop, fd, "/health"), "200 OK"));
    close(fd);
    control_free(control); /* with all of them open; `left` comes for each */
    assert_int_equal(seen.left, CONTROL_STREAMS);
    for (int i = 0; i <= CONTROL_STREAMS; i++)
        close(fds[i]);
    control = NULL;
}

static int64_t shift_ns;
static int64_t (*real_clock)(void);
static int64_t shifted_clock(void)
{
    return real_clock() + shift_ns;
}

static void ends_a_request_that_never_comes(void **state)
{
    (void)state;
    real_clock = sys.clock_ns;
    sys.clock_ns = shifted_clock;
    shift_ns = 0;
    int slow = client("GET / HT"), silent = client(NULL);
    TURN_UNTIL(loop, control_client_count(control) == 2);
    turn_for(loop, 20);
    shift_ns = (CONTROL_REQUEST_MS + 100) * NS_PER_MS;
    assert_memory_equal(answer_of(loop, slow, NULL), "HTTP/1.1 408 ", 13);
    assert_string_equal(answer_of(loop, silent, NULL), "");
    close(slow);
    close(silent);
    TURN_UNTIL(loop, control_client_count(control) == 0);

    int idle = client(GET("/a"));
    answer_of(loop, idle, "/a");
    shift_ns += (CONTROL_IDLE_MS + 100) * NS_PER_MS;
    assert_string_equal(answer_of(loop, idle, NULL), "");
    close(idle);
    sys.clock_ns = real_clock;
}

static void survives_without_descriptors(void **state)
{
    (void)state;
    int fd = http_connect_unix(path, NULL);
    struct rlimit old, tight;
    getrlimit(RLIMIT_NOFILE, &old);
    tight = old;
    tight.rlim_cur = (rlim_t)fd + 1; /* descriptors are given lowest first, so none is left */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    for (int i = 0; i < 5; i++)
        turn_for(loop, 50);
    assert_int_equal(control_client_count(control), 0);
    setrlimit(RLIMIT_NOFILE, &old);
    assert_int_equal(send(fd, GET("/a"), strlen(GET("/a")), 0), strlen(GET("/a")));
    assert_non_null(strstr(answer_of(loop, fd, "/a"), "200 OK"));
    close(fd);
}

/* --- who may have the socket --- */

static void makes_the_socket_private(void **state)
{
    (void)state;
    struct stat found;
    assert_int_equal(stat(path, &found), 0);
    assert_int_equal(found.st_mode, S_IFSOCK | 0600);
}

static void refuses_a_second_program(void **state)
{
    (void)state;
    struct err err = {0};
    pid_t pid = fork(); /* a lock is no obstacle to its own process; but ours is per open file, so to this one, too */
    if (pid == 0)
        _exit(control_new(loop, path, &handler, &err) || err.kind != ERR_CONFLICT ? 1 : 0);
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    assert_null(control_new(loop, path, &handler, &err));
    assert_int_equal(err.kind, ERR_CONFLICT);
    char expected[160];
    snprintf(expected, sizeof expected, "another spark-appliance (pid %d) already runs here: STATE_DIR=%s", (int)getpid(), folder);
    assert_string_equal(err.text, expected);
    /* It did not hurt the first one. */
    int fd = client(GET("/still"));
    assert_non_null(strstr(answer_of(loop, fd, "/still"), "200 OK"));
    close(fd);
}

static void replaces_the_socket_of_the_dead(void **state)
{
    (void)state;
    char other[96];
    snprintf(other, sizeof other, "%s/dead.sock", folder);
    pid_t pid = fork();
    if (pid == 0) {
        struct http_listener l;
        _exit(http_listen(&l, other, NULL) ? 0 : 1); /* no clean end: the socket file stays */
    }
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    struct stat found;
    assert_int_equal(stat(other, &found), 0);
    struct http_listener l;
    struct err err;
    assert_true(http_listen(&l, other, &err));
    http_listener_close(&l);
    assert_int_equal(stat(other, &found), -1);
}

static void leaves_other_files_alone(void **state)
{
    (void)state;
    char other[96];
    snprintf(other, sizeof other, "%s/file", folder);
    close(open(other, O_CREAT | O_WRONLY, 0600));
    struct http_listener l;
    struct err err;
    assert_false(http_listen(&l, other, &err));
    assert_int_equal(err.kind, ERR_CONFLICT);
    struct stat found;
    assert_int_equal(stat(other, &found), 0);

    snprintf(other, sizeof other, "%s/no/such/folder", folder);
    assert_false(http_listen(&l, other, &err));
    assert_int_equal(err.kind, ERR_MISSING);
}

static void takes_long_paths(void **state)
{
    (void)state;
    char deep[400];
    snprintf(deep, sizeof deep, "%s/%0100d", folder, 1);
    assert_int_equal(mkdir(deep, 0700), 0);
    strcat(deep, "/control.sock");
    struct http_listener l;
    struct err err;
    assert_true(http_listen(&l, deep, &err));
    int fd = http_connect_unix(deep, &err);
    assert_true(fd >= 0);
    close(fd);
    http_listener_close(&l);
    assert_int_equal(http_connect_unix(deep, &err), -1);
    assert_int_equal(err.kind, ERR_MISSING);
}

/* --- the client side --- */

static int moves;
static void on_moved(struct http_exchange *x)
{
    (void)x;
    moves++;
}

static void the_client_reads_an_answer(void **state)
{
    (void)state;
    struct http_call call = {.unix_path = path, .method = "GET", .path = "/hello", .timeout_ms = 10000, .ceiling = 100};
    struct http_exchange x;
    struct err err;
    assert_true(http_exchange_start(&x, loop, &call, on_moved, &err));
    TURN_UNTIL(loop, x.ended || x.failed);
    assert_true(x.ended);
    assert_int_equal(x.response.status, 200);
    assert_memory_equal(x.body.data, "/hello", 6);
    http_exchange_stop(&x);

    call.ceiling = 3;
    assert_true(http_exchange_start(&x, loop, &call, on_moved, &err));
    TURN_UNTIL(loop, x.ended || x.failed);
    assert_true(x.failed);
    http_exchange_stop(&x);
    http_exchange_stop(&x);
}

static void the_client_holds_up_a_fast_stream(void **state)
{
    (void)state;
    seen.answering = 2;
    struct http_call call = {.unix_path = path, .method = "GET", .path = "/logs", .timeout_ms = 10000, .ceiling = 1000, .hold = true};
    struct http_exchange x;
    assert_true(http_exchange_start(&x, loop, &call, on_moved, NULL));
    TURN_UNTIL(loop, x.head_done && seen.last);
    char piece[700];
    size_t sent = 0, got = 0;
    for (unsigned round = 0; round < 3000; round++) {
        for (size_t i = 0; i < sizeof piece; i++)
            piece[i] = (char)('a' + (sent + i) % 26);
        if (control_stream_send(seen.last, (struct bytes){piece, sizeof piece}))
            sent += sizeof piece;
        turn_for(loop, 0);
        assert_true(x.body.length <= 1000 && !x.failed);
        if (round % 3 == 0 && x.body.length) {
            size_t take = 1 + round % x.body.length;
            for (size_t i = 0; i < take; i++)
                assert_int_equal(x.body.data[i], 'a' + (got + i) % 26);
            got += take;
            http_exchange_consume(&x, take);
        }
    }
    control_stream_end(seen.last);
    while (!x.ended || x.body.length) {
        for (size_t i = 0; i < x.body.length; i++)
            assert_int_equal(x.body.data[i], 'a' + (got + i) % 26);
        got += x.body.length;
        http_exchange_consume(&x, x.body.length);
        assert_false(x.failed);
        turn_for(loop, x.ended ? 0 : 1);
    }
    assert_int_equal(got, sent);
    http_exchange_stop(&x);
}

static void the_client_tells_half_an_answer(void **state)
{
    (void)state;
    seen.answering = 2;
    struct http_call call = {.unix_path = path, .method = "GET", .path = "/logs", .timeout_ms = 10000, .ceiling = 1000};
    struct http_exchange x;
    assert_true(http_exchange_start(&x, loop, &call, on_moved, NULL));
    TURN_UNTIL(loop, seen.last);
    control_stream_send(seen.last, bytes_of("half"));
    control_hang_up(seen.last);
    TURN_UNTIL(loop, x.failed);
    assert_int_equal(x.err.kind, ERR_PROTOCOL);
    http_exchange_stop(&x);
}

static void the_client_gives_up_in_time(void **state)
{
    (void)state;
    seen.answering = 0;
    struct http_call call = {.unix_path = path, .method = "GET", .path = "/", .timeout_ms = 30, .ceiling = 1000};
    struct http_exchange x;
    assert_true(http_exchange_start(&x, loop, &call, on_moved, NULL));
    TURN_UNTIL(loop, x.failed);
    assert_int_equal(x.err.kind, ERR_TIMEOUT);
    http_exchange_stop(&x);
    TURN_UNTIL(loop, control_client_count(control) == 0);
}

static void the_client_checks_what_it_is_given(void **state)
{
    (void)state;
    struct http_exchange x;
    struct err err;
    struct http_call call = {.host = "localhost", .port = 80, .method = "GET", .path = "/", .timeout_ms = 1000};
    assert_false(http_exchange_start(&x, loop, &call, on_moved, &err));
    assert_int_equal(err.kind, ERR_INVALID);
    call.host = "127.0.0.1";
    call.path = "/a b";
    assert_false(http_exchange_start(&x, loop, &call, on_moved, &err));
    call.path = "/";
    call.port = 70000;
    assert_false(http_exchange_start(&x, loop, &call, on_moved, &err));
    call.port = 1; /* tcpmux: nobody listens */
    if (http_exchange_start(&x, loop, &call, on_moved, &err)) {
        TURN_UNTIL(loop, x.failed);
        err = x.err;
    }
    assert_int_equal(err.kind, ERR_REFUSED);
    assert_non_null(strstr(err.text, "127.0.0.1:1"));
    http_exchange_stop(&x);
}

int main(void)
{
#define EACH(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        EACH(answers_and_keeps_the_connection),
        EACH(takes_a_request_byte_by_byte),
        EACH(answers_HEAD_without_a_body),
        EACH(answers_a_client_that_ended_its_side),
        EACH(refuses_in_a_sentence_and_closes),
        EACH(says_continue),
        EACH(notices_a_quiet_follower_that_leaves),
        EACH(notices_who_leaves_before_the_answer),
        EACH(bounds_what_waits_for_a_slow_reader),
        EACH(breaks_off_instead_of_lying),
        EACH(closes_the_longest_idle_when_full),
        EACH(keeps_room_beside_followers),
        EACH(ends_a_request_that_never_comes),
        EACH(survives_without_descriptors),
        EACH(makes_the_socket_private),
        EACH(refuses_a_second_program),
        EACH(replaces_the_socket_of_the_dead),
        EACH(leaves_other_files_alone),
        EACH(takes_long_paths),
        EACH(the_client_reads_an_answer),
        EACH(the_client_holds_up_a_fast_stream),
        EACH(the_client_tells_half_an_answer),
        EACH(the_client_gives_up_in_time),
        EACH(the_client_checks_what_it_is_given),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
