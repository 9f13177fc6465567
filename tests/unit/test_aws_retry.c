/* What follows from how a try ended, cell by cell; tokens, delays, and where else a bucket may be. */
#include "appliance/aws_retry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h wants these before it */
#include <cmocka.h>

/* A request about an object, told by name why it failed, that can be repeated and was not put right yet; but: */
enum { ORDINARY = 0, STUCK = 1 /* can't be repeated */, LAST = 2 /* no attempts left */, BARE = 4 /* no words */, OF_BUCKET = 8 };

static void assert_next(enum aws_next wanted, int but, struct aws_outcome o, int line)
{
    o.can_repeat = !(but & STUCK);
    o.attempts_left = but & LAST ? 0 : 2;
    o.is_told = !(but & BARE);
    o.of_key = !(but & OF_BUCKET);
    enum aws_next next = aws_next(&o);
    if (next != wanted)
        fail_msg("line %d: %d instead of %d", line, next, wanted);
}
#define NEXT(wanted, but, ...) assert_next(AWS_NEXT_##wanted, but, (struct aws_outcome){__VA_ARGS__}, __LINE__)

static void test_ends_well_and_badly(void **unused)
{
    (void)unused;
    NEXT(DONE, ORDINARY, .status = 200, .ok = true);
    NEXT(DONE, STUCK, .status = 200, .ok = true);
    NEXT(FAIL, ORDINARY, .status = 404, .class = AWS_FINAL);
    NEXT(FAIL, ORDINARY, .status = 403, .class = AWS_FINAL);
}

static void test_tries_again_what_may_pass(void **unused)
{
    (void)unused;
    NEXT(RETRY, ORDINARY, .status = 500, .class = AWS_TRANSIENT);
    NEXT(RETRY, ORDINARY, .status = 503, .class = AWS_THROTTLED);
    NEXT(FAIL, LAST, .status = 503, .class = AWS_THROTTLED);
    NEXT(FAIL, STUCK, .status = 503, .class = AWS_THROTTLED);
    static const enum http_failure pass[] = {
        HTTP_NOT_RESOLVED, HTTP_REFUSED, HTTP_UNREACHABLE, HTTP_CONNECT_TIMEOUT, HTTP_FIRST_BYTE_TIMEOUT,
        HTTP_STALLED,      HTTP_RESET,   HTTP_TRUNCATED,   HTTP_PROTOCOL};
    for (size_t i = 0; i < sizeof pass / sizeof *pass; i++)
        NEXT(RETRY, ORDINARY, .failure = pass[i]);
    static const enum http_failure stay[] = {HTTP_DEADLINE, HTTP_TLS, HTTP_TOO_LARGE, HTTP_STOPPED, HTTP_FAILURE};
    for (size_t i = 0; i < sizeof stay / sizeof *stay; i++)
        NEXT(FAIL, ORDINARY, .failure = stay[i]);
}

static void test_gets_other_credentials_once(void **unused)
{
    (void)unused;
    NEXT(RENEW, ORDINARY, .status = 400, .class = AWS_EXPIRED);
    NEXT(RENEW, LAST, .status = 400, .class = AWS_EXPIRED);
    NEXT(FAIL, ORDINARY, .status = 400, .class = AWS_EXPIRED, .renewed = true);
}

static void test_corrects_the_clock_once_when_it_is_off(void **unused)
{
    (void)unused;
    NEXT(CLOCK, ORDINARY, .status = 403, .class = AWS_CLOCK, .skew_ms = 3600000);
    NEXT(CLOCK, ORDINARY, .status = 403, .class = AWS_CLOCK, .skew_ms = -3600000);
    NEXT(FAIL, ORDINARY, .status = 403, .class = AWS_CLOCK, .skew_ms = 1000);
    NEXT(FAIL, ORDINARY, .status = 403, .class = AWS_CLOCK, .skew_ms = 3600000, .clocked = true);
    NEXT(CLOCK, BARE, .status = 403, .is_head = true, .skew_ms = 3600000);       /* without words */
    NEXT(FAIL, ORDINARY, .status = 403, .class = AWS_FINAL, .skew_ms = 3600000); /* AccessDenied is about something else */
}

static void test_goes_where_the_bucket_is(void **unused)
{
    (void)unused;
    NEXT(MOVE, ORDINARY, .status = 301, .class = AWS_ELSEWHERE, .names_place = true);
    NEXT(MOVE, BARE, .status = 400, .is_head = true, .names_place = true);
    NEXT(FAIL, ORDINARY, .status = 301, .class = AWS_ELSEWHERE, .names_place = true, .moved = true);
    NEXT(FIND, ORDINARY, .status = 301, .class = AWS_ELSEWHERE);
    NEXT(FIND, BARE, .status = 301, .is_head = true);
    NEXT(FIND, BARE, .status = 400, .is_head = true);
    NEXT(FAIL, BARE, .status = 400, .is_head = true, .found = true);
    NEXT(FAIL, BARE | OF_BUCKET, .status = 400, .is_head = true);
    NEXT(FAIL, BARE, .status = 404, .is_head = true, .names_place = true);
}

static void test_does_without_the_checksum_that_nobody_asked_for(void **unused)
{
    (void)unused;
    NEXT(PLAIN, ORDINARY, .status = 501, .class = AWS_UNSUPPORTED, .by_default = true);
    NEXT(PLAIN, BARE, .status = 400, .by_default = true);
    NEXT(FAIL, ORDINARY, .status = 501, .class = AWS_UNSUPPORTED);
    NEXT(FAIL, ORDINARY, .status = 501, .class = AWS_UNSUPPORTED, .by_default = true, .plain = true);
    NEXT(FAIL, STUCK, .status = 501, .class = AWS_UNSUPPORTED, .by_default = true);
}

static void test_spends_and_returns_tokens(void **unused)
{
    (void)unused;
    struct aws_tokens tokens = {0};
    for (int i = 0; i < AWS_TOKENS / AWS_RETRY_COST; i++)
        assert_int_equal(aws_tokens_take(&tokens, false), AWS_RETRY_COST);
    assert_int_equal(aws_tokens_take(&tokens, false), 0);
    aws_tokens_return(&tokens, AWS_RETRY_COST);
    assert_int_equal(aws_tokens_take(&tokens, true), 0);
    assert_int_equal(aws_tokens_take(&tokens, false), AWS_RETRY_COST);
    for (int i = 0; i < AWS_TOKENS + 10; i++)
        aws_tokens_return(&tokens, 0);
    assert_int_equal(tokens.used, 0);
    assert_int_equal(aws_tokens_take(&tokens, true), AWS_TIMEOUT_COST);
}

static void test_waits_longer_each_time_and_as_it_is_told(void **unused)
{
    (void)unused;
    struct headers headers;
    headers_init(&headers, 1000);
    assert_int_equal(aws_retry_delay_ms(0, false, NULL, UINT32_MAX), 50);
    assert_int_equal(aws_retry_delay_ms(3, false, NULL, UINT32_MAX), 400);
    assert_int_equal(aws_retry_delay_ms(0, true, NULL, UINT32_MAX), 1000);
    assert_int_equal(aws_retry_delay_ms(9, true, NULL, UINT32_MAX), 20000);
    assert_int_equal(aws_retry_delay_ms(1000, false, &headers, UINT32_MAX), 20000 < 50 << 16 ? 20000 : 50 << 16);
    assert_int_equal(aws_retry_delay_ms(5, true, &headers, 0), 0);
    assert_int_equal(aws_retry_delay_ms(0, true, NULL, UINT32_MAX / 2), 499);
    headers_add_text(&headers, "Retry-After", "3", NULL);
    assert_int_equal(aws_retry_delay_ms(0, false, &headers, 0), 3000);
    headers_set(&headers, "Retry-After", bytes_of("3600"), NULL);
    assert_int_equal(aws_retry_delay_ms(0, false, &headers, 0), 20000);
    headers_set(&headers, "Retry-After", bytes_of("Thu, 01 Jan 2026 00:00:00 GMT"), NULL);
    assert_int_equal(aws_retry_delay_ms(0, false, &headers, UINT32_MAX), 50);
    headers_add_text(&headers, "x-amz-retry-after", "1500", NULL);
    assert_int_equal(aws_retry_delay_ms(0, false, &headers, 0), 1500);
    headers_set(&headers, "x-amz-retry-after", bytes_of("99999999999999999999"), NULL);
    assert_int_equal(aws_retry_delay_ms(0, false, &headers, UINT32_MAX), 5050);
    headers_free(&headers);
}

static void test_reads_the_skew_of_a_date(void **unused)
{
    (void)unused;
    struct headers headers;
    headers_init(&headers, 1000);
    assert_int_equal(aws_skew_ms(&headers, 0), 0);
    headers_add_text(&headers, "Date", "Thu, 01 Jan 1970 01:00:00 GMT", NULL);
    assert_int_equal(aws_skew_ms(&headers, 1000), 3599000);
    headers_set(&headers, "Date", bytes_of("yesterday"), NULL);
    assert_int_equal(aws_skew_ms(&headers, 1000), 0);
    headers_free(&headers);
}

static void assert_region(const char *header, const char *location, const char *body, const char *wanted)
{
    struct headers headers;
    struct aws_fault fault = {0};
    char found[AWS_REGION_SIZE];
    headers_init(&headers, 4000);
    if (header)
        headers_add_text(&headers, "x-amz-bucket-region", header, NULL);
    if (location)
        headers_add_text(&headers, "Location", location, NULL);
    if (body)
        memcpy(fault.region, body, strlen(body) + 1);
    bool is_elsewhere = aws_region_elsewhere(&headers, &fault, "us-east-1", found);
    headers_free(&headers);
    assert_int_equal(is_elsewhere, wanted != NULL);
    if (wanted)
        assert_string_equal(found, wanted);
}

static void test_finds_the_region_in_an_answer(void **unused)
{
    (void)unused;
    assert_region("eu-west-1", NULL, "eu-west-2", "eu-west-1");
    assert_region(NULL, NULL, "eu-west-2", "eu-west-2");
    assert_region("us-east-1", NULL, NULL, NULL); /* that is where we were */
    assert_region("evil.example/", NULL, NULL, NULL);
    assert_region("x y", NULL, "eu-west-2", "eu-west-2");
    assert_region(NULL, "https://b.s3.x: eu-west-1.amazonaws.com/k", NULL, NULL); /* it would be signed for, and be a part of a host */
    assert_region(NULL, "https://user@eu-west-1.amazonaws.com/k", NULL, NULL);
    assert_region(NULL, "https://b.s3.eu-west-1.amazonaws.com/k?x=y", NULL, "eu-west-1");
    assert_region(NULL, "https://b.s3-eu-west-1.amazonaws.com/k", NULL, "eu-west-1");
    assert_region(NULL, "https://s3-eu-west-1.amazonaws.com", NULL, "eu-west-1");
    assert_region(NULL, "https://b.s3.dualstack.eu-west-1.amazonaws.com/k", NULL, "eu-west-1");
    assert_region(NULL, "https://b.s3.cn-north-1.amazonaws.com.cn/k", NULL, "cn-north-1");
    assert_region(NULL, "https://my-bucket-7.s3.amazonaws.com/k", NULL, NULL);
    assert_region(NULL, "https://.amazonaws.com", NULL, NULL);
    assert_region(NULL, "/k", NULL, NULL);
    assert_region(NULL, NULL, NULL, NULL);
}

static void assert_location(const char *location, bool tls, bool own, const char *wanted)
{
    struct headers headers;
    struct aws_endpoint now = {.tls = tls};
    char origin[AWS_ORIGIN_SIZE];
    headers_init(&headers, 4000);
    headers_add_text(&headers, "Location", location, NULL);
    bool ok = aws_location(&headers, &now, own, origin);
    headers_free(&headers);
    assert_int_equal(ok, wanted != NULL);
    if (wanted)
        assert_string_equal(origin, wanted);
}

static void test_follows_only_where_it_may(void **unused)
{
    (void)unused;
    assert_location("https://other:8443/b/k?x", true, false, "https://other:8443");
    assert_location("http://other/b/k", false, false, "http://other");
    assert_location("https://other/b/k", false, false, "https://other");
    assert_location("http://other/b/k", true, false, NULL); /* never out of TLS */
    assert_location("https://other/b/k", true, true, NULL); /* and from AWS only to AWS */
    assert_location("https://b.s3.eu-west-1.amazonaws.com/k", true, true, "https://b.s3.eu-west-1.amazonaws.com");
    assert_location("https://amazonaws.com.example/k", true, true, NULL);
    assert_location("https://user@other/k", false, false, NULL);
    assert_location("ftp://other/k", false, false, NULL);
    assert_location("/k", false, false, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends_well_and_badly),         cmocka_unit_test(test_tries_again_what_may_pass),
        cmocka_unit_test(test_gets_other_credentials_once), cmocka_unit_test(test_corrects_the_clock_once_when_it_is_off),
        cmocka_unit_test(test_goes_where_the_bucket_is),    cmocka_unit_test(test_does_without_the_checksum_that_nobody_asked_for),
        cmocka_unit_test(test_spends_and_returns_tokens),   cmocka_unit_test(test_waits_longer_each_time_and_as_it_is_told),
        cmocka_unit_test(test_reads_the_skew_of_a_date),    cmocka_unit_test(test_finds_the_region_in_an_answer),
        cmocka_unit_test(test_follows_only_where_it_may),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
