/* Errors of AWS as names, kinds and sentences, whatever form they come in. */
#include "appliance/aws_fault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
/* cmocka.h wants these before it */
#include <cmocka.h>

static struct aws_fault fault;

static void read_fault(int status, const char *header, const char *body)
{
    struct headers headers;
    headers_init(&headers, 4000);
    if (header)
        headers_add_text(&headers, "x-amzn-ErrorType", header, NULL);
    headers_add_text(&headers, "x-amz-request-id", "ID1", NULL);
    aws_fault_read(&fault, status, &headers, bytes_of(body));
    headers_free(&headers);
}

static void assert_fault(int status, const char *header, const char *body, const char *name, const char *message)
{
    read_fault(status, header, body);
    assert_string_equal(fault.name, name);
    assert_string_equal(fault.message, message);
    assert_string_equal(fault.request_id, "ID1");
}

static void test_reads_every_form(void **unused)
{
    (void)unused;
    assert_fault(404, NULL, "<?xml version='1.0'?><Error><Code>NoSuchKey</Code><Message>Not &lt;here&gt;</Message><Key>k</Key></Error>",
                 "NoSuchKey", "Not <here>");
    assert_true(fault.told);
    assert_fault(400, NULL,
                 " \n<ErrorResponse xmlns='x'><Error><Type>Sender</Type><Code>ValidationError</Code><Message>m</Message></Error>"
                 "<RequestId>ID2</RequestId></ErrorResponse>",
                 "ValidationError", "m");
    assert_fault(
        401, NULL,
        "<Response><Errors><Error><Code>AuthFailure</Code><Message>m</Message></Error></Errors><RequestID>x</RequestID></Response>",
        "AuthFailure", "m");
    assert_fault(400, NULL, "{\"__type\": \"com.amazon#ThrottlingException\", \"message\": \"slow\"}", "ThrottlingException", "slow");
    assert_fault(400, NULL, "{\"code\": \"X\", \"Message\": \"big\"}", "X", "big");
    assert_fault(400, "Odd:http://x", "{}", "Odd", "");
    read_fault(400, NULL, "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>");
    assert_string_equal(fault.region, "eu-west-1");
    read_fault(400, NULL, "<Error><Code>AuthorizationHeaderMalformed</Code><Region>evil/../x</Region></Error>");
    assert_string_equal(fault.region, "");
}

static void test_takes_what_is_no_error_document(void **unused)
{
    (void)unused;
    assert_fault(502, NULL, "<html><body><hr>nginx</body>", "BadGateway", "");
    assert_false(fault.told);
    assert_fault(503, NULL, "", "ServiceUnavailable", "");
    assert_fault(418, NULL, "I am a teapot", "", "");
    assert_fault(500, NULL, "<Error><Code>bad name <b/></Code></Error>", "InternalServerError", "");
    assert_fault(500, NULL, "<!DOCTYPE x [<!ENTITY a 'b'>]><Error><Code>&a;</Code></Error>", "InternalServerError", "");
    assert_fault(500, NULL, "{\"__type\": 7}", "InternalServerError", "");
    assert_fault(500, NULL, "{", "InternalServerError", "");
    aws_fault_read(&fault, 404, NULL, (struct bytes){NULL, 0});
    assert_string_equal(fault.name, "NotFound");
    size_t size = AWS_FAULT_LIMIT + 10;
    char *large = malloc(size);
    memset(large, ' ', size);
    aws_fault_read(&fault, 404, NULL, (struct bytes){large, size});
    memset(large, '<', size);
    aws_fault_read(&fault, 404, NULL, (struct bytes){large, size});
    free(large);
}

static void test_shows_nothing_unprintable_and_not_too_much(void **unused)
{
    (void)unused;
    static char body[3000];
    memcpy(body, "<Error><Message>a\tb\xc3\xa4", 21);
    memset(body + 21, 'x', 2000);
    strcat(body, "</Message></Error>");
    read_fault(400, NULL, body);
    assert_int_equal(strlen(fault.message), AWS_MESSAGE_SIZE - 1);
    assert_memory_equal(fault.message, "a?b??xxx", 8);
}

static void test_looks_inside_a_200(void **unused)
{
    (void)unused;
    static const struct {
        const char *body;
        enum aws_inside inside;
    } cases[] = {
        {"<CopyObjectResult/>", AWS_INSIDE_FINE},
        {"  \r\n<?xml version='1.0'?>\n<CompleteMultipartUploadResult>", AWS_INSIDE_FINE},
        {"<Error><Code>x</Code></Error>", AWS_INSIDE_FAULT},
        {"   \n<?xml version='1.0'?>\n  <Error xmlns=''><Code>x</Code></Error>", AWS_INSIDE_FAULT},
        {"<Errors/>", AWS_INSIDE_FINE},
        {"", AWS_INSIDE_NOTHING},
        {" \n  \t", AWS_INSIDE_NOTHING},
        {" <?xml version='1.0'?>", AWS_INSIDE_NOTHING},
        {" <?xml version=", AWS_INSIDE_NOTHING},
        {"<Error", AWS_INSIDE_FINE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (aws_fault_inside(bytes_of(cases[i].body)) != cases[i].inside)
            fail_msg("%s", cases[i].body);
    assert_int_equal(aws_fault_status("AccessDenied"), 403);
    assert_int_equal(aws_fault_status("SomethingNew"), 500);
}

static void test_sorts_errors(void **unused)
{
    (void)unused;
    static const struct {
        int status;
        const char *name;
        enum aws_class class;
        enum err_kind kind;
    } cases[] = {
        {503, "SlowDown", AWS_THROTTLED, ERR_THROTTLED},
        {400, "ThrottlingException", AWS_THROTTLED, ERR_THROTTLED},
        {400, "ThrottledByNewService", AWS_THROTTLED, ERR_INVALID},
        {429, "", AWS_THROTTLED, ERR_THROTTLED},
        {500, "InternalError", AWS_TRANSIENT, ERR_TIMEOUT},
        {500, "Whatever", AWS_TRANSIENT, ERR_TIMEOUT},
        {502, "", AWS_TRANSIENT, ERR_TIMEOUT},
        {400, "RequestTimeout", AWS_TRANSIENT, ERR_TIMEOUT},
        {400, "IDPCommunicationError", AWS_TRANSIENT, ERR_TIMEOUT},
        {409, "ConditionalRequestConflict", AWS_TRANSIENT, ERR_CONFLICT},
        {400, "ExpiredToken", AWS_EXPIRED, ERR_DENIED},
        {403, "RequestTimeTooSkewed", AWS_CLOCK, ERR_DENIED},
        {301, "PermanentRedirect", AWS_ELSEWHERE, ERR_INVALID},
        {400, "AuthorizationHeaderMalformed", AWS_ELSEWHERE, ERR_INVALID},
        {501, "NotImplemented", AWS_UNSUPPORTED, ERR_INVALID},
        {501, "Odd", AWS_UNSUPPORTED, ERR_TIMEOUT},
        {404, "NoSuchKey", AWS_FINAL, ERR_MISSING},
        {404, "NoSuchThing", AWS_FINAL, ERR_MISSING},
        {403, "AccessDenied", AWS_FINAL, ERR_DENIED},
        {412, "PreconditionFailed", AWS_FINAL, ERR_CONFLICT},
        {416, "InvalidRange", AWS_FINAL, ERR_INVALID},
        {507, "", AWS_FINAL, ERR_TIMEOUT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (aws_fault_class(cases[i].status, cases[i].name) != cases[i].class)
            fail_msg("class of %d %s", cases[i].status, cases[i].name);
        if (aws_fault_kind(cases[i].status, cases[i].name) != cases[i].kind)
            fail_msg("kind of %d %s", cases[i].status, cases[i].name);
    }
}

static void assert_sentence(int status, const char *body, struct aws_scene scene, const char *sentence)
{
    struct err err;
    scene.subject = "s3://b/k";
    scene.region = "us-east-1";
    read_fault(status, NULL, body);
    aws_fault_describe(&fault, status, &scene, &err);
    assert_string_equal(err.text, sentence);
    assert_int_equal(err.code, status);
}

static void test_says_it_in_a_sentence(void **unused)
{
    (void)unused;
    static const char denied[] = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>";
    assert_sentence(404, "<Error><Code>NoSuchKey</Code></Error>", (struct aws_scene){0}, "s3://b/k: no such key (404 NoSuchKey)");
    assert_sentence(403, denied, (struct aws_scene){.action = "s3:PutObject"},
                    "s3://b/k: access denied (403 AccessDenied): the role or key lacks s3:PutObject, or the bucket's policy refuses it");
    assert_sentence(403, denied, (struct aws_scene){.is_anonymous = true},
                    "s3://b/k: access denied (403 AccessDenied): the request was not signed, and this is not public");
    assert_sentence(403, "<Error><Code>AccessDenied</Code><Message>User x is not allowed to y</Message></Error>", (struct aws_scene){0},
                    "s3://b/k: access denied (403 AccessDenied): User x is not allowed to y");
    assert_sentence(
        403, "<Error><Code>RequestTimeTooSkewed</Code></Error>", (struct aws_scene){.skew_ms = -3600000},
        "s3://b/k: this machine's clock is wrong (403 RequestTimeTooSkewed): this machine's clock is 3600 s ahead of AWS's: set it "
        "(chrony, NTP)");
    assert_sentence(301, "", (struct aws_scene){.bucket_region = "eu-west-1"},
                    "s3://b/k: the bucket is in another region (301 MovedPermanently): it is in eu-west-1, and was asked for in us-east-1");
    assert_sentence(400, "<Error><Code>Odd</Code><Message>This is odd.</Message></Error>", (struct aws_scene){0},
                    "s3://b/k: refused (400 Odd): This is odd.");
    assert_sentence(418, "", (struct aws_scene){0}, "s3://b/k: refused (418)");
}

static void assert_action(const char *method, const char *key, const char *query, const char *action)
{
    struct aws_pair pair = {bytes_of(query ? query : ""), bytes_of("")};
    struct aws_spec spec = {
        .service = "s3", .method = method, .bucket = bytes_of("b"), .key = bytes_of(key), .query = &pair, .query_count = query != NULL};
    const char *is = aws_s3_action(&spec);
    if (!action)
        assert_null(is);
    else
        assert_string_equal(is, action);
}

static void test_knows_what_a_role_would_need(void **unused)
{
    (void)unused;
    assert_action("GET", "k", NULL, "s3:GetObject");
    assert_action("HEAD", "k", NULL, "s3:GetObject");
    assert_action("GET", "k", "versionId", "s3:GetObjectVersion");
    assert_action("DELETE", "k", "versionId", "s3:DeleteObjectVersion");
    assert_action("GET", "", NULL, "s3:ListBucket");
    assert_action("GET", "", "versions", "s3:ListBucketVersions");
    assert_action("GET", "", "uploads", "s3:ListBucketMultipartUploads");
    assert_action("GET", "", "location", "s3:GetBucketLocation");
    assert_action("PUT", "k", NULL, "s3:PutObject");
    assert_action("POST", "k", "uploads", "s3:PutObject");
    assert_action("PUT", "k", "uploadId", "s3:PutObject");
    assert_action("DELETE", "k", "uploadId", "s3:AbortMultipartUpload");
    assert_action("GET", "k", "uploadId", "s3:ListMultipartUploadParts");
    assert_action("POST", "", "delete", "s3:DeleteObject");
    assert_action("GET", "k", "tagging", "s3:GetObjectTagging");
    assert_action("PUT", "k", "tagging", "s3:PutObjectTagging");
    assert_action("PUT", "", NULL, "s3:CreateBucket");
    assert_action("DELETE", "", NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_every_form),
        cmocka_unit_test(test_takes_what_is_no_error_document),
        cmocka_unit_test(test_shows_nothing_unprintable_and_not_too_much),
        cmocka_unit_test(test_looks_inside_a_200),
        cmocka_unit_test(test_sorts_errors),
        cmocka_unit_test(test_says_it_in_a_sentence),
        cmocka_unit_test(test_knows_what_a_role_would_need),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
