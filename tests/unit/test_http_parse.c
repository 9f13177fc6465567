/* http_parse: what is a request, what is refused with which status, and that cutting the bytes anywhere changes nothing. */
#include "appliance/http_parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HOST "Host: x\r\n"

static enum http_parse parse(const char *text, struct http_request *request, struct err *err)
{
    size_t used;
    *err = (struct err){0};
    return http_parse_request(text, strlen(text), request, &used, err);
}

static void assert_bytes(struct bytes got, const char *expected)
{
    assert_int_equal(got.length, strlen(expected));
    assert_memory_equal(got.data, expected, got.length);
}

static void takes_plain_requests(void **state)
{
    (void)state;
    struct http_request r;
    struct err err;
    assert_int_equal(parse("GET /logs/worker?follow=1&bytes=10 HTTP/1.1\r\n" HOST "\r\n", &r, &err), HTTP_DONE);
    assert_bytes(r.method, "GET");
    assert_bytes(r.path, "/logs/worker");
    assert_bytes(r.query, "follow=1&bytes=10");
    assert_true(r.keep_alive && r.chunks_understood);

    assert_int_equal(parse("POST /x HTTP/1.1\r\n" HOST "content-length:  5 \r\nConnection: Foo, close\r\n\r\nhello", &r, &err), HTTP_DONE);
    assert_bytes(r.body, "hello");
    assert_false(r.keep_alive);

    assert_int_equal(parse("GET http://anything:80/status?a HTTP/1.1\r\n" HOST "\r\n", &r, &err), HTTP_DONE);
    assert_bytes(r.path, "/status");
    assert_int_equal(parse("GET / HTTP/1.0\r\n\r\n", &r, &err), HTTP_DONE);
    assert_false(r.keep_alive || r.chunks_understood);
    assert_int_equal(parse("\r\nGET / HTTP/1.1\r\n" HOST "\r\n", &r, &err), HTTP_DONE);
    assert_int_equal(r.head_length, 2 + strlen("GET / HTTP/1.1\r\n" HOST "\r\n"));
}

static void shows_the_headers(void **state)
{
    (void)state;
    struct http_request r;
    struct err err;
    struct bytes value, name;
    assert_int_equal(parse("GET / HTTP/1.1\r\nhost:x:80\r\nAuthorization: \t a b:c \r\nEmpty:\r\nauthorization: other\r\n\r\n", &r, &err),
                     HTTP_DONE);
    assert_int_equal(http_header(&r, "Host", &value), 1);
    assert_bytes(value, "x:80");
    assert_int_equal(http_header(&r, "Authorization", &value), 2);
    assert_bytes(value, "a b:c");
    assert_int_equal(http_header(&r, "empty", &value), 1);
    assert_bytes(value, "");
    assert_int_equal(http_header(&r, "Auth", &value), 0);
    struct bytes rest = r.headers;
    int count = 0;
    while (http_header_next(&rest, &name, &value))
        count++;
    assert_int_equal(count, 4);
    assert_int_equal(parse("GET / HTTP/1.0\r\n\r\n", &r, &err), HTTP_DONE);
    assert_int_equal(http_header(&r, "Host", &value), 0);
}

static void leaves_the_next_request_alone(void **state)
{
    (void)state;
    const char *two = "POST /a HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nhiGET /b HTTP/1.1\r\n" HOST "\r\n";
    struct http_request r;
    size_t used;
    assert_int_equal(http_parse_request(two, strlen(two), &r, &used, NULL), HTTP_DONE);
    assert_memory_equal(two + used, "GET /b", 6);
}

static void waits_for_the_rest(void **state)
{
    (void)state;
    const char *text = "POST /a%20b?c=%41 HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc";
    struct http_request r;
    size_t used;
    for (size_t length = 0; length < strlen(text); length++) {
        char *cut = malloc(length + 1); /* exactly as long, for the sanitizer */
        memcpy(cut, text, length);
        assert_int_equal(http_parse_request(cut, length, &r, &used, NULL), HTTP_MORE);
        if (length >= strlen(text) - 3)
            assert_true(r.wants_continue && r.content_length == 3);
        else
            assert_int_equal(r.head_length, 0);
        free(cut);
    }
    assert_int_equal(http_parse_request(text, strlen(text), &r, &used, NULL), HTTP_DONE);
}

static void refuses_with_a_status_and_a_sentence(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *text;
    } cases[] = {
        {400, "\x16\x03\x01"}, /* TLS */
        {400, " GET / HTTP/1.1\r\n\r\n"},
        {400, "GET / HTTP/1.1\n\n"},
        {400, "GET / HTTP/1.1\nHost: x\r\n\r\n"},
        {400, "GET  / HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET /a b HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET /\r\n" HOST "\r\n"},
        {400, "GET / HTTP/1.1\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\n" HOST HOST "\r\n"},
        {400, "GET status HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET * HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET http://x HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET /%zz HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET /% HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET /%4 HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET /%00 HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET /?a=%4 HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET /\xc3\xa9 HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET /#x HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET / HTTP/1.1\r\nHost : x\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\n: x\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\nHost\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\n" HOST " folded\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\n" HOST "A: b\rc\r\n\r\n"},
        {400, "GET / HTTP/1.1\r\n" HOST "A: \x01\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx"},
        {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: +1\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 1, 1\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999999\r\n\r\n"},
        {400, "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx"},
        {413, "POST / HTTP/1.1\r\n" HOST "Content-Length: 1048577\r\n\r\n"},
        {417, "POST / HTTP/1.1\r\n" HOST "Expect: a miracle\r\n\r\n"},
        {501, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"},
        {501, "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n"},
        {501, "BREW / HTTP/1.1\r\n" HOST "\r\n"},
        {501, "get / HTTP/1.1\r\n" HOST "\r\n"},
        {505, "GET / HTTP/2.0\r\n" HOST "\r\n"},
        {505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct http_request r;
        struct err err;
        enum http_parse answer = parse(cases[i].text, &r, &err);
        if (answer != HTTP_BAD || err.code != cases[i].status)
            fail_msg("%s -> %d, status %d instead of %d", cases[i].text, answer, err.code, cases[i].status);
        assert_true(strlen(err.text) > 10);
    }
}

static void bounds_the_head(void **state)
{
    (void)state;
    static char text[HTTP_HEAD_LIMIT + 64];
    struct http_request r;
    struct err err;
    size_t used;
    memset(text, 'a', sizeof text);
    memcpy(text, "GET /", 5);
    assert_int_equal(http_parse_request(text, HTTP_HEAD_LIMIT - 1, &r, &used, &err), HTTP_MORE);
    assert_int_equal(http_parse_request(text, HTTP_HEAD_LIMIT, &r, &used, &err), HTTP_BAD);
    assert_int_equal(err.code, 431);

    size_t length = (size_t)sprintf(text, "GET / HTTP/1.1\r\n" HOST);
    for (int i = 1; i < HTTP_HEADERS_LIMIT; i++)
        length += (size_t)sprintf(text + length, "A: b\r\n");
    strcpy(text + length, "\r\n");
    assert_int_equal(parse(text, &r, &err), HTTP_DONE);
    strcpy(text + length, "A: b\r\n\r\n");
    assert_int_equal(parse(text, &r, &err), HTTP_BAD);
    assert_int_equal(err.code, 431);
}

static void reads_responses(void **state)
{
    (void)state;
    struct http_response r;
    struct err err;
    const char *text = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n";
    for (size_t length = 0; length < strlen(text); length++)
        assert_int_equal(http_parse_response(text, length, &r, &err), HTTP_MORE);
    assert_int_equal(http_parse_response(text, strlen(text), &r, &err), HTTP_DONE);
    assert_int_equal(r.status, 200);
    assert_int_equal(r.content_length, 12);
    text = "HTTP/1.0 503\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n";
    assert_int_equal(http_parse_response(text, strlen(text), &r, &err), HTTP_DONE);
    assert_true(r.status == 503 && r.chunked && r.content_length == -1);

    static const char *const wrong[] = {"SSH-2.0",
                                        "HTTP/1.1 abc\r\n\r\n",
                                        "HTTP/1.1 99\r\n\r\n",
                                        "HTTP/1.1 020 x\r\n\r\n",
                                        "HTTP/1.1\r\n\r\n",
                                        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
                                        "HTTP/2 200\r\n\r\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (http_parse_response(wrong[i], strlen(wrong[i]), &r, &err) != HTTP_BAD)
            fail_msg("taken: %s", wrong[i]);
}

/* Feeds at most `step` new bytes at a time; what was not used is seen again. */
static enum http_parse read_all(const char *text, size_t step, char *out, struct err *err)
{
    struct http_chunks chunks = {0};
    size_t length = strlen(text), seen = step < length ? step : length, at = 0;
    *out = 0;
    for (;;) {
        size_t used;
        struct bytes body;
        enum http_parse answer = http_chunks_next(&chunks, text + at, seen - at, &used, &body, err);
        strncat(out, body.data, body.length);
        at += used;
        if (answer != HTTP_MORE)
            return answer;
        if (used == 0) {
            if (seen == length)
                return HTTP_MORE;
            seen = seen + step < length ? seen + step : length;
        }
    }
}

static void reads_chunks_however_they_are_cut(void **state)
{
    (void)state;
    char out[64];
    struct err err;
    const char *text = "5\r\nhello\r\n00A;x=y\r\n, world...\r\n0\r\nTrailer: x\r\n\r\n";
    for (size_t step = 1; step <= strlen(text); step++) {
        assert_int_equal(read_all(text, step, out, &err), HTTP_DONE);
        assert_string_equal(out, "hello, world...");
    }
    assert_int_equal(read_all("5\r\nhel", 3, out, &err), HTTP_MORE);
    static const char *const wrong[] = {"x\r\n",           "\r\n", "5\r\nhelloo\r\n", "-1\r\n", "5 6\r\nhello", "fffffffffffffffff\r\n",
                                        "0x5\r\nhello\r\n"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (read_all(wrong[i], 100, out, &err) != HTTP_BAD)
            fail_msg("taken: %s", wrong[i]);
}

static void takes_queries_apart(void **state)
{
    (void)state;
    struct bytes query = bytes_of("a=1&&b&=x&c=d=e&"), name, value;
    assert_true(http_query_next(&query, &name, &value));
    assert_bytes(name, "a");
    assert_bytes(value, "1");
    assert_true(http_query_next(&query, &name, &value));
    assert_bytes(name, "b");
    assert_bytes(value, "");
    assert_true(http_query_next(&query, &name, &value));
    assert_bytes(name, "c");
    assert_bytes(value, "d=e");
    assert_false(http_query_next(&query, &name, &value));

    char out[16];
    size_t length = http_unescape(bytes_of("a%2Fb+c%"), true, out);
    assert_bytes((struct bytes){out, length}, "a/b c%");
    length = http_unescape(bytes_of("a+%41"), false, out);
    assert_bytes((struct bytes){out, length}, "a+A");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_plain_requests),
        cmocka_unit_test(shows_the_headers),
        cmocka_unit_test(leaves_the_next_request_alone),
        cmocka_unit_test(waits_for_the_rest),
        cmocka_unit_test(refuses_with_a_status_and_a_sentence),
        cmocka_unit_test(bounds_the_head),
        cmocka_unit_test(reads_responses),
        cmocka_unit_test(reads_chunks_however_they_are_cut),
        cmocka_unit_test(takes_queries_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
