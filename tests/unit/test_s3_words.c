/* What requests and answers of transfers say: Content-Range, the headers that go with each request of an upload, its XML, and the checksum of
 * the whole from those of its parts. */
#include "../../src/net/s3_get_inner.h"
#include "../../src/net/s3_put_inner.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void reads_a_content_range(void **state)
{
    (void)state;
    int64_t first = 0, size = 0;
    assert_true(s3_content_range("bytes 0-0/1", &first, &size));
    assert_true(s3_content_range("bytes 100-199/1000", &first, &size));
    assert_int_equal(first, 100);
    assert_int_equal(size, 1000);
    assert_true(s3_content_range("bytes 0-9/*", &first, &size));
    assert_int_equal(size, -1);
    static const char *const wrong[] = {"",          "bytes",        "bytes */10",   "bytes 5-4/10", "bytes 0-10/10",
                                        "bytes 0-9", "bytes -1-9/9", "items 0-9/10", "bytes 0-9/1x", "bytes 0-9/"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (s3_content_range(wrong[i], &first, &size))
            fail_msg("took %s", wrong[i]);
    assert_false(s3_content_range(NULL, &first, &size));
}

static const char *names_for(enum s3_put_use use)
{
    static char names[600];
    static const char *const all[] = {"Content-Type",
                                      "Content-MD5",
                                      "If-None-Match",
                                      "x-amz-meta-a",
                                      "x-amz-checksum-crc32",
                                      "x-amz-server-side-encryption",
                                      "x-amz-server-side-encryption-customer-key",
                                      "x-amz-expected-bucket-owner"};
    struct headers of_object, headers = {0};
    headers_init(&of_object, 4096);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        assert_true(headers_add_text(&of_object, all[i], "v", NULL));
    assert_true(s3_put_headers(&headers, &of_object, use, NULL));
    const char *name, *value;
    *names = 0;
    for (size_t at = 0; headers_next(&headers, &at, &name, &value);)
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s ", name);
    headers_free(&headers);
    headers_free(&of_object);
    return names;
}

static void gives_each_request_the_headers_it_may_have(void **state)
{
    (void)state;
    assert_string_equal(names_for(S3_FOR_CREATE), "Content-Type x-amz-meta-a x-amz-server-side-encryption "
                                                  "x-amz-server-side-encryption-customer-key x-amz-expected-bucket-owner ");
    assert_string_equal(names_for(S3_FOR_PART), "x-amz-server-side-encryption-customer-key x-amz-expected-bucket-owner ");
    assert_string_equal(names_for(S3_FOR_COMPLETE), "If-None-Match x-amz-server-side-encryption-customer-key x-amz-expected-bucket-owner ");
    assert_string_equal(names_for(S3_FOR_ABORT), "x-amz-expected-bucket-owner ");
}

static void lists_the_parts(void **state)
{
    (void)state;
    char one[] = "\"a&b\"", two[] = "\"c\"";
    struct s3_stored stored[] = {{.etag = one, .checksum = "AAAAAA=="}, {.etag = two}};
    struct buf out;
    buf_init(&out, 4096);
    assert_true(s3_put_complete_xml(&out, stored, 2, AWS_CHECKSUM_CRC32, NULL));
    buf_append(&out, "", 1);
    assert_non_null(strstr(out.data, "<Part><PartNumber>1</PartNumber><ETag>"));
    assert_non_null(strstr(out.data, "a&amp;b"));
    assert_non_null(strstr(out.data, "<ChecksumCRC32>AAAAAA==</ChecksumCRC32></Part>"));
    assert_non_null(strstr(out.data, "</ETag></Part></CompleteMultipartUpload>"));
    buf_free(&out);
    buf_init(&out, 100);
    assert_false(s3_put_complete_xml(&out, stored, 2, AWS_CHECKSUM_CRC32, NULL));
    buf_free(&out);
}

static void finds_a_text_in_an_answer(void **state)
{
    (void)state;
    char text[16];
    struct bytes kept_alive = bytes_of(" \n\r\n <R xmlns=\"x\"><A/><UploadId>a&amp;b</UploadId></R>");
    assert_true(s3_put_xml_text(kept_alive, "UploadId", text, sizeof text, NULL));
    assert_string_equal(text, "a&b");
    assert_true(s3_put_xml_text(bytes_of("<R><UploadId/></R>"), "UploadId", text, sizeof text, NULL));
    assert_string_equal(text, "");
    assert_false(s3_put_xml_text(bytes_of("<R><UploadId>0123456789012345</UploadId></R>"), "UploadId", text, sizeof text, NULL));
    assert_false(s3_put_xml_text(bytes_of("not xml"), "UploadId", text, sizeof text, NULL));
    assert_false(s3_put_xml_text(bytes_of(""), "UploadId", text, sizeof text, NULL));
}

static void joins_the_checksums_of_parts(void **state)
{
    (void)state;
    enum { PARTS = 5, PART = 1000, LENGTH = PARTS * PART - 300 };
    char data[LENGTH], whole[AWS_CHECKSUM_TEXT_SIZE], joined[AWS_CHECKSUM_TEXT_SIZE];
    for (int i = 0; i < LENGTH; i++)
        data[i] = (char)(i * 31 >> 2);
    static const enum aws_checksum_kind kinds[] = {AWS_CHECKSUM_CRC64NVME, AWS_CHECKSUM_CRC32C, AWS_CHECKSUM_CRC32};
    for (int k = 0; k < 3; k++) {
        struct s3_stored stored[PARTS] = {{0}};
        for (int i = 0; i < PARTS; i++) {
            stored[i].length = i < PARTS - 1 ? PART : PART - 300;
            struct bytes part = {data + i * PART, (size_t)stored[i].length};
            assert_true(aws_checksum_of(kinds[k], part, stored[i].checksum, NULL));
        }
        assert_true(aws_checksum_of(kinds[k], (struct bytes){data, LENGTH}, whole, NULL));
        assert_true(s3_put_join(stored, PARTS, kinds[k], joined));
        assert_string_equal(joined, whole);
        *stored[2].checksum = 0; /* one went without */
        assert_false(s3_put_join(stored, PARTS, kinds[k], joined));
        strcpy(stored[2].checksum, "?");
        assert_false(s3_put_join(stored, PARTS, kinds[k], joined));
    }
    assert_false(s3_put_join(NULL, 0, AWS_CHECKSUM_SHA256, joined));
    assert_false(s3_put_join(NULL, 0, AWS_CHECKSUM_NONE, joined));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_content_range),
        cmocka_unit_test(gives_each_request_the_headers_it_may_have),
        cmocka_unit_test(lists_the_parts),
        cmocka_unit_test(finds_a_text_in_an_answer),
        cmocka_unit_test(joins_the_checksums_of_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
