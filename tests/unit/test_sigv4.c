/* sigv4: what the vectors of AWS don't say: escaping twice, odd keys, refusals, the cache of keys, framing. */
#include "appliance/sigv4.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define WALL_MS INT64_C(1440938160000)

static const struct sigv4_credentials example = {{"AKIDEXAMPLE", 11}, {"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", 40}, {0}};
static const struct sigv4_credentials temporary = {{"ASIDEXAMPLE", 11}, {"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", 40}, {"to/ken==", 8}};
static const struct sigv4_scope s3 = {{"us-east-1", 9}, {"s3", 2}, SIGV4_S3}, sts = {{"eu-west-1", 9}, {"sts", 3}, SIGV4_GENERAL};

struct fixture {
    struct sigv4_keys keys;
    struct sigv4_result result;
    struct headers headers;
    struct sigv4_request request;
    struct err err;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    sigv4_result_init(&f->result);
    headers_init(&f->headers, 16 * 1024);
    f->request = (struct sigv4_request){.method = {"GET", 3}, .path = {"/", 1}, .host = {"b.example.com", 13}};
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    sigv4_result_free(&f->result);
    headers_free(&f->headers);
    free(f);
    return 0;
}

static bool sign(struct fixture *f, const struct sigv4_credentials *credentials, const struct sigv4_scope *scope)
{
    return sigv4_sign(&f->keys, credentials, scope, &f->request, WALL_MS, &f->headers, &f->result, &f->err);
}

static void assert_target(struct fixture *f, const char *target)
{
    if (!bytes_equal(buf_bytes(&f->result.target), bytes_of(target)))
        fail_msg("expected %s, got %.*s", target, (int)f->result.target.length, f->result.target.data);
}

/* The second line of the canonical request. */
static void assert_signed_path(struct fixture *f, const char *path)
{
    const char *start = memchr(f->result.canonical.data, '\n', f->result.canonical.length) + 1;
    size_t length = strcspn(start, "\n");
    if (length != strlen(path) || memcmp(start, path, length) != 0)
        fail_msg("expected %s, got %.*s", path, (int)length, start);
}

static void signs_the_keys_of_s3_as_they_are(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *path, *target;
    } cases[] = {
        {"/a//b", "/a//b"},
        {"//lead", "//lead"},
        {"/..", "/.."},
        {"/a/./b/../c", "/a/./b/../c"},
        {"/a+b*c=d@e:f", "/a%2Bb%2Ac%3Dd%40e%3Af"},
        {"/\xe1\x88\xb4 \x01\x7f", "/%E1%88%B4%20%01%7F"},
        {"/a%20b", "/a%2520b"},
        {"/~-._", "/~-._"},
        {"/trail/", "/trail/"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        f->request.path = bytes_of(cases[i].path);
        assert_true(sign(f, &example, &s3));
        assert_target(f, cases[i].target);
        assert_signed_path(f, cases[i].target);
    }
}

static void signs_other_paths_normalised_and_escaped_twice(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *path, *target, *is_signed;
    } cases[] = {
        {"/2013-04-01/hosted zone/", "/2013-04-01/hosted%20zone/", "/2013-04-01/hosted%2520zone/"},
        {"/a//b", "/a//b", "/a/b"},
        {"/a/../..", "/a/../..", "/"},
        {"/a/b/..", "/a/b/..", "/a/"},
        {"/a/b/.", "/a/b/.", "/a/b/"},
        {"/..a/b..", "/..a/b..", "/..a/b.."},
        {"//", "//", "/"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        f->request.path = bytes_of(cases[i].path);
        assert_true(sign(f, &example, &sts));
        assert_target(f, cases[i].target);
        assert_signed_path(f, cases[i].is_signed);
    }
}

/* The signatures that botocore 1.43 makes of these. */
static void agrees_with_botocore_on_escaping_twice(void **state)
{
    struct fixture *f = *state;
    static const char *const cases[][2] = {
        {"/2013-04-01/hosted zone/", "316759ab33482bf641e1b457d1b6c71fbfc7d65026e15da4b85e368734d60b2c"},
        {"/a+b", "5b6d7265afa8a85e459fb2fa51bb32f1f3171c9b9e13bf0c9270eb102bb6544d"},
        {"/a//b/../c", "5191171466c6480fd1e330405f498ac7b56db61ac02d30323462a45ec515f0b9"},
        {"/\xe1\x88\xb4", "b79865426dc7d48acdb59f5cd4e5fd2d21f30db6ee4b4d02cc498d4e2502783e"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        f->request.path = bytes_of(cases[i][0]);
        assert_true(sign(f, &example, &sts));
        assert_string_equal(f->result.signature, cases[i][1]);
    }
}

static void sorts_what_is_escaped(void **state)
{
    struct fixture *f = *state;
    const struct aws_pair query[] = {
        {bytes_of("b"), bytes_of("2")}, {bytes_of("b"), bytes_of("10")},        {bytes_of("a-"), bytes_of("x/y")},
        {bytes_of("a"), bytes_of("")},  {bytes_of("\xc3\xa4"), bytes_of("+ ")}, {bytes_of("A"), bytes_of("=&")},
        {bytes_of("b"), bytes_of("1")},
    };
    f->request.query = query;
    f->request.query_count = sizeof query / sizeof *query;
    assert_true(sign(f, &example, &s3));
    assert_target(f, "/?%C3%A4=%2B%20&A=%3D%26&a=&a-=x%2Fy&b=1&b=10&b=2");
}

static void sets_its_headers_anew_for_each_try(void **state)
{
    struct fixture *f = *state;
    headers_add_text(&f->headers, "Range", "bytes=0-9", NULL);
    headers_add_text(&f->headers, "User-Agent", "us", NULL);
    assert_true(sign(f, &temporary, &s3));
    assert_string_equal(headers_find(&f->headers, "x-amz-security-token"), "to/ken==");
    assert_int_equal(f->headers.count, 6);
    const char *names = strstr(headers_find(&f->headers, "authorization"), "SignedHeaders=");
    assert_memory_equal(names, "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date;x-amz-security-token,", 78);

    f->request.payload = SIGV4_PAYLOAD_UNSIGNED;
    assert_true(sign(f, &example, &s3));
    assert_int_equal(f->headers.count, 5);
    assert_null(headers_find(&f->headers, "x-amz-security-token"));
    assert_string_equal(headers_find(&f->headers, "x-amz-content-sha256"), "UNSIGNED-PAYLOAD");
    assert_string_equal(headers_find(&f->headers, "x-amz-date"), "20150830T123600Z");
    assert_true(sign(f, &example, &sts));
    assert_null(headers_find(&f->headers, "x-amz-content-sha256"));
}

static void presigns_with_the_token_inside_or_after(void **state)
{
    struct fixture *f = *state;
    f->request.payload = SIGV4_PAYLOAD_UNSIGNED;
    struct sigv4_scope after = s3;
    after.rules |= SIGV4_TOKEN_UNSIGNED;
    f->request.path = bytes_of("/a b");
    assert_true(sigv4_presign(&f->keys, &temporary, &s3, &f->request, WALL_MS, 60, NULL, &f->result, &f->err));
    const char *inside = "/a%20b?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=ASIDEXAMPLE%2F20150830%2Fus-east-1%2Fs3%2Faws4_request&"
                         "X-Amz-Date=20150830T123600Z&X-Amz-Expires=60&X-Amz-Security-Token=to%2Fken%3D%3D&X-Amz-SignedHeaders=host&"
                         "X-Amz-Signature=";
    assert_int_equal(f->result.target.length, strlen(inside) + 64);
    assert_memory_equal(f->result.target.data, inside, strlen(inside));
    assert_memory_equal(f->result.target.data + strlen(inside), f->result.signature, 64);
    assert_true(sigv4_presign(&f->keys, &temporary, &after, &f->request, WALL_MS, 60, NULL, &f->result, &f->err));
    const char *outside = "&X-Amz-SignedHeaders=host&X-Amz-Security-Token=to%2Fken%3D%3D&X-Amz-Signature=";
    assert_memory_equal(f->result.target.data + f->result.target.length - 64 - strlen(outside), outside, strlen(outside));
    assert_non_null(memmem(f->result.canonical.data, f->result.canonical.length, "\nUNSIGNED-PAYLOAD", 17));
}

static void refuses_what_cannot_be_signed(void **state)
{
    struct fixture *f = *state;
    const struct sigv4_request right = f->request;
    struct sigv4_scope scope = s3;
    struct sigv4_credentials credentials = example;

    f->request.host = bytes_of("");
    assert_false(sign(f, &example, &s3));
    assert_string_equal(f->err.text, "signature: the request has no host");
    f->request = right;
    f->request.method = bytes_of("get");
    assert_false(sign(f, &example, &s3));
    f->request = right;
    f->request.path = bytes_of("relative");
    assert_false(sign(f, &example, &s3));
    f->request = right;
    f->request.payload = SIGV4_PAYLOAD_HASHED;
    assert_false(sign(f, &example, &s3));
    f->request = right;
    scope.region = bytes_of("");
    assert_false(sign(f, &example, &scope));
    assert_string_equal(f->err.text, "signature: the region is empty, too long or has letters that no region has: set AWS_REGION");
    scope.region = bytes_of("a/b");
    assert_false(sign(f, &example, &scope));
    credentials.secret_key.length = 0;
    assert_false(sign(f, &credentials, &s3));
    credentials = example;
    credentials.access_key = bytes_of("A, B");
    assert_false(sign(f, &credentials, &s3));
    assert_int_equal(f->err.kind, ERR_INVALID);

    f->request.payload = SIGV4_PAYLOAD_UNSIGNED;
    assert_false(sigv4_presign(&f->keys, &example, &s3, &f->request, WALL_MS, 604801, NULL, &f->result, &f->err));
    assert_false(sigv4_presign(&f->keys, &example, &s3, &f->request, WALL_MS, 0, NULL, &f->result, &f->err));
    const struct aws_pair own = {bytes_of("x-amz-date"), bytes_of("1")};
    f->request.query = &own;
    f->request.query_count = 1;
    assert_false(sigv4_presign(&f->keys, &example, &s3, &f->request, WALL_MS, 60, NULL, &f->result, &f->err));
    assert_string_equal(f->err.text, "a presigned URL sets X-Amz-Date by itself: leave it out of the parameters");
    f->request = right;
    assert_false(sigv4_presign(&f->keys, &example, &s3, &f->request, WALL_MS, 60, NULL, &f->result, &f->err));
}

static void refuses_too_much_of_anything(void **state)
{
    struct fixture *f = *state;
    static char path[SIGV4_TEXT_LIMIT + 1], name[16];
    static struct aws_pair pairs[SIGV4_PAIRS_LIMIT + 1];
    memset(path, 'a', sizeof path);
    path[0] = '/';
    f->request.path = (struct bytes){path, sizeof path};
    assert_false(sign(f, &example, &s3));
    assert_int_equal(f->err.kind, ERR_INVALID);
    f->request.path = bytes_of("/");
    f->request.query = pairs;
    f->request.query_count = SIGV4_PAIRS_LIMIT + 1;
    assert_false(sign(f, &example, &s3));
    f->request.query_count = SIGV4_PAIRS_LIMIT;
    f->request.payload = SIGV4_PAYLOAD_UNSIGNED;
    assert_true(sigv4_presign(&f->keys, &temporary, &s3, &f->request, WALL_MS, 60, NULL, &f->result, &f->err));
    f->request.query_count = 0;
    for (int i = 0; i <= SIGV4_PAIRS_LIMIT; i++) {
        snprintf(name, sizeof name, "x-%d", i);
        assert_true(headers_add_text(&f->headers, name, "1", NULL));
    }
    assert_false(sign(f, &example, &s3));
    assert_string_equal(f->err.text, "signature: a request can't have more than 128 headers");
}

static void keeps_keys_and_forgets_them(void **state)
{
    struct fixture *f = *state;
    char first[SIGV4_HEX_SIZE], region[16];
    assert_true(sign(f, &example, &s3));
    memcpy(first, f->result.signature, sizeof first);
    assert_true(f->keys.entry[0].used);
    assert_true(sign(f, &temporary, &s3)); /* the same secret: the same key */
    assert_false(f->keys.entry[1].used);
    struct sigv4_credentials other = example;
    other.secret_key = bytes_of("another");
    assert_true(sign(f, &other, &s3));
    assert_true(f->keys.entry[1].used);
    assert_string_not_equal(f->result.signature, first);
    for (int i = 0; i < 2 * SIGV4_KEYS; i++) {
        snprintf(region, sizeof region, "region-%d", i);
        struct sigv4_scope scope = {bytes_of(region), bytes_of("s3"), SIGV4_S3};
        assert_true(sign(f, &example, &scope));
    }
    assert_true(sign(f, &example, &s3));
    assert_string_equal(f->result.signature, first);
    sigv4_keys_clear(&f->keys);
    static const struct sigv4_keys none;
    assert_memory_equal(&f->keys, &none, sizeof none);
    assert_true(sign(f, &example, &s3));
    assert_string_equal(f->result.signature, first);
}

static void frames_chunks_without_signatures(void **state)
{
    struct fixture *f = *state;
    struct sigv4_chunks chunks;
    struct buf out;
    buf_init(&out, 4096);
    f->request.payload = SIGV4_PAYLOAD_UNSIGNED_TRAILER;
    assert_true(sigv4_chunks_start(&chunks, &f->keys, &example, &s3, &f->request, &f->result, &f->err));
    assert_true(sigv4_chunks_head(&chunks, bytes_of("hello"), &out));
    assert_true(buf_text(&out, "hello\r\n"));
    assert_true(sigv4_chunks_finish(&chunks, bytes_of("x-amz-checksum-crc64nvme"), bytes_of("AAAAAAAAAAA="), &out));
    assert_true(bytes_equal(buf_bytes(&out), bytes_of("5\r\nhello\r\n0\r\nx-amz-checksum-crc64nvme:AAAAAAAAAAA=\r\n\r\n")));
    struct sigv4_framing framing = {SIGV4_PAYLOAD_UNSIGNED_TRAILER, 5, 8192, 24, 12};
    assert_int_equal(sigv4_framed_length(&framing), out.length);
    framing.chunk = 0;
    assert_int_equal(sigv4_framed_length(&framing), 0);
    framing = (struct sigv4_framing){SIGV4_PAYLOAD_CHUNKS, UINT64_MAX / 2, 1, 0, 0};
    assert_int_equal(sigv4_framed_length(&framing), 0);
    f->request.payload = SIGV4_PAYLOAD_UNSIGNED;
    assert_false(sigv4_chunks_start(&chunks, &f->keys, &example, &s3, &f->request, &f->result, &f->err));
    sigv4_chunks_end(&chunks);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(signs_the_keys_of_s3_as_they_are, set_up, tear_down),
        cmocka_unit_test_setup_teardown(signs_other_paths_normalised_and_escaped_twice, set_up, tear_down),
        cmocka_unit_test_setup_teardown(agrees_with_botocore_on_escaping_twice, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sorts_what_is_escaped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sets_its_headers_anew_for_each_try, set_up, tear_down),
        cmocka_unit_test_setup_teardown(presigns_with_the_token_inside_or_after, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_what_cannot_be_signed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_too_much_of_anything, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keeps_keys_and_forgets_them, set_up, tear_down),
        cmocka_unit_test_setup_teardown(frames_chunks_without_signatures, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("sigv4", tests, NULL, NULL);
}
