/* s3_sums: the checksum of an object that comes in any order, against those that S3 would have. */
#include "appliance/s3_parts.h"
#include "appliance/s3_sums.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SIZE = 5 * 1024 * 1024 + 4321 };
static char *object;

static int make(void **state)
{
    (void)state;
    object = malloc(SIZE);
    for (int i = 0; i < SIZE; i++)
        object[i] = (char)((unsigned)i * 7919 >> 7);
    return 0;
}

static int drop(void **state)
{
    (void)state;
    free(object);
    return 0;
}

static const char *sum_of(enum aws_checksum_kind kind, const char *data, size_t length)
{
    static char texts[4][AWS_CHECKSUM_TEXT_SIZE];
    static int next;
    char *text = texts[next++ % 4];
    assert_true(aws_checksum_of(kind, (struct bytes){data, length}, text, NULL));
    return text;
}

/* What S3 says of an object that was uploaded in parts of that length. */
static const char *composite(enum aws_checksum_kind kind, size_t part)
{
    static char text[AWS_CHECKSUM_TEXT_SIZE];
    struct aws_checksum all;
    unsigned char raw[AWS_CHECKSUM_RAW_SIZE];
    unsigned parts = 0;
    assert_true(aws_checksum_start(&all, kind, NULL));
    for (size_t at = 0; at < SIZE; at += part, parts++) {
        struct aws_checksum one;
        assert_true(aws_checksum_start(&one, kind, NULL));
        aws_checksum_add(&one, object + at, SIZE - at < part ? SIZE - at : part);
        size_t length = aws_checksum_finish(&one, raw);
        aws_checksum_add(&all, raw, length);
    }
    size_t length = aws_checksum_finish(&all, raw);
    aws_checksum_text(raw, length, parts, text);
    return text;
}

static void add(struct s3_sums *sums, int64_t start, int64_t end, size_t piece)
{
    for (int64_t at = start; at < end; at += (int64_t)piece)
        s3_sums_add(sums, at, object + at, end - at < (int64_t)piece ? (size_t)(end - at) : piece);
}

static const enum aws_checksum_kind cyclic[] = {AWS_CHECKSUM_CRC64NVME, AWS_CHECKSUM_CRC32C, AWS_CHECKSUM_CRC32};

static void joins_what_came_in_any_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct s3_sums sums;
        assert_true(s3_sums_start(&sums, cyclic[i], SIZE, NULL));
        add(&sums, 4 * S3_MIB, SIZE, 10007);
        add(&sums, 0, 2 * S3_MIB, 131072);
        add(&sums, 2 * S3_MIB, 4 * S3_MIB, 777777);
        char text[AWS_CHECKSUM_TEXT_SIZE];
        assert_true(s3_sums_text(&sums, text));
        assert_string_equal(text, sum_of(cyclic[i], object, SIZE));
        assert_int_equal(s3_sums_check(&sums, bytes_of(text), 0), S3_SUMS_SAME);
        assert_int_equal(s3_sums_check(&sums, bytes_of(sum_of(cyclic[i], object, SIZE - 1)), 0), S3_SUMS_DIFFERENT);
        assert_int_equal(s3_sums_check(&sums, bytes_of(""), 0), S3_SUMS_UNKNOWN);
        s3_sums_end(&sums);
    }
}

static void knows_the_checksum_of_parts_when_their_length_is_known(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct s3_sums sums;
        assert_true(s3_sums_start(&sums, cyclic[i], SIZE, NULL));
        add(&sums, 0, SIZE, 65536);
        assert_int_equal(s3_sums_check(&sums, bytes_of(composite(cyclic[i], 2 << 20)), 2 << 20), S3_SUMS_SAME);
        assert_int_equal(s3_sums_check(&sums, bytes_of(composite(cyclic[i], 5 << 20)), 5 << 20), S3_SUMS_SAME);
        assert_int_equal(s3_sums_check(&sums, bytes_of(composite(cyclic[i], 2 << 20)), 0), S3_SUMS_UNKNOWN);
        assert_int_equal(s3_sums_check(&sums, bytes_of(composite(cyclic[i], 2 << 20)), 1 << 20), S3_SUMS_UNKNOWN);
        assert_int_equal(s3_sums_check(&sums, bytes_of(composite(cyclic[i], 2000000)), 2000000), S3_SUMS_UNKNOWN);
        char wrong[AWS_CHECKSUM_TEXT_SIZE];
        snprintf(wrong, sizeof wrong, "%s-3", sum_of(cyclic[i], object, SIZE));
        assert_int_equal(s3_sums_check(&sums, bytes_of(wrong), 2 << 20), S3_SUMS_DIFFERENT);
        /* One part: its length is the object's. */
        assert_int_equal(s3_sums_check(&sums, bytes_of(composite(cyclic[i], SIZE)), 0), S3_SUMS_SAME);
        s3_sums_end(&sums);
    }
}

static void forgets_what_will_come_again(void **state)
{
    (void)state;
    struct s3_sums sums;
    assert_true(s3_sums_start(&sums, AWS_CHECKSUM_CRC64NVME, SIZE, NULL));
    add(&sums, 0, SIZE, 65536);
    s3_sums_forget(&sums, 1 << 20, SIZE);
    add(&sums, 1 << 20, SIZE, 65537);
    char text[AWS_CHECKSUM_TEXT_SIZE];
    assert_true(s3_sums_text(&sums, text));
    assert_string_equal(text, sum_of(AWS_CHECKSUM_CRC64NVME, object, SIZE));
    s3_sums_end(&sums);
}

static void takes_a_sha_only_in_order(void **state)
{
    (void)state;
    struct s3_sums sums;
    assert_true(s3_sums_start(&sums, AWS_CHECKSUM_SHA256, SIZE, NULL));
    add(&sums, 0, SIZE, 65536);
    assert_int_equal(s3_sums_check(&sums, bytes_of(sum_of(AWS_CHECKSUM_SHA256, object, SIZE)), 0), S3_SUMS_SAME);
    s3_sums_end(&sums);
    assert_true(s3_sums_start(&sums, AWS_CHECKSUM_SHA256, SIZE, NULL));
    add(&sums, 0, SIZE, 65536);
    assert_int_equal(s3_sums_check(&sums, bytes_of(composite(AWS_CHECKSUM_SHA256, SIZE)), 0), S3_SUMS_SAME);
    s3_sums_end(&sums);
    assert_true(s3_sums_start(&sums, AWS_CHECKSUM_SHA256, SIZE, NULL));
    add(&sums, 1 << 20, SIZE, 65536);
    add(&sums, 0, 1 << 20, 65536);
    assert_int_equal(s3_sums_check(&sums, bytes_of(sum_of(AWS_CHECKSUM_SHA256, object, SIZE)), 0), S3_SUMS_UNKNOWN);
    s3_sums_end(&sums);
}

static void takes_a_sha_of_bytes_that_are_given_again(void **state)
{
    (void)state;
    static const enum aws_checksum_kind kinds[] = {AWS_CHECKSUM_SHA256, AWS_CHECKSUM_SHA1};
    static const int64_t lengths[] = {0, 2 << 20, 2000000, SIZE}; /* of the parts; 0: none */
    for (size_t i = 0; i < 8; i++) {
        enum aws_checksum_kind kind = kinds[i % 2];
        int64_t part = lengths[i / 2];
        struct bytes said = bytes_of(part ? composite(kind, (size_t)part) : sum_of(kind, object, SIZE));
        struct s3_sums sums;
        assert_true(s3_sums_start(&sums, kind, SIZE, NULL));
        add(&sums, 1 << 20, SIZE, 65536);
        add(&sums, 0, 1 << 20, 65536);
        assert_true(s3_sums_again(&sums, said, part));
        add(&sums, 0, SIZE, 77777);
        assert_int_equal(s3_sums_check(&sums, said, part), S3_SUMS_SAME);
        assert_true(s3_sums_again(&sums, said, part));
        add(&sums, 0, SIZE - 1, 77777);
        s3_sums_add(&sums, SIZE - 1, "?", 1);
        assert_int_equal(s3_sums_check(&sums, said, part), S3_SUMS_DIFFERENT);
        /* Not all of it, or not in order. */
        assert_true(s3_sums_again(&sums, said, part));
        add(&sums, 0, SIZE - 1, 77777);
        assert_int_equal(s3_sums_check(&sums, said, part), S3_SUMS_UNKNOWN);
        assert_true(s3_sums_again(&sums, said, part));
        add(&sums, 1, SIZE, 77777);
        assert_int_equal(s3_sums_check(&sums, said, part), S3_SUMS_UNKNOWN);
        s3_sums_end(&sums);
    }
}

static void asks_for_bytes_again_only_where_that_tells_more(void **state)
{
    (void)state;
    struct s3_sums sums;
    assert_true(s3_sums_start(&sums, AWS_CHECKSUM_SHA256, SIZE, NULL));
    add(&sums, 0, SIZE, 65536);
    assert_false(s3_sums_again(&sums, bytes_of(sum_of(AWS_CHECKSUM_SHA256, object, SIZE)), 0));
    assert_false(s3_sums_again(&sums, bytes_of(composite(AWS_CHECKSUM_SHA256, SIZE)), 0));
    assert_false(s3_sums_again(&sums, bytes_of(composite(AWS_CHECKSUM_SHA256, 2 << 20)), 0));
    assert_false(s3_sums_again(&sums, bytes_of(composite(AWS_CHECKSUM_SHA256, 2 << 20)), 1 << 20));
    assert_false(s3_sums_again(&sums, bytes_of(""), 0));
    assert_int_equal(s3_sums_check(&sums, bytes_of(sum_of(AWS_CHECKSUM_SHA256, object, SIZE)), 0), S3_SUMS_SAME);
    s3_sums_end(&sums);
    assert_true(s3_sums_start(&sums, AWS_CHECKSUM_CRC32, SIZE, NULL));
    assert_false(s3_sums_again(&sums, bytes_of(composite(AWS_CHECKSUM_CRC32, 2 << 20)), 2 << 20));
    s3_sums_end(&sums);
    struct s3_sums none = {0};
    assert_false(s3_sums_again(&none, bytes_of("AAAA"), 0));
}

static void takes_anything_and_knows_nothing_without_a_kind(void **state)
{
    (void)state;
    struct s3_sums sums = {0};
    char text[AWS_CHECKSUM_TEXT_SIZE];
    s3_sums_add(&sums, 5, object, 100);
    assert_false(s3_sums_text(&sums, text));
    s3_sums_end(&sums);
    assert_true(s3_sums_start(&sums, AWS_CHECKSUM_NONE, SIZE, NULL));
    s3_sums_add(&sums, 0, object, SIZE);
    assert_int_equal(s3_sums_check(&sums, bytes_of("AAAAAAAAAAA="), 0), S3_SUMS_UNKNOWN);
    s3_sums_end(&sums);
}

static void knows_an_empty_object_too(void **state)
{
    (void)state;
    struct s3_sums sums;
    assert_true(s3_sums_start(&sums, AWS_CHECKSUM_CRC64NVME, 0, NULL));
    assert_int_equal(s3_sums_check(&sums, bytes_of("AAAAAAAAAAA="), 0), S3_SUMS_SAME);
    s3_sums_end(&sums);
}

static void bounds_its_memory(void **state)
{
    (void)state;
    struct s3_sums sums;
    assert_true(s3_sums_start(&sums, AWS_CHECKSUM_CRC32, S3_OBJECT_MOST, NULL));
    assert_true(sums.count <= S3_SUMS_GRID);
    struct s3_spans spans;
    s3_spans_start(&spans, 0, S3_OBJECT_MOST, 0, 16);
    assert_int_equal(spans.part % sums.grain, 0);
    s3_sums_end(&sums);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(joins_what_came_in_any_order),
        cmocka_unit_test(knows_the_checksum_of_parts_when_their_length_is_known),
        cmocka_unit_test(forgets_what_will_come_again),
        cmocka_unit_test(takes_a_sha_only_in_order),
        cmocka_unit_test(takes_a_sha_of_bytes_that_are_given_again),
        cmocka_unit_test(asks_for_bytes_again_only_where_that_tells_more),
        cmocka_unit_test(takes_anything_and_knows_nothing_without_a_kind),
        cmocka_unit_test(knows_an_empty_object_too),
        cmocka_unit_test(bounds_its_memory),
    };
    return cmocka_run_group_tests(tests, make, drop);
}
