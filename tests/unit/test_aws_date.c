/* aws_date: what is written reads back, and what is no date is told apart. */
#include "appliance/aws_date.h"

#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

static void writes_the_three_forms(void **state)
{
    (void)state;
    char basic[AWS_DATE_BASIC_SIZE], iso[AWS_DATE_ISO_SIZE], http[AWS_DATE_HTTP_SIZE];
    aws_date_basic(basic, INT64_C(1440938160123));
    aws_date_iso(iso, INT64_C(1440938160123));
    aws_date_http(http, INT64_C(784111777000));
    assert_string_equal(basic, "20150830T123600Z");
    assert_string_equal(iso, "2015-08-30T12:36:00Z");
    assert_string_equal(http, "Sun, 06 Nov 1994 08:49:37 GMT");
    aws_date_iso(iso, -1);
    assert_string_equal(iso, "1969-12-31T23:59:59Z");
}

static void stays_within_four_digits_of_year(void **state)
{
    (void)state;
    char iso[AWS_DATE_ISO_SIZE];
    aws_date_iso(iso, INT64_MAX);
    assert_string_equal(iso, "9999-12-31T23:59:59Z");
    aws_date_iso(iso, INT64_MIN);
    assert_string_equal(iso, "0000-01-01T00:00:00Z");
}

static void agrees_with_the_c_library(void **state)
{
    (void)state;
    for (int64_t day = -719000; day < 2932800; day += 61) {
        time_t seconds = (time_t)(day * 86400 + day % 86400);
        struct tm tm;
        char expected[AWS_DATE_HTTP_SIZE], http[AWS_DATE_HTTP_SIZE], iso[AWS_DATE_ISO_SIZE], basic[AWS_DATE_BASIC_SIZE];
        assert_non_null(gmtime_r(&seconds, &tm));
        /* %Y writes years before 1000 without zeros */
        if (tm.tm_year >= -900) {
            strftime(expected, sizeof expected, "%a, %d %b %Y %H:%M:%S GMT", &tm);
            aws_date_http(http, seconds * INT64_C(1000));
            assert_string_equal(http, expected);
            int64_t back;
            assert_true(aws_date_read_http(bytes_of(http), &back, NULL));
            assert_int_equal(back, seconds * INT64_C(1000));
        }
        int64_t back;
        aws_date_iso(iso, seconds * INT64_C(1000));
        assert_true(aws_date_read_iso(bytes_of(iso), &back, NULL));
        assert_int_equal(back, seconds * INT64_C(1000));
        aws_date_basic(basic, seconds * INT64_C(1000));
        assert_true(aws_date_read_basic(bytes_of(basic), &back, NULL));
        assert_int_equal(back, seconds * INT64_C(1000));
    }
}

static void reads_what_peers_make_of_rfc_3339(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t wall_ms;
    } cases[] = {
        {"2015-08-30T12:36:00Z", INT64_C(1440938160000)},           {"2015-08-30T12:36:00.5Z", INT64_C(1440938160500)},
        {"2015-08-30T12:36:00.123456789Z", INT64_C(1440938160123)}, {"2015-08-30T14:36:00+02:00", INT64_C(1440938160000)},
        {"2015-08-30T07:06:00-0530", INT64_C(1440938160000)},       {"2015-08-30 12:36:00z", INT64_C(1440938160000)},
        {"2016-12-31T23:59:60Z", INT64_C(1483228800000)},           {"2024-02-29T00:00:00.000Z", INT64_C(1709164800000)},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t wall_ms = 0;
        assert_true(aws_date_read_iso(bytes_of(cases[i].text), &wall_ms, NULL));
        assert_int_equal(wall_ms, cases[i].wall_ms);
    }
}

static void refuses_what_is_no_date(void **state)
{
    (void)state;
    static const char *const iso[] = {"",
                                      "2015-08-30",
                                      "2015-08-30T12:36:00",
                                      "2015-08-30T12:36:00.Z",
                                      "2015-13-30T12:36:00Z",
                                      "2023-02-29T12:36:00Z",
                                      "2015-08-30T24:00:00Z",
                                      "2015-08-30T12:36:61Z",
                                      "2015-08-30T12:36:00Zx",
                                      "2015-08-30T12:36:00+24:00",
                                      "+015-08-30T12:36:00Z",
                                      "2015-00-30T12:36:00Z"};
    struct err err;
    int64_t wall_ms = 42;
    for (size_t i = 0; i < sizeof iso / sizeof *iso; i++)
        assert_false(aws_date_read_iso(bytes_of(iso[i]), &wall_ms, &err));
    assert_int_equal(err.kind, ERR_PROTOCOL);
    assert_string_equal(err.text, "'2015-00-30T12:36:00Z' is not a date: it must look like 2026-01-01T00:00:00Z");
    assert_false(aws_date_read_basic(bytes_of("20150830T1236Z"), &wall_ms, &err));
    assert_false(aws_date_read_basic(bytes_of("20150830T123600"), &wall_ms, &err));
    assert_false(aws_date_read_http(bytes_of("Sunday, 06-Nov-94 08:49:37 GMT"), &wall_ms, &err));
    assert_false(aws_date_read_http(bytes_of("Sun, 06 Nov 1994 08:49:37 CET"), &wall_ms, &err));
    assert_false(aws_date_read_http(bytes_of("Sun, 31 Nov 1994 08:49:37 GMT"), &wall_ms, &err));
    assert_int_equal(wall_ms, 42);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_the_three_forms),    cmocka_unit_test(stays_within_four_digits_of_year),
        cmocka_unit_test(agrees_with_the_c_library), cmocka_unit_test(reads_what_peers_make_of_rfc_3339),
        cmocka_unit_test(refuses_what_is_no_date),
    };
    return cmocka_run_group_tests_name("aws_date", tests, NULL, NULL);
}
