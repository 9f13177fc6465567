/* aws_uri: escaping byte by byte, and endpoints as people write them. */
#include "appliance/aws_uri.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void escapes_all_but_the_unreserved(void **state)
{
    (void)state;
    static const char unreserved[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    struct buf out;
    buf_init(&out, 16);
    for (int c = 0; c < 256; c++) {
        char byte = (char)c, escaped[4];
        snprintf(escaped, sizeof escaped, "%%%02X", (unsigned)c);
        bool plain = c && strchr(unreserved, c);
        buf_clear(&out);
        assert_true(aws_escape(&out, (struct bytes){&byte, 1}, AWS_ESCAPE_ALL));
        assert_true(bytes_equal(buf_bytes(&out), plain ? (struct bytes){&byte, 1} : bytes_of(escaped)));
        buf_clear(&out);
        assert_true(aws_escape(&out, (struct bytes){&byte, 1}, AWS_ESCAPE_PATH));
        assert_true(bytes_equal(buf_bytes(&out), plain || c == '/' ? (struct bytes){&byte, 1} : bytes_of(escaped)));
    }
    buf_clear(&out);
    assert_true(aws_escape(&out, bytes_of("a//b/../c"), AWS_ESCAPE_PATH));
    assert_true(bytes_equal(buf_bytes(&out), bytes_of("a//b/../c")));
    assert_false(aws_escape(&out, bytes_of("+++"), AWS_ESCAPE_PATH)); /* past the ceiling */
    buf_free(&out);
}

static void reads_endpoints(void **state)
{
    (void)state;
    static const struct {
        const char *url, *host, *header, *origin, *prefix;
        unsigned port;
        bool tls, is_address, is_ipv6;
    } cases[] = {
        {"https://s3.eu-west-1.amazonaws.com", "s3.eu-west-1.amazonaws.com", "s3.eu-west-1.amazonaws.com",
         "https://s3.eu-west-1.amazonaws.com", "", 443, true, false, false},
        {"HTTP://minio:9000/", "minio", "minio:9000", "http://minio:9000", "", 9000, false, false, false},
        {"http://127.0.0.1:80", "127.0.0.1", "127.0.0.1", "http://127.0.0.1", "", 80, false, true, false},
        {"http://[fd00:ec2::254]:8080/a/b//", "fd00:ec2::254", "[fd00:ec2::254]:8080", "http://[fd00:ec2::254]:8080", "/a/b", 8080, false,
         true, true},
        {"https://[::1]", "::1", "[::1]", "https://[::1]", "", 443, true, true, true},
        {"https://gateway:443/s3/", "gateway", "gateway", "https://gateway", "/s3", 443, true, false, false},
        {"https://gateway:80", "gateway", "gateway:80", "https://gateway:80", "", 80, true, false, false},
        {"http://a_b.local:/", "a_b.local", "a_b.local", "http://a_b.local", "", 80, false, false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct aws_endpoint e;
        struct err err;
        struct buf out;
        buf_init(&out, 512);
        if (!aws_endpoint_read(bytes_of(cases[i].url), &e, &err))
            fail_msg("%s", err.text);
        assert_true(bytes_equal(e.host, bytes_of(cases[i].host)));
        assert_true(bytes_equal(e.prefix, bytes_of(cases[i].prefix)));
        assert_int_equal(e.port, cases[i].port);
        assert_true(e.tls == cases[i].tls && e.is_address == cases[i].is_address && e.is_ipv6 == cases[i].is_ipv6);
        assert_true(aws_endpoint_host(&e, &out) && bytes_equal(buf_bytes(&out), bytes_of(cases[i].header)));
        buf_clear(&out);
        assert_true(aws_endpoint_origin(&e, &out) && bytes_equal(buf_bytes(&out), bytes_of(cases[i].origin)));
        buf_free(&out);
    }
}

static void refuses_what_is_no_endpoint(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",
                                        "minio:9000",
                                        "ftp://minio",
                                        "https://",
                                        "https:///path",
                                        "http://:80",
                                        "http://ho st",
                                        "http://host:0",
                                        "http://host:65536",
                                        "http://host:8o",
                                        "http://host:000080",
                                        "http://host?x",
                                        "http://host/#x",
                                        "http://host/a%20b",
                                        "http://[::1",
                                        "http://[]",
                                        "http://[fe80::1%25eth0]",
                                        "http://[::1]x",
                                        "http://::1",
                                        "http://.host",
                                        "http://h\xc3\xb6st"};
    struct aws_endpoint e;
    struct err err;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        err = (struct err){0};
        if (aws_endpoint_read(bytes_of(wrong[i]), &e, &err))
            fail_msg("taken: %s", wrong[i]);
        assert_int_equal(err.kind, ERR_INVALID);
    }
    assert_false(aws_endpoint_read(bytes_of("https://me:secret@host/"), &e, &err));
    assert_null(strstr(err.text, "secret"));
    assert_false(aws_endpoint_read((struct bytes){"http://a\0b", 10}, &e, &err));
    assert_false(aws_endpoint_read(bytes_of("http://host:8o"), &e, &err));
    assert_string_equal(err.text, "endpoint 'http://host:8o': the port is not a number from 1 to 65535");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(escapes_all_but_the_unreserved),
        cmocka_unit_test(reads_endpoints),
        cmocka_unit_test(refuses_what_is_no_endpoint),
    };
    return cmocka_run_group_tests_name("aws_uri", tests, NULL, NULL);
}
