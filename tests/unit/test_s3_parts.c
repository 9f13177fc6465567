/* s3_parts: how objects are cut up. The limits are S3's: parts of 5 MiB to 5 GiB, 10,000 of them. */
#include "appliance/s3_parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GIB (1024 * S3_MIB)
#define TIB (1024 * GIB)

static struct s3_put_plan plan(int64_t size)
{
    struct s3_put_plan made;
    struct err err;
    if (!s3_plan_put(size, 0, &made, &err))
        fail_msg("%s", err.text);
    return made;
}

static void sends_small_ones_in_one_piece(void **state)
{
    (void)state;
    assert_int_equal(plan(0).parts, 1);
    assert_int_equal(plan(1).parts, 1);
    assert_int_equal(plan(S3_ONE_PIECE).parts, 1);
    assert_int_equal(plan(S3_ONE_PIECE).connections, 1);
    assert_int_equal(plan(S3_ONE_PIECE + 1).parts, 4);
}

static void keeps_every_upload_within_the_limits_of_s3(void **state)
{
    (void)state;
    static const int64_t sizes[] = {S3_ONE_PIECE + 1,   40 * S3_MIB,    80 * S3_MIB + 1,    128 * S3_MIB, GIB,
                                    GIB + 12345,        80000 * S3_MIB, 80000 * S3_MIB + 1, TIB,          5 * TIB,
                                    S3_OBJECT_MOST - 1, S3_OBJECT_MOST};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct s3_put_plan p = plan(sizes[i]);
        assert_in_range(p.part, S3_PART_LEAST, S3_PART_MOST);
        assert_int_equal(p.part % S3_MIB, 0);
        assert_in_range(p.parts, 2, S3_PARTS_MOST);
        assert_true((p.parts - 1) * p.part < sizes[i] && sizes[i] <= p.parts * p.part);
        assert_in_range(p.connections, 1, S3_CONNECTIONS);
        assert_true(p.connections <= p.parts);
    }
    assert_int_equal(plan(GIB).part, 16 * S3_MIB);
    assert_int_equal(plan(300 * S3_MIB).part, 10 * S3_MIB);
    assert_int_equal(plan(GIB).connections, 16);
    assert_int_equal(plan(S3_OBJECT_MOST).part, S3_PART_MOST);
}

static void refuses_what_s3_would_refuse_at_the_very_end(void **state)
{
    (void)state;
    struct s3_put_plan made;
    struct err err;
    assert_false(s3_plan_put(S3_OBJECT_MOST + 1, 0, &made, &err));
    assert_non_null(strstr(err.text, "48.8 TiB"));
    assert_false(s3_plan_put(GIB, S3_PART_LEAST - 1, &made, &err));
    assert_false(s3_plan_put(GIB, S3_PART_MOST + 1, &made, &err));
    assert_false(s3_plan_put(TIB, S3_PART_USUAL, &made, &err));
    assert_non_null(strstr(err.text, "105 MiB or more"));
    assert_true(s3_plan_put(TIB, 105 * S3_MIB, &made, &err));
}

static void obeys_a_part_length_that_is_given(void **state)
{
    (void)state;
    struct s3_put_plan made;
    assert_true(s3_plan_put(12 * S3_MIB, 5 * S3_MIB, &made, NULL));
    assert_int_equal(made.parts, 3);
    assert_true(s3_plan_put(4 * S3_MIB, 5 * S3_MIB, &made, NULL));
    assert_int_equal(made.parts, 1);
}

static void states_how_much_can_come_through_a_pipe(void **state)
{
    (void)state;
    int64_t all = 0, before = 0;
    for (int number = 1; number <= S3_PARTS_MOST; number++) {
        int64_t part = s3_pipe_part(number, 0);
        assert_in_range(part, S3_PART_LEAST, S3_MEMORY);
        assert_true(part >= before);
        before = part;
        all += part;
    }
    assert_int_equal(all, S3_PIPE_MOST);
    assert_int_equal(s3_pipe_part(S3_PARTS_MOST, S3_PIPE_EXPECTED_MOST) * S3_PARTS_MOST, S3_PIPE_EXPECTED_MOST);
}

static void takes_the_shortest_parts_that_reach_what_is_expected(void **state)
{
    (void)state;
    assert_int_equal(s3_pipe_part(1, 1), S3_MEMORY / 8);
    assert_int_equal(s3_pipe_part(9999, 40 * GIB), S3_MEMORY / 8);
    for (int64_t expected = GIB; expected < 360 * GIB; expected += 13 * GIB) {
        assert_true(s3_pipe_part(1, expected) * S3_PARTS_MOST >= expected);
        assert_int_equal(s3_pipe_part(1, expected), s3_pipe_part(S3_PARTS_MOST, expected));
    }
}

/* --- downloads --- */

/* That lead and spans cover everything once, the lead going on by `pace` bytes between two spans that others take. Returns the spans. */
static int cover(int64_t start, int64_t end, int64_t part, int connections, int64_t pace)
{
    struct s3_spans spans;
    struct s3_span span;
    s3_spans_start(&spans, start, end, part, connections);
    assert_int_equal(spans.next, spans.lead_end);
    int64_t lead_at = start, taken = 0;
    int count = 0;
    while (s3_spans_take(&spans, lead_at, &span)) {
        assert_true(span.start < span.end && span.end <= end);
        assert_true(span.end - span.start <= spans.part);
        assert_true(span.start >= spans.lead_end && span.start > lead_at);
        assert_int_equal((span.start - start) % spans.part, 0);
        taken += span.end - span.start;
        count++;
        lead_at = lead_at + pace < spans.lead_end ? lead_at + pace : spans.lead_end;
    }
    assert_int_equal(spans.next, end);
    assert_int_equal(spans.lead_end - start + taken, end - start);
    return count;
}

static void leaves_small_objects_to_one_request(void **state)
{
    (void)state;
    assert_int_equal(cover(0, 0, 0, 16, 1), 0);
    assert_int_equal(cover(0, 1, 0, 16, 1), 0);
    assert_int_equal(cover(0, S3_LONE_GET, 0, 16, 1), 0);
    assert_int_equal(cover(0, 100 * GIB, 0, 1, 1), 0);
    assert_in_range(cover(0, S3_LONE_GET + 1, 0, 16, 1), 1, 3);
}

static void covers_everything_exactly_once(void **state)
{
    (void)state;
    static const int64_t sizes[] = {5 * S3_MIB, 16 * S3_MIB, 100 * S3_MIB + 7, GIB, 5 * GIB + 1};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int connections = 2; connections <= 16; connections += 7)
            for (int64_t pace = 0; pace <= 16 * S3_MIB; pace += 4 * S3_MIB) {
                cover(0, sizes[i], 0, connections, pace);
                cover(12345, 12345 + sizes[i], 0, connections, pace);
                cover(0, sizes[i], 3 * S3_MIB, connections, pace);
            }
}

static void takes_from_the_lead_until_it_is_nearly_done(void **state)
{
    (void)state;
    struct s3_spans spans;
    struct s3_span span;
    s3_spans_start(&spans, 0, GIB, 0, 16);
    assert_int_equal(spans.part, S3_PART_USUAL);
    assert_int_equal(spans.lead_end, 80 * S3_MIB);
    while (spans.next < GIB)
        assert_true(s3_spans_take(&spans, 0, &span));
    assert_true(s3_spans_take(&spans, 40 * S3_MIB, &span));
    assert_int_equal(span.start, 72 * S3_MIB);
    assert_int_equal(spans.lead_end, 72 * S3_MIB);
    assert_false(s3_spans_take(&spans, 56 * S3_MIB, &span));
}

static void bounds_the_number_of_spans(void **state)
{
    (void)state;
    struct s3_spans spans;
    s3_spans_start(&spans, 0, S3_OBJECT_MOST, 0, 16);
    assert_true(S3_OBJECT_MOST / spans.part <= 65536);
    assert_int_equal(spans.part % S3_PART_USUAL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sends_small_ones_in_one_piece),
        cmocka_unit_test(keeps_every_upload_within_the_limits_of_s3),
        cmocka_unit_test(refuses_what_s3_would_refuse_at_the_very_end),
        cmocka_unit_test(obeys_a_part_length_that_is_given),
        cmocka_unit_test(states_how_much_can_come_through_a_pipe),
        cmocka_unit_test(takes_the_shortest_parts_that_reach_what_is_expected),
        cmocka_unit_test(leaves_small_objects_to_one_request),
        cmocka_unit_test(covers_everything_exactly_once),
        cmocka_unit_test(takes_from_the_lead_until_it_is_nearly_done),
        cmocka_unit_test(bounds_the_number_of_spans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
