/* The request engine's bodies, both ways: checksums sent in headers and trailers, their refusal, and what is held against them as it comes. */
#include "requesting.h"

#include <fcntl.h>
#include <unistd.h>

enum { LARGE = 300000 };

static char large[LARGE + 1];
static char received[LARGE + 1];
static size_t received_length;

static int fill(void **state)
{
    for (int i = 0; i < LARGE; i++)
        large[i] = (char)('a' + i % 23);
    return s3_server_start(state);
}

static void put_memory(const char *data, size_t length)
{
    spec.method = "PUT";
    spec.body = (struct aws_body){.kind = HTTP_FROM_MEMORY, .data = data, .length = (int64_t)length};
}

/* --- pulled --- */

static size_t pulled, pull_piece;
static int rewinds, pauses;

static ssize_t pull(struct aws_request *r, char *room, size_t size)
{
    if (pauses > 0) {
        pauses--;
        (void)r;
        return HTTP_PAUSE;
    }
    size_t count = LARGE - pulled < pull_piece ? LARGE - pulled : pull_piece;
    count = count < size ? count : size;
    memcpy(room, large + pulled, count);
    pulled += count;
    return (ssize_t)count;
}

static bool rewind_pull(struct aws_request *r)
{
    (void)r;
    pulled = 0;
    rewinds++;
    return true;
}

static void put_pulled(void)
{
    pulled = 0;
    rewinds = 0;
    pull_piece = 10007;
    spec.method = "PUT";
    spec.body = (struct aws_body){.kind = HTTP_FROM_PULL, .length = LARGE, .pull = pull, .rewind = rewind_pull};
}

static int put_file(int64_t offset, int64_t length)
{
    int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, large, LARGE), LARGE);
    spec.method = "PUT";
    spec.body = (struct aws_body){.kind = HTTP_FROM_FILE, .fd = fd, .offset = offset, .length = length};
    return fd;
}

static void assert_stored(const char *data, size_t length)
{
    const char *text = stored("bucket/key");
    assert_int_equal(strlen(text), length);
    assert_memory_equal(text, data, length);
}

static void assert_logged(const char *words, int count)
{
    int have = count_of(log_text(), words);
    if (have != count)
        fail_msg("%d times instead of %d: %s in %s", have, count, words, answer_text);
}

static void test_sends_a_checksum_in_a_header_for_memory(void **unused)
{
    (void)unused;
    put_memory("hello", 5);
    run();
    assert_ok(200);
    assert_stored("hello", 5);
    assert_logged("\"x-amz-checksum-crc64nvme\": \"", 1);
    assert_logged("UNSIGNED", 0); /* small: its hash is signed */
    put_memory(large, LARGE);
    run();
    assert_ok(200);
    assert_stored(large, LARGE);
    assert_logged("\"payload\": \"UNSIGNED-PAYLOAD\"", 1);
    put_memory("", 0);
    run();
    assert_ok(200);
    assert_logged("\"x-amz-checksum-crc64nvme\": \"AAAAAAAAAAA=\"", 1);
}

static void test_sends_a_checksum_in_a_trailer_for_files_and_streams(void **unused)
{
    (void)unused;
    int fd = put_file(100, 200000);
    run();
    assert_ok(200);
    assert_stored(large + 100, 200000);
    close(fd);
    fd = put_file(0, 0);
    run();
    assert_ok(200);
    assert_stored("", 0);
    close(fd);
    put_pulled();
    run();
    assert_ok(200);
    assert_stored(large, LARGE);
    assert_logged("\"payload\": \"STREAMING-UNSIGNED-PAYLOAD-TRAILER\"", 3);
    assert_logged("\"x-amz-trailer\": \"x-amz-checksum-crc64nvme\"", 3);
    assert_int_equal(rewinds, 0);
}

static void test_keeps_the_caller_s_coding_beside_its_own(void **unused)
{
    (void)unused;
    assert_true(headers_add_text(&headers, "Content-Encoding", "gzip", NULL));
    put_pulled();
    run();
    assert_ok(200);
    assert_logged("\"content-encoding\": \"aws-chunked,gzip\"", 1);
}

static void test_signs_every_chunk_when_payloads_are_to_be_signed(void **unused)
{
    (void)unused;
    settings.sign_payload = true;
    put_pulled();
    run();
    assert_ok(200);
    assert_stored(large, LARGE);
    int fd = put_file(7, 65536);
    run();
    assert_ok(200);
    assert_stored(large + 7, 65536);
    close(fd);
    fd = put_file(0, 0);
    run();
    assert_ok(200);
    assert_logged("\"payload\": \"STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER\"", 3);
    spec.flags |= AWS_CHECKSUM_OFF;
    run();
    assert_ok(200);
    assert_logged("\"payload\": \"STREAMING-AWS4-HMAC-SHA256-PAYLOAD\"", 1);
    put_memory(large, LARGE);
    run();
    assert_ok(200);
    assert_logged("UNSIGNED", 0);
    close(fd);
}

static void test_sends_bodies_again(void **unused)
{
    (void)unused;
    static const char faults_of_put[] =
        "[{\"on\": \"PUT\", \"status\": 500, \"code\": \"InternalError\"}, {\"on\": \"PUT\", \"unread\": 1, \"how\": \"reset\"}]";
    put_memory(large, LARGE);
    steps(faults_of_put);
    run();
    assert_ok(200);
    assert_true(request.attempts >= 2); /* on a kept connection, http.c tries again by itself */
    assert_stored(large, LARGE);
    put_pulled();
    steps(faults_of_put);
    run();
    assert_ok(200);
    assert_stored(large, LARGE);
    assert_true(rewinds > 0);
    int fd = put_file(1, 1000);
    settings.sign_payload = true;
    steps(faults_of_put);
    run();
    assert_ok(200);
    assert_stored(large + 1, 1000);
    close(fd);
    put_pulled();
    spec.body.rewind = NULL;
    steps("[{\"status\": 500, \"code\": \"InternalError\", \"times\": 3}]");
    run();
    assert_failed(ERR_TIMEOUT, 500, "InternalError", NULL);
    assert_int_equal(request.attempts, 1);
}

static void resume(struct timer *timer)
{
    (void)timer;
    aws_request_resume(&request);
}

static void test_waits_for_a_slow_source(void **unused)
{
    (void)unused;
    struct timer timer = {0};
    put_pulled();
    pauses = 1;
    start(&request);
    TURN_UNTIL(loop, pauses == 0);
    timer_start(&timer, loop, 10, resume);
    TURN_UNTIL(loop, ended);
    assert_ok(200);
    assert_stored(large, LARGE);
}

static void test_tells_of_a_file_that_became_shorter(void **unused)
{
    (void)unused;
    int fd = put_file(0, LARGE + 10);
    run();
    assert_failed(ERR_CONFLICT, 0, "stopped", "became shorter", NULL);
    close(fd);
}

/* --- refusals --- */

static void test_does_without_checksums_where_they_are_refused(void **unused)
{
    (void)unused;
    static const char *const refusals[] = {"refuse", "invalid"};
    for (size_t i = 0; i < 2; i++) {
        char text[100];
        snprintf(text, sizeof text, "{\"checksums\": \"%s\"}", refusals[i]);
        set(text);
        aws_client_close(client);
        open_client();
        put_memory("hello", 5);
        run();
        assert_ok(200);
        assert_int_equal(request.attempts, 2);
        put_pulled();
        run();
        assert_ok(200);
        assert_int_equal(request.attempts, 1); /* it is known now */
        assert_stored(large, LARGE);
        spec.checksum = AWS_CHECKSUM_SHA256; /* somebody wants it: no fall-back */
        put_memory("hello", 5);
        run();
        assert_false(request.ok);
        assert_int_equal(request.attempts, 1);
        spec.checksum = AWS_CHECKSUM_NONE;
    }
}

static void test_notes_no_refusal_that_was_about_something_else(void **unused)
{
    (void)unused;
    steps("[{\"status\": 400, \"code\": \"InvalidRequest\", \"message\": \"other\", \"times\": 2}]");
    put_memory("hello", 5);
    run();
    assert_failed(ERR_INVALID, 400, "InvalidRequest", "other", NULL);
    assert_int_equal(request.attempts, 2);
    run();
    assert_ok(200);
    assert_logged("\"x-amz-checksum-crc64nvme\": \"", 2);
}

static void test_sees_that_a_trailer_was_taken_for_content(void **unused)
{
    (void)unused;
    set("{\"checksums\": \"ignore\"}");
    put_pulled();
    run();
    assert_ok(200);
    assert_int_equal(request.attempts, 2);
    assert_stored(large, LARGE);
    put_pulled();
    spec.body.rewind = NULL;
    aws_client_close(client);
    open_client();
    run();
    assert_ok(200);
    assert_stored(large, LARGE);
}

static void test_sends_what_an_operation_needs(void **unused)
{
    (void)unused;
    static const struct aws_pair query[] = {{{"delete", 6}, {"", 0}}};
    settings.checksum_requests = false;
    spec.method = "POST";
    spec.key = (struct bytes){"", 0};
    spec.query = query;
    spec.query_count = 1;
    spec.flags |= AWS_CHECKSUM_NEEDED;
    spec.body = (struct aws_body){.kind = HTTP_FROM_MEMORY, .data = "<Delete><Object><Key>k</Key></Object></Delete>", .length = 46};
    run();
    assert_ok(200);
    assert_logged("\"x-amz-checksum-crc64nvme\": \"", 1);
    steps("[{\"status\": 501, \"code\": \"NotImplemented\"}]");
    run();
    assert_ok(200);
    assert_logged("\"content-md5\": \"", 1);
}

static void test_obeys_the_settings_and_the_caller(void **unused)
{
    (void)unused;
    settings.checksum_requests = false;
    put_memory("hello", 5);
    run();
    assert_ok(200);
    assert_logged("x-amz-checksum", 0);
    settings.checksum_requests = true;
    spec.flags |= AWS_CHECKSUM_OFF;
    run();
    assert_ok(200);
    assert_logged("x-amz-checksum", 0);
    spec.flags &= ~(unsigned)AWS_CHECKSUM_OFF;
    spec.checksum = AWS_CHECKSUM_CRC32C;
    run();
    assert_ok(200);
    assert_logged("\"x-amz-checksum-crc32c\": \"mnG7TA==\"", 1);
    spec.checksum_value = "AAAAAA=="; /* a wrong one is told */
    steps("[]");
    spec.flags |= AWS_NO_RETRY;
    run();
    assert_failed(ERR_PROTOCOL, 400, "BadDigest", "another checksum", NULL);
    spec.checksum_value = NULL;
    spec.checksum = AWS_CHECKSUM_NONE;
    assert_true(headers_add_text(&headers, "Content-MD5", "XUFAKrxLKna5cZ2REBfFkg==", NULL));
    run();
    assert_ok(200);
    assert_logged("x-amz-checksum-crc64nvme", 0);
}

/* --- answers --- */

static int agains;

static ssize_t take(struct aws_request *r, const char *data, size_t length)
{
    (void)r;
    memcpy(received + received_length, data, length);
    received_length += length;
    return (ssize_t)length;
}

static bool again(struct aws_request *r)
{
    (void)r;
    received_length = 0;
    agains++;
    return true;
}

static void get_pushed(void)
{
    received_length = 0;
    agains = 0;
    spec.push = take;
    spec.again = again;
    run();
}

static void test_hands_over_what_comes_and_holds_it_against_its_checksum(void **unused)
{
    (void)unused;
    object("bucket/key", large);
    get_pushed();
    assert_ok(200);
    assert_int_equal(received_length, LARGE);
    assert_memory_equal(received, large, LARGE);
    assert_int_equal(request.verified, AWS_CHECKSUM_CRC64NVME);
    steps("[{\"damage\": 200000}, {\"cut\": 100000}]");
    get_pushed();
    assert_ok(200);
    assert_int_equal(received_length, LARGE);
    assert_int_equal(agains, 2);
    steps("[{\"damage\": 200000, \"times\": 3}]");
    get_pushed();
    assert_failed(ERR_PROTOCOL, 200, "", "does not fit its checksum", NULL);
    spec.again = NULL;
    steps("[{\"cut\": 100000}]");
    received_length = 0;
    run();
    assert_failed(ERR_PROTOCOL, 0, "truncated", "100000 of 300000 bytes", NULL);
    assert_int_equal(received_length, 100000);
}

static bool go_on(struct aws_request *r)
{
    char range[64];
    (void)r;
    agains++;
    snprintf(range, sizeof range, "bytes=%zu-", received_length);
    return headers_set(&headers, "Range", bytes_of(range), NULL);
}

static void test_goes_on_where_the_receiver_says(void **unused)
{
    (void)unused;
    object("bucket/key", large);
    steps("[{\"cut\": 100000}]");
    received_length = 0;
    agains = 0;
    spec.push = take;
    spec.again = go_on;
    run();
    assert_ok(206);
    assert_int_equal(agains, 1);
    assert_int_equal(received_length, LARGE);
    assert_memory_equal(received, large, LARGE);
    assert_int_equal(request.verified, AWS_CHECKSUM_NONE);
}

static void test_holds_only_the_whole_against_its_checksum(void **unused)
{
    (void)unused;
    object("bucket/key", "hello");
    assert_true(headers_set(&headers, "Range", bytes_of("bytes=1-2"), NULL));
    run();
    assert_ok(206);
    assert_string_equal(body_text(), "el");
    assert_int_equal(request.verified, AWS_CHECKSUM_NONE);
    assert_true(headers_set(&headers, "Range", bytes_of("bytes=0-"), NULL));
    run();
    assert_ok(206);
    assert_int_equal(request.verified, AWS_CHECKSUM_CRC64NVME);
    headers_remove(&headers, "Range");
    steps("[{\"status\": 200, \"body\": \"x\", \"headers\": {\"x-amz-checksum-sha256\": \"abc=-3\"}}]");
    run();
    assert_ok(200);
    assert_int_equal(request.verified, AWS_CHECKSUM_NONE);
    settings.checksum_answers = false;
    run();
    assert_ok(200);
    assert_int_equal(request.verified, AWS_CHECKSUM_NONE);
    assert_logged("x-amz-checksum-mode", 3);
}

static void test_takes_not_modified_for_an_answer(void **unused)
{
    (void)unused;
    object("bucket/key", "hello");
    assert_true(headers_set(&headers, "If-None-Match", bytes_of("\"5d41402abc4b2a76b9719d911017c592\""), NULL));
    run();
    assert_ok(304);
    spec.method = "PUT";
    put_memory("x", 1);
    assert_true(headers_set(&headers, "If-None-Match", bytes_of("*"), NULL));
    run();
    assert_failed(ERR_CONFLICT, 412, "PreconditionFailed", "the condition does not hold", NULL);
}

/* --- stopping --- */

static int stopped_in;

static ssize_t stop_in_pull(struct aws_request *r, char *room, size_t size)
{
    if (stopped_in++ == 0)
        return pull(r, room, size);
    aws_request_stop(r);
    memset(r, 0xaa, sizeof *r); /* it is the owner's again */
    ended++;
    return HTTP_STOP;
}

static bool stop_in_rewind(struct aws_request *r)
{
    aws_request_stop(r);
    memset(r, 0xaa, sizeof *r);
    ended++;
    return true;
}

static ssize_t stop_in_push(struct aws_request *r, const char *data, size_t length)
{
    (void)data;
    aws_request_stop(r);
    memset(r, 0xaa, sizeof *r);
    ended++;
    return (ssize_t)length;
}

static void run_until_stopped(void)
{
    ended = stopped_in = 0;
    memset(&request, 0, sizeof request);
    start(&request);
    TURN_UNTIL(loop, ended);
    TURN_UNTIL(loop, http_fetch_count() == 0);
    memset(&request, 0, sizeof request);
    assert_int_equal(ended, 1);
    assert_false(aws_client_is_busy(client));
}

static void test_may_be_stopped_from_every_callback(void **unused)
{
    (void)unused;
    for (int i = 0; i < 2; i++) {
        settings.sign_payload = i == 1;
        put_pulled();
        spec.body.pull = stop_in_pull;
        run_until_stopped();
        put_pulled();
        spec.flags |= AWS_CHECKSUM_OFF;
        spec.body.pull = stop_in_pull;
        run_until_stopped();
        spec.flags &= ~(unsigned)AWS_CHECKSUM_OFF;
        put_pulled();
        spec.body.rewind = stop_in_rewind;
        steps("[{\"status\": 500, \"code\": \"InternalError\"}]");
        run_until_stopped();
    }
    spec.method = "GET";
    spec.body = (struct aws_body){0};
    object("bucket/key", large);
    spec.push = stop_in_push;
    run_until_stopped();
    spec.push = take;
    spec.again = stop_in_rewind;
    received_length = 0;
    steps("[{\"cut\": 100000}]");
    run_until_stopped();
}

static void begin_anew(struct aws_request *r)
{
    aws_request_stop(r);
    start(r);
}

static void test_may_be_used_again_from_its_done(void **unused)
{
    (void)unused;
    object("bucket/key", "hello");
    ended = 0;
    assert_true(aws_request_start(&request, client, &spec, begin_anew, NULL));
    TURN_UNTIL(loop, ended);
    assert_ok(200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_sends_a_checksum_in_a_header_for_memory),
        TEST(test_sends_a_checksum_in_a_trailer_for_files_and_streams),
        TEST(test_keeps_the_caller_s_coding_beside_its_own),
        TEST(test_signs_every_chunk_when_payloads_are_to_be_signed),
        TEST(test_sends_bodies_again),
        TEST(test_waits_for_a_slow_source),
        TEST(test_tells_of_a_file_that_became_shorter),
        TEST(test_does_without_checksums_where_they_are_refused),
        TEST(test_notes_no_refusal_that_was_about_something_else),
        TEST(test_sees_that_a_trailer_was_taken_for_content),
        TEST(test_sends_what_an_operation_needs),
        TEST(test_obeys_the_settings_and_the_caller),
        TEST(test_hands_over_what_comes_and_holds_it_against_its_checksum),
        TEST(test_goes_on_where_the_receiver_says),
        TEST(test_holds_only_the_whole_against_its_checksum),
        TEST(test_takes_not_modified_for_an_answer),
        TEST(test_may_be_stopped_from_every_callback),
        TEST(test_may_be_used_again_from_its_done),
    };
    return cmocka_run_group_tests(tests, fill, s3_server_stop);
}
