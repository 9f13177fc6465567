/* The request engine against a misbehaving S3 that checks signatures: retries, and what is put right by itself. */
#include "requesting.h"

/* --- plain good requests --- */

static void test_gets_an_object(void **unused)
{
    (void)unused;
    object("bucket/key", "hello");
    run();
    assert_ok(200);
    assert_string_equal(body_text(), "hello");
    assert_int_equal(request.attempts, 1);
    assert_int_equal(request.verified, AWS_CHECKSUM_CRC64NVME);
    assert_true(*request.request_id);
}

static void test_signs_awkward_keys_and_queries(void **unused)
{
    (void)unused;
    static const char *const keys[] = {
        "a//b",  "/lead",      "..", "./x",       "a/../b", "x+y",    "%20",      "with blank", "\xc3\xa4\xf0\x9f\x98\x80",
        "a=b&c", "?versionId", "*",  "trailing/", "a:b@c",  "q\"'<>", "tab\there"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        spec.method = "PUT";
        spec.key = bytes_of(keys[i]);
        spec.body = (struct aws_body){.kind = HTTP_FROM_MEMORY, .data = keys[i], .length = (int64_t)strlen(keys[i])};
        run();
        assert_ok(200);
        spec.method = "GET";
        spec.body = (struct aws_body){0};
        run();
        assert_ok(200);
        assert_string_equal(body_text(), keys[i]);
    }
    const struct aws_pair query[] = {
        {bytes_of("prefix"), bytes_of("a/b =&+\xc3\xa4")}, {bytes_of("list-type"), bytes_of("2")}, {bytes_of("acl"), bytes_of("")}};
    spec.key = (struct bytes){"", 0};
    spec.query = query;
    spec.query_count = 3;
    run();
    assert_ok(200);
}

static void test_sends_anonymous_requests(void **unused)
{
    (void)unused;
    object("bucket/a%20b", "open");
    spec.key = bytes_of("a b");
    spec.flags |= AWS_ANONYMOUS;
    run();
    assert_ok(200);
    assert_non_null(strstr(log_text(), "\"key\": null"));
}

static void test_sends_the_session_token_and_asks_for_keys(void **unused)
{
    (void)unused;
    set("{\"keys\": {\"role\": \"s\"}, \"tokens\": {\"role\": \"tok/en+==\"}}");
    object("bucket/key", "x");
    set_keys(&store.keys, "role", "s", "tok/en+==");
    store.waits = true;
    run();
    assert_ok(200);
    assert_int_equal(store.asked, 1);
    run();
    assert_ok(200);
    assert_int_equal(store.asked, 1);
}

static void test_tells_in_the_store_s_words_that_there_are_no_keys(void **unused)
{
    (void)unused;
    err_set(&store.err, ERR_MISSING, "no credentials are configured: set AWS_ACCESS_KEY_ID");
    run();
    assert_failed(ERR_MISSING, 0, "", "s3://bucket/key: no credentials are configured", NULL);
    assert_int_equal(request.attempts, 0);
}

static void test_presigns(void **unused)
{
    (void)unused;
    spec.key = bytes_of("a b");
    spec.presign_s = 60;
    run();
    assert_true(request.ok);
    assert_non_null(strstr(body_text(), "/bucket/a%20b?"));
    assert_non_null(strstr(body_text(), "X-Amz-Expires=60"));
    assert_int_equal(request.attempts, 0);
}

/* Nothing is sent for a presigned URL, so these may be AWS's own. */
static const char *presigned(void)
{
    spec.presign_s = 60;
    run();
    return request.ok ? body_text() : request.err.text;
}

static void assert_begins(const char *text, const char *start_of_it)
{
    if (strncmp(text, start_of_it, strlen(start_of_it)) != 0)
        fail_msg("%s does not begin with %s", text, start_of_it);
}

static void test_chooses_the_place_and_the_region(void **unused)
{
    (void)unused;
    spec.endpoint = NULL;
    assert_begins(presigned(), "https://bucket.s3.us-east-1.amazonaws.com/key?");
    spec.region = "eu-west-1";
    assert_begins(presigned(), "https://bucket.s3.eu-west-1.amazonaws.com/key?");
    spec.flags |= AWS_DUALSTACK | AWS_FIPS;
    assert_begins(presigned(), "https://bucket.s3-fips.dualstack.eu-west-1.amazonaws.com/key?");
    spec.flags &= ~(unsigned)(AWS_DUALSTACK | AWS_FIPS);
    settings.s3_style = S3_STYLE_PATH;
    assert_begins(presigned(), "https://s3.eu-west-1.amazonaws.com/bucket/key?");
    spec.style = S3_STYLE_VIRTUAL;
    assert_begins(presigned(), "https://bucket.s3.eu-west-1.amazonaws.com/key?");
    spec.service = "ec2";
    assert_begins(presigned(), "https://ec2.eu-west-1.amazonaws.com/?");
    spec.flags |= AWS_FIPS;
    assert_begins(presigned(), "https://ec2-fips.eu-west-1.amazonaws.com/?");
    spec.flags |= AWS_DUALSTACK;
    assert_begins(presigned(), "https://ec2-fips.eu-west-1.api.aws/?");
    spec.flags = 0;
    spec.service = "route53";
    assert_begins(presigned(), "https://route53.amazonaws.com/?");
    assert_string_equal(request.region, "us-east-1");
    aws_settings_free(&settings);
    char *const environment[] = {(char *)(uintptr_t) "AWS_ENDPOINT_URL_S3=http://x:1/prefix", NULL};
    assert_true(aws_settings_read(&settings, &(struct aws_settings_given){environment, NULL, NULL}, NULL));
    spec.service = "s3";
    spec.style = S3_STYLE_AUTO;
    assert_begins(presigned(), "http://x:1/prefix/bucket/key?");
}

static void test_asks_once_for_the_region_that_nobody_said(void **unused)
{
    (void)unused;
    *settings.region = 0;
    spec.endpoint = NULL;
    snprintf(store.region, sizeof store.region, "eu-central-1");
    assert_begins(presigned(), "https://bucket.s3.eu-central-1.amazonaws.com/key?");
    assert_begins(presigned(), "https://bucket.s3.eu-central-1.amazonaws.com/key?");
    assert_int_equal(store.regions_asked, 1);
    aws_client_close(client);
    open_client();
    *store.region = 0;
    assert_begins(presigned(), "https://bucket.s3.us-east-1.amazonaws.com/key?"); /* which tells where a bucket is */
    spec.service = "sts";
    run();
    assert_failed(ERR_MISSING, 0, "", "sts: no region is known: set AWS_REGION", NULL);
}

static void test_puts_the_bucket_into_the_host(void **unused)
{
    (void)unused;
    char url[64];
    object("bucket/key", "hello");
    snprintf(url, sizeof url, "http://localhost:%d", port()); /* libcurl knows that *.localhost is this machine */
    assert_true(aws_endpoint_read(bytes_of(url), &endpoint, NULL));
    spec.style = S3_STYLE_VIRTUAL;
    run();
    assert_ok(200);
    assert_string_equal(body_text(), "hello");
    assert_non_null(strstr(log_text(), "\"host\": \"bucket.localhost:"));
}

static void test_lets_the_requester_pay(void **unused)
{
    (void)unused;
    object("bucket/key", "hello");
    spec.flags |= AWS_REQUEST_PAYER;
    run();
    assert_ok(200);
    assert_non_null(strstr(log_text(), "\"x-amz-request-payer\": \"requester\""));
}

/* --- errors as they are --- */

static void test_tells_what_is_missing_or_refused(void **unused)
{
    (void)unused;
    run();
    assert_failed(ERR_MISSING, 404, "NoSuchKey", "s3://bucket/key: no such key (404 NoSuchKey)", NULL);
    assert_int_equal(request.attempts, 1);
    spec.method = "HEAD";
    run();
    assert_failed(ERR_MISSING, 404, "NotFound", "not found (404 NotFound)", NULL);
    spec.method = "GET";
    steps("[{\"status\": 403, \"code\": \"AccessDenied\", \"message\": \"Access Denied\"}]");
    run();
    assert_failed(ERR_DENIED, 403, "AccessDenied", "access denied (403 AccessDenied)", "lacks s3:GetObject", "s3:ListBucket", NULL);
    set_keys(&store.keys, "test", "wrong", NULL);
    run();
    assert_failed(ERR_DENIED, 403, "SignatureDoesNotMatch", "the signature does not fit", NULL);
    assert_null(strstr(request.err.text, "wrong"));
    set_keys(&store.keys, "nobody", "secret", NULL);
    run();
    assert_failed(ERR_DENIED, 403, "InvalidAccessKeyId", "not known", NULL);
}

static void test_takes_any_kind_of_error_body(void **unused)
{
    (void)unused;
    spec.flags |= AWS_NO_RETRY;
    steps("[{\"status\": 403, \"code\": \"Odd\", \"form\": \"query\", \"message\": \"m1\"},"
          "{\"status\": 400, \"code\": \"UnauthorizedOperation\", \"form\": \"ec2\", \"message\": \"m2\"},"
          "{\"status\": 400, \"code\": \"ThrottlingException\", \"form\": \"json\", \"message\": \"m3\"},"
          "{\"status\": 502, \"code\": \"x\", \"form\": \"html\"}, {\"status\": 503, \"code\": \"x\", \"form\": \"empty\"}, {\"status\": "
          "418}]");
    run();
    assert_failed(ERR_DENIED, 403, "Odd", "m1", NULL);
    run();
    assert_failed(ERR_DENIED, 400, "UnauthorizedOperation", "m2", NULL);
    run();
    assert_failed(ERR_THROTTLED, 400, "ThrottlingException", "asked too often", NULL);
    run();
    assert_failed(ERR_TIMEOUT, 502, "BadGateway", "(502 BadGateway)", NULL);
    run();
    assert_failed(ERR_THROTTLED, 503, "ServiceUnavailable", "not available", NULL);
    run();
    assert_failed(ERR_INVALID, 418, "", "refused (418)", NULL);
}

/* --- retries --- */

static void test_tries_again_after_faults_that_may_pass(void **unused)
{
    (void)unused;
    static const char *const faulty[] = {
        "[{\"status\": 500, \"code\": \"InternalError\", \"times\": 2}]",
        "[{\"status\": 502, \"code\": \"\", \"form\": \"html\"}, {\"status\": 504}]",
        "[{\"status\": 400, \"code\": \"RequestTimeout\"}]",
        "[{\"unread\": 1}, {\"unread\": 1, \"how\": \"reset\"}]",
        "[{\"cut\": 2}, {\"cut\": 3, \"how\": \"reset\"}]",
        "[{\"status\": 503, \"code\": \"SlowDown\", \"headers\": {\"x-amz-retry-after\": \"0\"}}]",
        "[{\"damage\": 1}, {\"bad-checksum\": 1}]",
    };
    object("bucket/key", "hello");
    for (size_t i = 0; i < sizeof faulty / sizeof *faulty; i++) {
        steps(faulty[i]);
        run();
        assert_ok(200);
        assert_string_equal(body_text(), "hello");
        assert_true(request.attempts >= 2);
    }
}

static void test_gives_up_after_three_attempts(void **unused)
{
    (void)unused;
    steps("[{\"status\": 500, \"code\": \"InternalError\", \"times\": 9}]");
    run();
    assert_failed(ERR_TIMEOUT, 500, "InternalError", "a fault of its own (500 InternalError)", NULL);
    assert_int_equal(request.attempts, 3);
    steps("[{\"damage\": 1, \"times\": 9}]");
    object("bucket/key", "hello");
    run();
    assert_failed(ERR_PROTOCOL, 200, "", "does not fit its checksum CRC64NVME", NULL);
    spec.flags |= AWS_NO_RETRY;
    steps("[{\"status\": 500, \"code\": \"InternalError\", \"times\": 9}]");
    run();
    assert_int_equal(request.attempts, 1);
}

static void test_has_only_so_many_tokens_for_retries(void **unused)
{
    (void)unused;
    settings.attempts = 100;
    steps("[{\"status\": 500, \"code\": \"InternalError\", \"times\": 1000, \"headers\": {\"x-amz-retry-after\": \"0\"}}]");
    spec.deadline_ms = 600000;
    settings.attempts = 4;
    for (int i = 0; i < 34; i++) /* three retries each: 15 tokens */
        run();
    run();
    assert_int_equal(request.attempts, 1);
}

static void test_tries_a_silent_server_again_on_a_new_connection(void **unused)
{
    (void)unused;
    object("bucket/key", "hello");
    spec.first_byte_ms = 200;
    steps("[{\"silent\": 1}]");
    run();
    assert_ok(200);
    assert_int_equal(request.attempts, 2);
    assert_false(request.fetch.reused);
}

static void test_keeps_its_deadline_over_all_tries(void **unused)
{
    (void)unused;
    spec.deadline_ms = 50;
    store.waits = store.is_silent = true;
    run();
    assert_failed(ERR_TIMEOUT, 0, "", "s3://bucket/key: no credentials, or no region, came within 0.05 s", NULL);
    store.waits = store.is_silent = false;
    spec.deadline_ms = 300;
    steps("[{\"silent\": 1, \"times\": 9}]");
    run();
    assert_failed(ERR_TIMEOUT, 0, "deadline", NULL);
    steps("[{\"status\": 503, \"code\": \"SlowDown\", \"times\": 9, \"headers\": {\"Retry-After\": \"10\"}}]");
    run();
    assert_failed(ERR_THROTTLED, 503, "SlowDown", NULL);
    assert_int_equal(request.attempts, 1);
}

/* --- what is put right --- */

static void test_corrects_the_clock_for_all_requests(void **unused)
{
    (void)unused;
    object("bucket/key", "hello");
    set("{\"skew\": 4000}");
    run();
    assert_ok(200);
    assert_int_equal(request.attempts, 2);
    run();
    assert_ok(200);
    assert_int_equal(request.attempts, 1);
    set("{\"skew\": -4000}");
    spec.method = "HEAD"; /* whose refusal has no words */
    run();
    assert_ok(200);
    assert_int_equal(request.attempts, 2);
}

/* A body that takes minutes to be sent has an old signature when it is answered, which is no fault of the clock. */
static void test_does_not_take_a_slow_answer_for_a_wrong_clock(void **unused)
{
    (void)unused;
    set("{\"skew\": 237}");
    steps("[{\"late\": 4, \"status\": 403, \"code\": \"AccessDenied\"}]");
    run();
    assert_failed(ERR_DENIED, 403, "AccessDenied", "access denied", NULL);
    assert_null(strstr(request.err.text, "clock"));
}

static void test_gets_new_keys_once_when_they_have_expired(void **unused)
{
    (void)unused;
    object("bucket/key", "hello");
    set("{\"keys\": {\"old\": \"s\", \"new\": \"s\"}, \"expired\": [\"old\"]}");
    set_keys(&store.keys, "old", "s", NULL);
    set_keys(&store.next, "new", "s", NULL);
    store.has_next = true;
    run();
    assert_ok(200);
    assert_int_equal(request.attempts, 2);
    assert_int_equal(store.refused, 1);
    set("{\"expired\": [\"new\"]}");
    run();
    assert_failed(ERR_DENIED, 400, "ExpiredToken", "the credentials have expired", NULL);
    assert_int_equal(request.attempts, 1);
}

static void test_finds_the_region_of_a_bucket(void **unused)
{
    (void)unused;
    static const char *const forms[] = {"301", "header", "307", "400", "constraint"};
    object("bucket/key", "hello");
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        char text[200];
        snprintf(text, sizeof text, "{\"regions\": {\"bucket\": \"eu-west-1\"}, \"region_form\": \"%s\"}", forms[i]);
        aws_client_close(client);
        open_client();
        set(text);
        if (strcmp(forms[i], "constraint") == 0)
            spec.headers = NULL;
        run();
        assert_ok(200);
        assert_int_equal(request.attempts, 2);
        assert_string_equal(request.region, "eu-west-1");
        run(); /* it is known now */
        assert_ok(200);
        assert_int_equal(request.attempts, 1);
        assert_string_equal(aws_client_bucket_region(client, bytes_of("bucket")), "eu-west-1");
    }
}

static void test_asks_the_bucket_when_a_bare_answer_says_no_region(void **unused)
{
    (void)unused;
    object("bucket/key", "hello");
    set("{\"regions\": {\"bucket\": \"eu-west-1\"}, \"region_form\": \"silent\"}");
    spec.method = "HEAD";
    run();
    assert_ok(200);
    assert_int_equal(request.attempts, 3);
    aws_client_close(client);
    open_client();
    set("{\"region_form\": \"301-bare\"}"); /* the bucket says nothing either */
    run();
    assert_failed(ERR_INVALID, 301, "MovedPermanently", "not in us-east-1", "set AWS_REGION", NULL);
    assert_int_equal(request.fetch.status, 301);
    assert_int_equal(request.attempts, 2);
}

static void test_moves_once_only(void **unused)
{
    (void)unused;
    steps("[{\"status\": 301, \"code\": \"PermanentRedirect\", \"headers\": {\"x-amz-bucket-region\": \"eu-west-1\"}},"
          "{\"status\": 301, \"code\": \"PermanentRedirect\", \"headers\": {\"x-amz-bucket-region\": \"eu-west-2\"}}]");
    run();
    assert_failed(ERR_INVALID, 301, "PermanentRedirect", "it is in eu-west-2", NULL);
    steps("[{\"status\": 301, \"code\": \"PermanentRedirect\", \"headers\": {\"x-amz-bucket-region\": \"evil.example/x\"}}]");
    run();
    assert_false(request.ok);
}

static void test_follows_a_location_with_the_body(void **unused)
{
    (void)unused;
    struct faults other;
    char text[200];
    faults_start_program(&other, TEST_SOURCE "/tests/support/fault_s3.py", NULL);
    snprintf(text, sizeof text,
             "{\"regions\": {\"bucket\": \"eu-west-1\"}, \"region_form\": \"307\", \"location\": \"http://127.0.0.1:%d\"}",
             faults_port(&other, "plain"));
    set(text);
    spec.method = "PUT";
    spec.body = (struct aws_body){.kind = HTTP_FROM_MEMORY, .data = "moved", .length = 5};
    run();
    assert_ok(200);
    tell_at(faults_port(&other, "plain"), "GET", "object/bucket/key", NULL);
    assert_string_equal(answer_text, "moved");
    faults_stop(&other);
}

static void test_looks_into_a_200(void **unused)
{
    (void)unused;
    spec.flags |= AWS_MAY_FAIL_IN_200;
    spec.method = "POST";
    static const char internal[] =
        "{\"status\": 200, \"body\": \"   \\n<?xml version='1.0'?>\\n <Error><Code>InternalError</Code></Error>\"}";
    char text[1000];
    snprintf(text, sizeof text, "[%s, {\"status\": 200, \"body\": \"  \\n\"}, {\"status\": 200, \"body\": \" <CopyObjectResult/>\"}]",
             internal);
    steps(text);
    run();
    assert_ok(200);
    assert_int_equal(request.attempts, 3);
    snprintf(text, sizeof text, "[%s, %s, %s]", internal, internal, internal);
    steps(text);
    run();
    assert_failed(ERR_TIMEOUT, 500, "InternalError", "(500 InternalError)", NULL);
    steps("[{\"status\": 200, \"body\": \"<Error><Code>AccessDenied</Code></Error>\"}]");
    run();
    assert_failed(ERR_DENIED, 403, "AccessDenied", NULL);
    assert_int_equal(request.attempts, 1);
}

/* --- stopping --- */

static ssize_t stop_in_push(struct aws_request *r, const char *data, size_t length)
{
    (void)data, (void)length;
    aws_request_stop(r);
    ended++;
    return HTTP_STOP;
}

static void test_may_be_stopped_anywhere(void **unused)
{
    (void)unused;
    object("bucket/key", "hello");
    start(&request);
    aws_request_stop(&request);
    start(&request);
    TURN_UNTIL(loop, http_fetch_count() == 1);
    aws_request_stop(&request);
    steps("[{\"status\": 503, \"code\": \"SlowDown\", \"headers\": {\"x-amz-retry-after\": \"4000\"}}]");
    start(&request);
    TURN_UNTIL(loop, request.attempts == 1 && http_fetch_count() == 0);
    aws_request_stop(&request);
    store.waits = true;
    start(&request);
    TURN_UNTIL(loop, store.asking);
    aws_request_stop(&request);
    store.waits = false;
    ended = 0;
    spec.push = stop_in_push;
    start(&request);
    TURN_UNTIL(loop, ended);
    assert_int_equal(ended, 1);
}

enum { CROWD = 40 };
static int good, bad;

static void on_one_done(struct aws_request *r)
{
    *(r->ok ? &good : &bad) += 1;
    ended++;
    aws_request_stop(r);
}

static void test_keeps_a_crowd_apart_while_everything_goes_wrong(void **unused)
{
    (void)unused;
    static struct aws_request crowd[CROWD];
    static struct aws_spec specs[CROWD];
    good = bad = 0;
    object("bucket/key", "hello");
    set("{\"keys\": {\"old\": \"s\", \"new\": \"s\"}, \"expired\": [\"old\"], \"regions\": {\"bucket\": \"eu-west-1\"},"
        "\"region_form\": \"400\", \"skew\": 5000}");
    set_keys(&store.keys, "old", "s", NULL);
    set_keys(&store.next, "new", "s", NULL);
    store.has_next = true;
    settings.attempts = 100;
    /* Damaged is an object, and no error: of one of those it would depend on the order what is not understood, and stands. */
    steps("[{\"status\": 500, \"code\": \"InternalError\", \"times\": 5}, {\"unread\": 1, \"times\": 5}, {\"cut\": 2, \"times\": 5},"
          "{\"status\": 200, \"body\": \"jello\", \"headers\": {\"x-amz-checksum-crc32\": \"NhCmhg==\"}, \"times\": 5}, {\"status\": 503, "
          "\"code\": \"SlowDown\", \"headers\": {\"x-amz-retry-after\": \"1\"}, "
          "\"times\": 3},"
          "{\"silent\": 1, \"times\": 3}, {\"unread\": 1, \"how\": \"reset\", \"times\": 5}]");
    for (int i = 0; i < CROWD; i++) {
        specs[i] = spec;
        specs[i].first_byte_ms = 500;
        if (!aws_request_start(&crowd[i], client, &specs[i], on_one_done, &err))
            fail_msg("%s", err.text);
    }
    for (int i = 0; i < CROWD; i += 8) { /* and some lose their patience */
        TURN_UNTIL(loop, ended >= i / 4);
        if (crowd[i].call) {
            aws_request_stop(&crowd[i]);
            ended++;
            good++;
        }
    }
    TURN_UNTIL(loop, ended == CROWD);
    assert_int_equal(bad, 0);
    assert_int_equal(good, CROWD);
    assert_false(aws_client_is_busy(client));
    assert_int_equal(store.generation, 2); /* the keys were renewed once, not forty times */
}

static void test_refuses_what_makes_no_sense(void **unused)
{
    (void)unused;
    struct aws_request r;
    spec.region = "x/y";
    assert_false(aws_request_start(&r, client, &spec, on_done, &err));
    assert_non_null(strstr(err.text, "s3://bucket/key: the region"));
    spec.region = NULL;
    spec.body = (struct aws_body){.kind = HTTP_FROM_PULL, .length = -1};
    assert_false(aws_request_start(&r, client, &spec, on_done, &err));
    spec.body = (struct aws_body){0};
    spec.bucket = bytes_of("a/b");
    run();
    assert_failed(ERR_INVALID, 0, "", "no name of a bucket", NULL);
}

static void test_asks_query_services(void **unused)
{
    (void)unused;
    spec = (struct aws_spec){.service = "sts", .method = "POST", .endpoint = &endpoint, .flags = AWS_NO_PROXY};
    spec.body = (struct aws_body){.kind = HTTP_FROM_MEMORY, .data = "Action=GetCallerIdentity&Version=2011-06-15", .length = 43};
    run();
    assert_ok(200);
    assert_non_null(strstr(body_text(), "<Account>123456789012</Account>"));
    steps("[{\"status\": 400, \"code\": \"Throttling\", \"form\": \"query\", \"headers\": {\"x-amz-retry-after\": \"0\"}}]");
    run();
    assert_ok(200);
    steps("[{\"status\": 403, \"code\": \"AccessDenied\", \"form\": \"query\", \"message\": \"User: arn:x is not authorized to perform: "
          "a:b\"}]");
    run();
    assert_failed(ERR_DENIED, 403, "AccessDenied", "sts: access denied (403 AccessDenied): User: arn:x is not authorized", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_gets_an_object),
        TEST(test_signs_awkward_keys_and_queries),
        TEST(test_sends_anonymous_requests),
        TEST(test_sends_the_session_token_and_asks_for_keys),
        TEST(test_tells_in_the_store_s_words_that_there_are_no_keys),
        TEST(test_presigns),
        TEST(test_chooses_the_place_and_the_region),
        TEST(test_asks_once_for_the_region_that_nobody_said),
        TEST(test_puts_the_bucket_into_the_host),
        TEST(test_lets_the_requester_pay),
        TEST(test_tells_what_is_missing_or_refused),
        TEST(test_takes_any_kind_of_error_body),
        TEST(test_tries_again_after_faults_that_may_pass),
        TEST(test_gives_up_after_three_attempts),
        TEST(test_has_only_so_many_tokens_for_retries),
        TEST(test_tries_a_silent_server_again_on_a_new_connection),
        TEST(test_keeps_its_deadline_over_all_tries),
        TEST(test_corrects_the_clock_for_all_requests),
        TEST(test_does_not_take_a_slow_answer_for_a_wrong_clock),
        TEST(test_gets_new_keys_once_when_they_have_expired),
        TEST(test_finds_the_region_of_a_bucket),
        TEST(test_asks_the_bucket_when_a_bare_answer_says_no_region),
        TEST(test_moves_once_only),
        TEST(test_follows_a_location_with_the_body),
        TEST(test_looks_into_a_200),
        TEST(test_may_be_stopped_anywhere),
        TEST(test_keeps_a_crowd_apart_while_everything_goes_wrong),
        TEST(test_refuses_what_makes_no_sense),
        TEST(test_asks_query_services),
    };
    return cmocka_run_group_tests(tests, s3_server_start, s3_server_stop);
}
