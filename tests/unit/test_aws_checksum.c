/* aws_checksum: what S3 would say of the same bytes. Its hashes are those that openssl writes. */
#include "appliance/aws_checksum.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct {
    enum aws_checksum_kind kind;
    const char *name, *header, *text; /* of 123456789 */
} cases[] = {
    {AWS_CHECKSUM_CRC64NVME, "CRC64NVME", "x-amz-checksum-crc64nvme", "rosUhgp5mIg="},
    {AWS_CHECKSUM_CRC32C, "CRC32C", "x-amz-checksum-crc32c", "4waSgw=="},
    {AWS_CHECKSUM_CRC32, "CRC32", "x-amz-checksum-crc32", "y/Q5Jg=="},
    {AWS_CHECKSUM_SHA256, "SHA256", "x-amz-checksum-sha256", "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="},
    {AWS_CHECKSUM_SHA1, "SHA1", "x-amz-checksum-sha1", "98O8HYCOBHMq32eZZczDTKeuNEE="},
    {AWS_CHECKSUM_MD5, "MD5", "Content-MD5", "JfnnlDI7RTiF9RgfG2JNCw=="},
};
enum { CASES = sizeof cases / sizeof *cases };

static void says_what_s3_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < CASES; i++) {
        char text[AWS_CHECKSUM_TEXT_SIZE];
        assert_true(aws_checksum_of(cases[i].kind, bytes_of("123456789"), text, NULL));
        assert_string_equal(text, cases[i].text);

        struct aws_checksum sum;
        unsigned char raw[AWS_CHECKSUM_RAW_SIZE];
        assert_true(aws_checksum_start(&sum, cases[i].kind, NULL));
        assert_true(aws_checksum_add(&sum, "1234", 4) && aws_checksum_add(&sum, "", 0) && aws_checksum_add(&sum, "56789", 5));
        assert_int_equal(sum.length, 9);
        size_t length = aws_checksum_finish(&sum, raw);
        aws_checksum_end(&sum);
        assert_int_equal(aws_checksum_compare(bytes_of(text), raw, length), AWS_CHECKSUM_SAME);
        assert_int_equal(aws_checksum_compare(bytes_of(""), raw, length), AWS_CHECKSUM_DIFFERENT);
        assert_int_equal(aws_checksum_compare(bytes_of("AAAA"), raw, length), AWS_CHECKSUM_DIFFERENT);
        aws_checksum_text(raw, length, 10000, text);
        assert_memory_equal(text + strlen(text) - 6, "-10000", 7);
        assert_int_equal(aws_checksum_compare(bytes_of(text), raw, length), AWS_CHECKSUM_OF_PARTS);
    }
}

/* The trailer of the S3 reference's example with chunks. */
static void agrees_with_the_example_of_s3(void **state)
{
    (void)state;
    static char letters[66560];
    char text[AWS_CHECKSUM_TEXT_SIZE];
    memset(letters, 'a', sizeof letters);
    assert_true(aws_checksum_of(AWS_CHECKSUM_CRC32C, (struct bytes){letters, sizeof letters}, text, NULL));
    assert_string_equal(text, "sOO8/Q==");
}

static void has_names_and_headers(void **state)
{
    (void)state;
    for (size_t i = 0; i < CASES; i++) {
        assert_string_equal(aws_checksum_name(cases[i].kind), cases[i].name);
        assert_string_equal(aws_checksum_header(cases[i].kind), cases[i].header);
        assert_int_equal(aws_checksum_kind_of(bytes_of(cases[i].name)), cases[i].kind);
        assert_int_equal(aws_checksum_kind_of(bytes_of(cases[i].header)), cases[i].kind);
    }
    assert_int_equal(aws_checksum_kind_of(bytes_of("X-Amz-Checksum-CRC64NVME")), AWS_CHECKSUM_CRC64NVME);
    assert_int_equal(aws_checksum_kind_of(bytes_of("x-amz-checksum-type")), AWS_CHECKSUM_NONE);
    assert_int_equal(aws_checksum_kind_of(bytes_of("")), AWS_CHECKSUM_NONE);
    assert_null(aws_checksum_name(AWS_CHECKSUM_NONE));
}

static void joins_neighbours(void **state)
{
    (void)state;
    for (size_t i = 0; i < CASES; i++) {
        struct aws_checksum first, second;
        unsigned char raw[AWS_CHECKSUM_RAW_SIZE];
        assert_true(aws_checksum_start(&first, cases[i].kind, NULL) && aws_checksum_start(&second, cases[i].kind, NULL));
        assert_true(aws_checksum_add(&first, "12345", 5) && aws_checksum_add(&second, "6789", 4));
        bool cyclic = cases[i].kind <= AWS_CHECKSUM_CRC32;
        assert_true(aws_checksum_join(&first, &second) == cyclic);
        size_t length = aws_checksum_finish(&first, raw);
        if (cyclic)
            assert_int_equal(aws_checksum_compare(bytes_of(cases[i].text), raw, length), AWS_CHECKSUM_SAME);
        aws_checksum_end(&second);
    }
}

static void does_nothing_when_none_is_wanted(void **state)
{
    (void)state;
    struct aws_checksum sum;
    unsigned char raw[AWS_CHECKSUM_RAW_SIZE];
    assert_true(aws_checksum_start(&sum, AWS_CHECKSUM_NONE, NULL));
    assert_true(aws_checksum_add(&sum, "1", 1));
    assert_int_equal(aws_checksum_finish(&sum, raw), 0);
}

static void writes_base64_within_its_room(void **state)
{
    (void)state;
    static const char *const texts[][2] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foobar", "Zm9vYmFy"}};
    struct buf out;
    buf_init(&out, 16);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        buf_clear(&out);
        assert_true(aws_base64(&out, bytes_of(texts[i][0])));
        assert_true(bytes_equal(buf_bytes(&out), bytes_of(texts[i][1])));
    }
    assert_false(aws_base64(&out, bytes_of("0123456789")));
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_s3_says),
        cmocka_unit_test(agrees_with_the_example_of_s3),
        cmocka_unit_test(has_names_and_headers),
        cmocka_unit_test(joins_neighbours),
        cmocka_unit_test(does_nothing_when_none_is_wanted),
        cmocka_unit_test(writes_base64_within_its_room),
    };
    return cmocka_run_group_tests_name("aws_checksum", tests, NULL, NULL);
}
