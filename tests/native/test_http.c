/* The HTTP client against a server that answers, or fails to, in every way that matters: what is sent, what comes back, and what is said
 * when it does not. */
#include "fetching.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- what goes out --- */

static void asks_and_gets_an_answer(void **unused)
{
    (void)unused;
    run(at("/status/200?body=hello"));
    assert_answer(200, "hello");
    assert_int_equal(fetch.received, 5);
    assert_int_equal(fetch.length, 5);
    assert_string_equal(headers_find(&fetch.headers, "content-LENGTH"), "5");
    assert_true(fetch.connected_ns > 0 && fetch.first_byte_ns >= fetch.connected_ns && fetch.total_ns >= fetch.first_byte_ns);
    char address[40];
    snprintf(address, sizeof address, "127.0.0.1:%d", faults_port(&faults, "plain"));
    assert_string_equal(fetch.address, address);
}

static void sends_nothing_but_what_was_asked_for(void **unused)
{
    (void)unused;
    char expected[200];
    snprintf(expected, sizeof expected, "GET /echo HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n", faults_port(&faults, "plain"));
    run(at("/echo"));
    assert_answer(200, expected);
}

static void sends_every_url_exactly_as_it_is(void **unused)
{
    (void)unused;
    static const char *const paths[] = {
        "/a//b",
        "//lead",
        "/a/../b",
        "/a/./b",
        "/..",
        "/.",
        "/%2e%2e/%2E",
        "/a%2fb%2Fc",
        "/a+b%20c",
        "/*",
        "/~'()!$&,;=:@",
        "/%C3%a9",
        "/[x]{y}|z^`\"<>\\",
        "/a?",
        "/a?b",
        "/a?b=",
        "/a?b=c&a=%20&&=",
        "/?x=/../y//z",
        "/a/?",
        "?uploads",
        "",
    };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        char line[200];
        snprintf(line, sizeof line, "GET %s%s HTTP/1.1\r\n", *paths[i] == '/' ? "" : "/", paths[i]);
        run(at(paths[i]));
        if (fetch.failure || strncmp(body_text(), line, strlen(line)) != 0)
            fail_msg("asked for %s, sent %.60s (%s)", paths[i], body_text(), fetch.err.text);
    }
}

static void sends_headers_as_they_are_even_empty_ones(void **unused)
{
    (void)unused;
    headers_add_text(&request_headers, "Host", "bucket.example", &err);
    headers_add_text(&request_headers, "X-Amz-Empty", "", &err);
    headers_add_text(&request_headers, "x-amz-Meta", "a  b;c", &err);
    headers_add_text(&request_headers, "Accept", "text/xml", &err);
    run(at("/echo"));
    assert_answer(200, "GET /echo HTTP/1.1\r\nHost: bucket.example\r\nX-Amz-Empty:\r\nx-amz-Meta: a  b;c\r\nAccept: text/xml\r\n\r\n");
}

static void sends_each_method_with_its_body(void **unused)
{
    (void)unused;
    static const char *const methods[] = {"PUT", "POST", "DELETE", "PATCH", "GET"};
    headers_add_text(&request_headers, "Content-Length", "3", &err);
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        spec.method = methods[i];
        spec.body = (struct http_body){.kind = HTTP_FROM_MEMORY, .data = "abc", .length = 3};
        run(at("/echo"));
        assert_int_equal(fetch.status, 200);
        assert_int_equal(fetch.sent, 3);
        assert_int_equal(strncmp(body_text(), methods[i], strlen(methods[i])), 0);
        const char *length = strstr(body_text(), "Content-Length: 3\r\n");
        assert_non_null(length);
        assert_null(strstr(length + 1, "Content-Length"));
        assert_null(strstr(body_text(), "Expect"));
        assert_non_null(strstr(body_text(), "\r\n\r\nabc"));
    }
}

static void announces_an_empty_body_where_one_is_expected(void **unused)
{
    (void)unused;
    spec.method = "POST";
    run(at("/echo?uploads="));
    assert_non_null(strstr(body_text(), "Content-Length: 0\r\n"));
    spec.method = "DELETE";
    run(at("/echo"));
    assert_null(strstr(body_text(), "Content-Length"));
}

static void waits_for_a_continue_only_when_asked_to(void **unused)
{
    (void)unused;
    spec.method = "PUT";
    spec.expect_continue = true;
    spec.body = (struct http_body){.kind = HTTP_FROM_MEMORY, .data = "abc", .length = 3};
    run(at("/echo"));
    assert_int_equal(fetch.status, 200);
    assert_non_null(strstr(body_text(), "Expect: 100-continue\r\n"));
    assert_non_null(strstr(body_text(), "\r\n\r\nabc"));
}

static void refuses_what_makes_no_sense_before_it_begins(void **unused)
{
    (void)unused;
    static const char *const urls[] = {
        "ftp://x/", "x", "http://", "http://user:secret@x/", "http://x/a#b", "http://x/a b", "http://x/\xc3\xa9", "http://x/a\r\nB: c"};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        spec.url = urls[i];
        assert_false(http_fetch_start(&fetch, loop, &spec, on_done, &err));
        assert_int_equal(err.kind, ERR_INVALID);
        assert_null(strstr(err.text, "secret"));
    }
    spec.url = "http://127.0.0.1/";
    spec.method = "GET /x\r\n";
    assert_false(http_fetch_start(&fetch, loop, &spec, on_done, &err));
    spec.method = "PUT";
    spec.headers = &request_headers;
    headers_add_text(&request_headers, "Content-Length", "4", &err);
    spec.body = (struct http_body){.kind = HTTP_FROM_MEMORY, .data = "abc", .length = 3};
    assert_false(http_fetch_start(&fetch, loop, &spec, on_done, &err));
    assert_non_null(strstr(err.text, "Content-Length: 4, but the body has 3 bytes"));
    assert_int_equal(http_fetch_count(), 0);
}

/* --- answers --- */

static void gives_every_status_as_an_answer(void **unused)
{
    (void)unused;
    static const int statuses[] = {200, 201, 206, 301, 307, 400, 401, 403, 404, 411, 412, 429, 500, 501, 503};
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        char path[60];
        snprintf(path, sizeof path, "/status/%d?body=x", statuses[i]);
        run(at(path));
        assert_answer(statuses[i], "x");
    }
    run(at("/status/204"));
    assert_answer(204, "");
    run(at("/redirect"));
    assert_answer(302, "elsewhere");
    assert_string_equal(headers_find(&fetch.headers, "location"), "/status/200");
}

static void answers_a_head_without_a_body(void **unused)
{
    (void)unused;
    spec.method = "HEAD";
    run(at("/bytes/1000"));
    assert_answer(200, "");
    assert_int_equal(fetch.length, 1000);
    assert_string_equal(headers_find(&fetch.headers, "ETag"), "\"pattern\"");
}

static void reads_chunks_and_leaves_out_interim_answers_and_trailers(void **unused)
{
    (void)unused;
    run(at("/chunked/5000?piece=700"));
    assert_int_equal(fetch.failure, HTTP_OK);
    assert_int_equal(fetch.body.length, 5000);
    assert_true(is_pattern(fetch.body.data, 5000, 0));
    assert_int_equal(fetch.length, -1);
    assert_null(headers_find(&fetch.headers, "X-Sum"));
    run(at("/interim"));
    assert_answer(200, "after");
    assert_null(headers_find(&fetch.headers, "Link"));
    assert_string_equal(headers_find(&fetch.headers, "X-Final"), "yes");
}

static void tells_a_truncated_answer(void **unused)
{
    (void)unused;
    run(at("/cut/700?announce=1000"));
    assert_failure(HTTP_TRUNCATED, "http://127.0.0.1:", "after 700 of 1000 bytes", NULL);
    assert_true(http_failure_is_transient(fetch.failure));
    assert_int_equal(fetch.status, 200);
    run(at("/chunked-cut/700"));
    assert_failure(HTTP_TRUNCATED, "in the middle of the answer, after 700 bytes", NULL);
}

static void tells_a_reset_in_the_middle_and_before(void **unused)
{
    (void)unused;
    run(at("/close-unread"));
    assert_failure(HTTP_RESET, "broke while the answer was awaited", NULL);
    run(at("/close-unread?how=reset"));
    assert_failure(HTTP_RESET, "broke while the answer was awaited", "reset by peer", NULL);
}

static void takes_no_more_than_was_announced(void **unused)
{
    (void)unused;
    run(at("/more/2000?announce=1000"));
    assert_int_equal(fetch.failure, HTTP_OK);
    assert_int_equal(fetch.body.length, 1000);
    run(at("/count"));
    /* What came too much must not become the next answer. It may come after the next request went out: then there is none. */
    if (fetch.failure == HTTP_OK)
        assert_int_equal(strncmp(body_text(), "connection ", strlen("connection ")), 0);
    else
        assert_failure(HTTP_PROTOCOL, "is no HTTP", NULL);
}

static void keeps_its_ceilings(void **unused)
{
    (void)unused;
    spec.ceiling = 999;
    run(at("/bytes/1000"));
    assert_failure(HTTP_TOO_LARGE, "the body of the answer is larger than the 999 bytes allowed", NULL);
    assert_false(http_failure_is_transient(fetch.failure));
    assert_true(fetch.body.length <= 999);
    spec.ceiling = 1000;
    run(at("/bytes/1000"));
    assert_int_equal(fetch.failure, HTTP_OK);
    run(at("/head?bytes=1000&lines=100"));
    assert_failure(HTTP_TOO_LARGE, "the head of the answer is larger than the 65536 bytes allowed", NULL);
    run(at("/head?bytes=300000"));
    assert_failure(HTTP_TOO_LARGE, "the head of the answer", NULL);
    run(at("/head?bytes=60000"));
    assert_answer(200, "small");
}

static void tells_what_is_no_http(void **unused)
{
    (void)unused;
    run(at("/garbage"));
    assert_failure(HTTP_PROTOCOL, "is no HTTP", NULL);
    run(at("/http09"));
    assert_failure(HTTP_PROTOCOL, "is no HTTP", NULL);
}

static void stops_sending_when_the_answer_is_there(void **unused)
{
    (void)unused;
    static char block[4 << 20];
    spec.method = "PUT";
    spec.body = (struct http_body){.kind = HTTP_FROM_MEMORY, .data = block, .length = sizeof block};
    run(at("/refuse-body"));
    assert_answer(413, "too much");
    assert_true(fetch.sent < (int64_t)sizeof block);
}

/* --- no answer --- */

static void tells_a_silent_server_by_the_first_byte(void **unused)
{
    (void)unused;
    spec.first_byte_ms = 100;
    run(at("/silent"));
    assert_failure(HTTP_FIRST_BYTE_TIMEOUT, "took the request, but no answer came within 0.1 s", NULL);
    assert_int_equal(fetch.err.kind, ERR_TIMEOUT);
    assert_true(fetch.connected_ns > 0);
    spec.first_byte_ms = 10000;
    run(at("/late?after=0.05"));
    assert_answer(200, "late");
    assert_true(fetch.first_byte_ns > 40 * NS_PER_MS);
}

static void tells_a_stalled_server_but_not_a_slow_one(void **unused)
{
    (void)unused;
    spec.stall_ms = 200;
    spec.stall_bytes = 1000;
    run(at("/slow/1000?piece=1&every=0.02"));
    assert_failure(HTTP_STALLED, "slower than 1000 bytes/s for 0.2 s", "bytes received", NULL);
    spec.stall_bytes = 10;
    run(at("/slow/400?piece=20&every=0.03"));
    assert_int_equal(fetch.failure, HTTP_OK);
    assert_int_equal(fetch.received, 400);
}

static void ends_at_the_deadline_whatever_goes_on(void **unused)
{
    (void)unused;
    spec.deadline_ms = 150;
    run(at("/slow/100000?piece=100&every=0.01"));
    assert_failure(HTTP_DEADLINE, "not done within 0.15 s: the answer was still coming", NULL);
    run(at("/silent"));
    assert_failure(HTTP_DEADLINE, "the request was sent and no answer had begun", NULL);
}

static void does_not_blame_the_server_for_a_body_still_on_its_way(void **unused)
{
    (void)unused;
    static char block[5 << 20];
    spec.method = "PUT";
    spec.first_byte_ms = 1000; /* what is in our kernel's buffer takes longer */
    spec.body = (struct http_body){.kind = HTTP_FROM_MEMORY, .data = block, .length = sizeof block};
    run(at("/greedy?piece=60000&every=0.04"));
    assert_answer(200, "5242880");
    assert_true(fetch.total_ns > 2 * NS_PER_S);
}

/* A port of 127.0.0.1 that is taken, with `backlog` as its listening queue (-1: it does not listen). */
static int hold_port(int *port, int backlog)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    if (backlog >= 0)
        assert_int_equal(listen(fd, backlog), 0);
    getsockname(fd, (struct sockaddr *)&address, &size);
    *port = ntohs(address.sin_port);
    return fd;
}

static void tells_that_nobody_listens(void **unused)
{
    (void)unused;
    int port, fd = hold_port(&port, -1);
    char url[60], words[60];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/x?secret", port);
    snprintf(words, sizeof words, "nobody listens at 127.0.0.1:%d", port);
    run(url);
    assert_failure(HTTP_REFUSED, url[0] ? "http://127.0.0.1:" : "", words, "is it running", NULL);
    assert_null(strstr(fetch.err.text, "secret"));
    assert_int_equal(fetch.err.kind, ERR_REFUSED);
    close(fd);
}

/* The kernel drops what comes to a full queue, as a firewall would. */
static void tells_that_no_connection_comes_about(void **unused)
{
    (void)unused;
    int port, fd = hold_port(&port, 0), fillers[3];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (int i = 0; i < 3; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        connect(fillers[i], (struct sockaddr *)&address, sizeof address);
    }
    char url[60];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", port);
    spec.connect_ms = 200;
    run(url);
    assert_failure(HTTP_CONNECT_TIMEOUT, "did not answer within 0.2 s", "firewall or security group", NULL);
    spec.connect_ms = 0;
    spec.deadline_ms = 100;
    run(url);
    assert_failure(HTTP_DEADLINE, "the connection was not made yet", NULL);
    for (int i = 0; i < 3; i++)
        close(fillers[i]);
    close(fd);
}

/* A label of more than 63 letters is no name, which the resolver knows without asking anybody. */
static void tells_a_name_without_an_address(void **unused)
{
    (void)unused;
    run("http://aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggg.invalid/");
    assert_failure(HTTP_NOT_RESOLVED, "no address for this name", "does DNS work here", NULL);
    assert_int_equal(fetch.err.kind, ERR_MISSING);
}

static void uses_a_proxy_of_the_environment_only_when_allowed(void **unused)
{
    (void)unused;
    int port, fd = hold_port(&port, -1);
    char proxy[60];
    snprintf(proxy, sizeof proxy, "http://127.0.0.1:%d", port);
    setenv("http_proxy", proxy, 1);
    unsetenv("no_proxy");
    unsetenv("NO_PROXY");
    run(at("/status/200?body=direct"));
    assert_answer(200, "direct");
    spec.no_proxy = false;
    run(at("/status/200?body=direct"));
    assert_failure(HTTP_REFUSED, proxy + strlen("http://"), NULL);
    unsetenv("http_proxy");
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(asks_and_gets_an_answer),
        TEST(sends_nothing_but_what_was_asked_for),
        TEST(sends_every_url_exactly_as_it_is),
        TEST(sends_headers_as_they_are_even_empty_ones),
        TEST(sends_each_method_with_its_body),
        TEST(announces_an_empty_body_where_one_is_expected),
        TEST(waits_for_a_continue_only_when_asked_to),
        TEST(refuses_what_makes_no_sense_before_it_begins),
        TEST(gives_every_status_as_an_answer),
        TEST(answers_a_head_without_a_body),
        TEST(reads_chunks_and_leaves_out_interim_answers_and_trailers),
        TEST(tells_a_truncated_answer),
        TEST(tells_a_reset_in_the_middle_and_before),
        TEST(takes_no_more_than_was_announced),
        TEST(keeps_its_ceilings),
        TEST(tells_what_is_no_http),
        TEST(stops_sending_when_the_answer_is_there),
        TEST(tells_a_silent_server_by_the_first_byte),
        TEST(tells_a_stalled_server_but_not_a_slow_one),
        TEST(ends_at_the_deadline_whatever_goes_on),
        TEST(does_not_blame_the_server_for_a_body_still_on_its_way),
        TEST(tells_that_nobody_listens),
        TEST(tells_that_no_connection_comes_about),
        TEST(tells_a_name_without_an_address),
        TEST(uses_a_proxy_of_the_environment_only_when_allowed),
    };
    return cmocka_run_group_tests(tests, plain_server_start, plain_server_stop);
}
