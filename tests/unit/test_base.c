/* Buffers with a ceiling, errors as sentences, time as text. */
#include "appliance/buf.h"
#include "appliance/clock.h"
#include "appliance/err.h"
#include "appliance/log.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void a_buffer_never_passes_its_ceiling(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 10);
    assert_true(buf_text(&b, "12345678"));
    assert_false(buf_text(&b, "9ab"));
    assert_int_equal(b.length, 8);
    assert_true(buf_text(&b, "9a"));
    assert_false(buf_append(&b, "b", 1));
    buf_consume(&b, 3);
    assert_memory_equal(b.data, "456789a", 7);
    buf_consume(&b, 100);
    assert_int_equal(b.length, 0);
    buf_free(&b);
    assert_int_equal(b.ceiling, 10);
}

static void a_buffer_formats(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 1000; i++)
        assert_true(buf_format(&b, "%d,", i));
    assert_memory_equal(b.data, "0,1,2,", 6);
    assert_memory_equal(b.data + b.length - 8, "998,999,", 8);
    buf_free(&b);
}

static void an_error_is_a_sentence_with_its_subject_and_a_kind(void **state)
{
    (void)state;
    struct err err;
    errno = EACCES;
    assert_false(err_errno(&err, "read %s", "/etc/x"));
    assert_string_equal(err.text, "read /etc/x: Permission denied");
    assert_int_equal(err.kind, ERR_DENIED);
    assert_int_equal(err.code, EACCES);
    assert_false(err_set(&err, ERR_MISSING, "again: %s", err.text)); /* its own text as an argument */
    assert_string_equal(err.text, "again: read /etc/x: Permission denied");
    assert_false(err_set(NULL, ERR_MISSING, "nobody listens"));
    for (int kind = ERR_NONE; kind <= ERR_SYSTEM; kind++)
        assert_true(strlen(err_kind_name((enum err_kind)kind)) > 3);
}

static void a_long_error_is_cut_not_overrun(void **state)
{
    (void)state;
    struct err err;
    char text[1000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    errno = ENOENT;
    err_errno(&err, "%s", text);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
}

static void time_is_text_in_utc(void **state)
{
    (void)state;
    char text[CLOCK_TEXT_SIZE];
    clock_text(text, INT64_C(1795371002123));
    assert_string_equal(text, "2026-11-22T18:10:02.123Z");
}

static char said[4][64];
static int said_count;

static void remember(enum log_level level, const char *text, size_t length)
{
    (void)level;
    snprintf(said[said_count++], sizeof *said, "%.*s", (int)length, text);
}

static void a_message_with_newlines_comes_line_by_line(void **state)
{
    (void)state;
    log_set_sink(remember);
    log_info("one\ntwo\n");
    log_debug("not said");
    log_set_sink(NULL);
    assert_int_equal(said_count, 2);
    assert_string_equal(said[0], "one");
    assert_string_equal(said[1], "two");
}

static void a_time_span_of_any_number_fits(void **state)
{
    (void)state;
    assert_int_equal(clock_span_ns(0.25), NS_PER_S / 4);
    assert_int_equal(clock_span_ns(-3), 0);
    assert_int_equal(clock_span_ns(NAN), 0);
    assert_int_equal(clock_span_ns(-INFINITY), 0);
    assert_true(clock_span_ns(INFINITY) > INT64_C(100) * 365 * 86400 * NS_PER_S);
    assert_true(clock_span_ns(1e300) == clock_span_ns(INFINITY));
    assert_true(clock_span_ns(INFINITY) <= INT64_MAX - clock_ns());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_buffer_never_passes_its_ceiling),
        cmocka_unit_test(a_buffer_formats),
        cmocka_unit_test(an_error_is_a_sentence_with_its_subject_and_a_kind),
        cmocka_unit_test(a_long_error_is_cut_not_overrun),
        cmocka_unit_test(time_is_text_in_utc),
        cmocka_unit_test(a_message_with_newlines_comes_line_by_line),
        cmocka_unit_test(a_time_span_of_any_number_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
