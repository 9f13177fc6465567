/* Uploads to an S3 that misbehaves as it is told: from memory, files and pipes, in one piece and in parts; what fails or is stopped leaves nothing
 * behind. Python makes CRC32 fast and the other checksums slowly, hence CRC32 where the length matters. */
#include "appliance/sys.h"
#include "transferring.h"

#include <errno.h>
#include <sys/socket.h>

enum { MIB = 1 << 20, PART = 5 * MIB, LARGE = 2 * PART + 1234 };

static char *bytes;

static void from_memory(size_t length)
{
    free(bytes);
    bytes = pattern(length);
    put_spec.from = S3_FROM_MEMORY;
    put_spec.data = bytes;
    put_spec.length = (int64_t)length;
}

static void from_file(size_t length)
{
    put_spec.name = make_file("file", length);
    put_spec.from = S3_FROM_FILE;
    put_spec.fd = open(put_spec.name, O_RDONLY | O_CLOEXEC);
    put_spec.length = -1;
}

static void large_file(void)
{
    from_file(LARGE);
    put_spec.part = PART;
    put_spec.request.checksum = AWS_CHECKSUM_CRC32;
}

static int end_put(void **unused)
{
    free(bytes);
    bytes = NULL;
    if (put_spec.fd >= 0)
        close(put_spec.fd);
    put_spec.fd = -1;
    return transfer_end(unused);
}
#define PUT(name) cmocka_unit_test_setup_teardown(name, transfer_begin, end_put)

/* How many uploads the server has that are neither complete nor aborted. */
static int uploads_left(void)
{
    spec.key = (struct bytes){"", 0};
    struct aws_pair pair = {bytes_of("uploads"), {"", 0}};
    spec.query = &pair;
    spec.query_count = 1;
    spec.headers = NULL;
    run();
    assert_ok(200);
    spec.query = NULL;
    spec.query_count = 0;
    spec.key = bytes_of("key");
    return count_of(body_text(), "<UploadId>");
}

/* --- in one piece --- */

static void puts_what_is_small_in_one_request(void **unused)
{
    (void)unused;
    static const size_t lengths[] = {0, 1, 10240};
    for (size_t i = 0; i < 3; i++) {
        from_memory(lengths[i]);
        run_put();
        assert_put();
        assert_int_equal(put.requests, 1);
        assert_int_equal(put.parts, 0);
        assert_int_equal(put.size, lengths[i]);
        assert_int_equal(s3_put_sent(&put), lengths[i]);
        assert_true(*put.etag == '"');
        assert_int_equal(put.checksum_kind, AWS_CHECKSUM_CRC64NVME);
        assert_true(*put.checksum);
        assert_stored("bucket/key", lengths[i]);
        from_file(lengths[i]);
        run_put();
        assert_put();
        assert_int_equal(put.requests, 1);
        assert_stored("bucket/key", lengths[i]);
        close(put_spec.fd);
        put_spec.fd = -1;
    }
}

static void puts_a_larger_file_with_its_checksum_behind_it(void **unused)
{
    (void)unused;
    from_file(3 * MIB);
    put_spec.request.checksum = AWS_CHECKSUM_CRC32;
    run_put();
    assert_put();
    assert_int_equal(put.requests, 1);
    assert_int_equal(put.checksum_kind, AWS_CHECKSUM_CRC32);
    assert_true(*put.checksum);
    assert_stored("bucket/key", 3 * MIB);
    assert_non_null(strstr(log_text(), "\"framed\": true"));
}

static void puts_a_range_of_a_file(void **unused)
{
    (void)unused;
    from_file(100000);
    put_spec.length = 5000;
    run_put();
    assert_put();
    assert_stored("bucket/key", 5000);
    put_spec.start = 96000;
    assert_false(s3_put_start(&put, loop, client, &put_spec, on_put_done, &err));
    assert_non_null(strstr(err.text, "100000 bytes"));
}

static void refuses_what_makes_no_sense(void **unused)
{
    (void)unused;
    from_memory(10);
    put_spec.request.bucket = (struct bytes){"", 0};
    assert_false(s3_put_start(&put, loop, client, &put_spec, on_put_done, &err));
    put_spec.request.bucket = bytes_of("bucket");
    put_spec.part = 4 * MIB;
    assert_false(s3_put_start(&put, loop, client, &put_spec, on_put_done, &err));
    put_spec.part = 0;
    put_spec.from = S3_FROM_PIPE;
    put_spec.expected = S3_PIPE_EXPECTED_MOST + 1;
    assert_false(s3_put_start(&put, loop, client, &put_spec, on_put_done, &err));
    assert_non_null(strstr(err.text, "390 GiB"));
    put_spec.from = S3_FROM_FILE;
    put_spec.fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_false(s3_put_start(&put, loop, client, &put_spec, on_put_done, &err));
}

/* --- in parts --- */

static void puts_a_large_file_in_parts(void **unused)
{
    (void)unused;
    large_file();
    headers_add_text(&headers, "Content-Type", "text/x-test", &err);
    headers_add_text(&headers, "x-amz-meta-kept", "1", &err);
    headers_add_text(&headers, "If-None-Match", "*", &err);
    run_put();
    assert_put();
    assert_int_equal(put.parts, 3);
    assert_int_equal(put.requests, 5);
    assert_int_equal(put.size, LARGE);
    assert_non_null(strstr(put.etag, "-3"));
    assert_int_equal(put.checksum_kind, AWS_CHECKSUM_CRC32);
    assert_true(*put.checksum && !strchr(put.checksum, '-'));
    assert_stored("bucket/key", LARGE);
    const char *log = log_text();
    assert_int_equal(count_of(log, "\"x-amz-checksum-algorithm\": \"CRC32\""), 1);
    assert_int_equal(count_of(log, "\"x-amz-checksum-type\": \"FULL_OBJECT\""), 2);
    assert_int_equal(count_of(log, "\"if-none-match\""), 1);
    assert_int_equal(count_of(log, "\"content-type\": \"text/x-test\""), 1);
    assert_int_equal(count_of(log, "\"x-amz-meta-kept\""), 1);
    assert_int_equal(uploads_left(), 0);
}

static void puts_a_large_one_from_memory(void **unused)
{
    (void)unused;
    from_memory(LARGE);
    put_spec.part = PART;
    put_spec.request.flags |= AWS_CHECKSUM_OFF;
    run_put();
    assert_put();
    assert_int_equal(put.parts, 3);
    assert_int_equal(put.checksum_kind, AWS_CHECKSUM_NONE);
    assert_stored("bucket/key", LARGE);
    assert_int_equal(count_of(log_text(), "x-amz-checksum"), 0);
}

static void gives_every_part_the_key_of_its_encryption(void **unused)
{
    (void)unused;
    large_file();
    headers_add_text(&headers, "x-amz-server-side-encryption-customer-algorithm", "AES256", &err);
    headers_add_text(&headers, "x-amz-server-side-encryption-customer-key", "abc=", &err);
    put_spec.request.flags |= AWS_REQUEST_PAYER;
    run_put();
    assert_put();
    const char *log = log_text();
    assert_int_equal(count_of(log, "\"x-amz-server-side-encryption-customer-key\""), 5);
    assert_int_equal(count_of(log, "\"x-amz-request-payer\""), 5);
}

static void needs_no_checksums_where_the_server_has_none(void **unused)
{
    (void)unused;
    static const char *const kinds[] = {"{\"checksums\": \"refuse\"}", "{\"checksums\": \"invalid\"}"};
    for (int i = 0; i < 2; i++) {
        set(kinds[i]);
        from_file(LARGE);
        put_spec.part = PART;
        run_put();
        assert_put();
        assert_int_equal(put.checksum_kind, AWS_CHECKSUM_NONE);
        assert_stored("bucket/key", LARGE);
        close(put_spec.fd);
        put_spec.fd = -1;
    }
}

/* --- from a pipe --- */

struct writer {
    int fd;
    size_t at, length;
};

/* Writes what fits, and closes at the end. */
static void write_some(struct writer *w, const char *data)
{
    ssize_t count;
    while (w->fd >= 0 && w->at < w->length && (count = write(w->fd, data + w->at, w->length - w->at)) > 0)
        w->at += (size_t)count;
    if (w->fd >= 0 && w->at == w->length) {
        close(w->fd);
        w->fd = -1;
    }
}

static void put_through(int reader, int writer, size_t length)
{
    struct writer w = {writer, 0, length};
    char *data = pattern(length);
    fcntl(writer, F_SETFL, O_NONBLOCK);
    put_spec.from = S3_FROM_PIPE;
    put_spec.fd = reader;
    int flags = fcntl(reader, F_GETFL);
    start_put();
    TURN_UNTIL(loop, (write_some(&w, data), ended));
    assert_int_equal(fcntl(reader, F_GETFL), flags);
    if (w.fd >= 0)
        close(w.fd);
    free(data);
    close(reader);
    put_spec.fd = -1;
}

static void put_pipe(size_t length)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    put_through(ends[0], ends[1], length);
}

static void puts_what_comes_from_a_pipe(void **unused)
{
    (void)unused;
    static const size_t lengths[] = {0, 5, 100000, S3_MEMORY / 8, S3_MEMORY / 8 + 1, 30000000};
    put_spec.request.checksum = AWS_CHECKSUM_CRC32;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        put_pipe(lengths[i]);
        assert_put();
        assert_int_equal(put.size, lengths[i]);
        assert_int_equal(put.parts, lengths[i] < S3_MEMORY / 8 ? 0 : (lengths[i] + S3_MEMORY / 8 - 1) / (S3_MEMORY / 8));
        assert_stored("bucket/key", lengths[i]);
    }
}

static void puts_what_comes_from_a_socket_or_a_device(void **unused)
{
    (void)unused;
    int ends[2];
    put_spec.request.checksum = AWS_CHECKSUM_CRC32;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    put_through(ends[0], ends[1], 10000000);
    assert_put();
    assert_stored("bucket/key", 10000000);
    put_spec.fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    run_put();
    assert_put();
    assert_stored("bucket/key", 0);
}

static void waits_for_who_writes_to_a_named_pipe(void **unused)
{
    (void)unused;
    const char *path = scratch_path(folder, "fifo");
    assert_int_equal(mkfifo(path, 0600), 0);
    put_spec.from = S3_FROM_PIPE;
    put_spec.fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(put_spec.fd >= 0);
    start_put();
    int64_t begun = clock_ns();
    TURN_UNTIL(loop, ended || clock_ns() - begun > NS_PER_S / 10);
    assert_int_equal(ended, 0);
    int writer = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(writer >= 0);
    char *data = pattern(1000);
    assert_int_equal(write(writer, data, 1000), 1000);
    free(data);
    close(writer);
    TURN_UNTIL(loop, ended);
    assert_put();
    assert_stored("bucket/key", 1000);
}

/* What stands in for a pipe's content, handed over as a pipe of the usual length does. */
static struct {
    const char *data;
    size_t at, until, length;
} given;

static ssize_t read_given(int fd, void *room, size_t size)
{
    enum { OF_THE_LOOP = 1024 }; /* its own reads are shorter */
    if (size < OF_THE_LOOP)
        return read(fd, room, size);
    if (given.at == given.until && given.at < given.length) {
        errno = EAGAIN;
        return -1;
    }
    size_t count = size < MIB ? size : MIB;
    if (count > given.until - given.at)
        count = given.until - given.at;
    memcpy(room, given.data + given.at, count);
    given.at += count;
    return (ssize_t)count;
}

/* A part that becomes whole by the last look at the pipe, while no other is on its way: nobody's end will come and have it sent. */
static void sends_a_part_that_becomes_whole_while_nothing_is_on_its_way(void **unused)
{
    (void)unused;
    enum { EXPECTED_GIB = 80, WHOLE = S3_MEMORY / 3, FIRST = 2 * MIB };
    int ends[2];
    char *data = pattern(2 * WHOLE);
    given.data = data;
    given.at = 0;
    given.until = WHOLE;
    given.length = 2 * WHOLE;
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    assert_int_equal(write(ends[1], "", 1), 1); /* so that it is readable all the time */
    put_spec.from = S3_FROM_PIPE;
    put_spec.fd = ends[0];
    put_spec.expected = (int64_t)EXPECTED_GIB << 30;
    assert_int_equal(s3_pipe_part(1, put_spec.expected), WHOLE);
    sys.read = read_given;
    start_put();
    TURN_UNTIL(loop, put.requests == 2);
    given.until += FIRST;
    TURN_UNTIL(loop, given.at == given.until);
    given.until = given.length;
    TURN_UNTIL(loop, ended);
    sys.read = read;
    close(ends[0]);
    close(ends[1]);
    put_spec.fd = -1;
    free(data);
    assert_put();
    assert_int_equal(put.parts, 2);
    assert_stored("bucket/key", 2 * WHOLE);
}

static void holds_no_more_than_its_memory_of_a_pipe(void **unused)
{
    (void)unused;
    int ends[2];
    struct writer w = {.length = 80 << 20};
    char *data = pattern(w.length);
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    w.fd = ends[1];
    put_spec.from = S3_FROM_PIPE;
    put_spec.fd = ends[0];
    put_spec.request.flags |= AWS_CHECKSUM_OFF;
    steps("[{\"on\": \"PUT /bucket/key\", \"late\": 3, \"times\": 8}]");
    start_put();
    int64_t begun = clock_ns();
    TURN_UNTIL(loop, (write_some(&w, data), clock_ns() - begun > NS_PER_S || ended));
    assert_int_equal(ended, 0);
    assert_true(w.at <= (size_t)S3_MEMORY + (1 << 20)); /* and what the pipe itself holds */
    TURN_UNTIL(loop, (write_some(&w, data), ended));
    assert_put();
    free(data);
    assert_stored("bucket/key", 80 << 20);
}

/* --- failures --- */

static void tries_each_step_again(void **unused)
{
    (void)unused;
    static const char *const sets[] = {
        "[{\"on\": \"POST /bucket/key?uploads\", \"status\": 503, \"code\": \"SlowDown\"}]",
        "[{\"on\": \"PUT /bucket/key?partNumber=2\", \"status\": 500, \"code\": \"InternalError\", \"times\": 2}]",
        "[{\"on\": \"PUT /bucket/key?partNumber=1\", \"unread\": 1, \"how\": \"reset\"}]",
        "[{\"on\": \"POST /bucket/key?uploadId\", \"status\": 503, \"code\": \"SlowDown\"}]",
        "[{\"on\": \"POST /bucket/key?uploadId\", \"status\": 200, \"code\": \"InternalError\", \"message\": \"An internal error.\"}]",
    };
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        large_file();
        steps(sets[i]);
        run_put();
        assert_put();
        assert_stored("bucket/key", LARGE);
        assert_int_equal(uploads_left(), 0);
        close(put_spec.fd);
        put_spec.fd = -1;
    }
}

static void aborts_what_fails(void **unused)
{
    (void)unused;
    static const char *const sets[] = {
        "[{\"on\": \"PUT /bucket/key?partNumber=2\", \"status\": 403, \"code\": \"AccessDenied\"}]",
        "[{\"on\": \"PUT /bucket/key?partNumber=3\", \"status\": 500, \"code\": \"InternalError\", \"times\": 100}]",
        "[{\"on\": \"POST /bucket/key?uploadId\", \"status\": 400, \"code\": \"InvalidPart\"}]",
        "[{\"on\": \"POST /bucket/key?uploadId\", \"status\": 200, \"code\": \"InternalError\", \"times\": 100}]",
    };
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        large_file();
        steps(sets[i]);
        run_put();
        assert_false(put.ok);
        assert_non_null(strstr(put.err.text, "s3://bucket/key"));
        assert_true(*put.name);
        steps("[]");
        assert_int_equal(count_of(log_text(), "\"DELETE\""), i + 1);
        assert_int_equal(uploads_left(), 0);
        close(put_spec.fd);
        put_spec.fd = -1;
    }
}

static void tells_an_upload_that_could_not_begin(void **unused)
{
    (void)unused;
    large_file();
    steps("[{\"on\": \"POST /bucket/key?uploads\", \"status\": 403, \"code\": \"AccessDenied\"}]");
    run_put();
    assert_put_failed(ERR_DENIED, "s3://bucket/key", NULL);
    assert_int_equal(put.status, 403);
    steps("[{\"on\": \"POST /bucket/key?uploads\", \"status\": 200, \"body\": \"<a/>\"}]");
    run_put();
    assert_put_failed(ERR_PROTOCOL, "does not say which", NULL);
    assert_int_equal(count_of(log_text(), "\"DELETE\""), 0);
}

static void does_not_wait_for_ever_for_an_abort(void **unused)
{
    (void)unused;
    large_file();
    steps("[{\"on\": \"PUT /bucket/key?partNumber=2\", \"status\": 403, \"code\": \"AccessDenied\"}, {\"on\": \"DELETE\", \"silent\": 1, "
          "\"times\": 100}]");
    int64_t begun = clock_ns();
    run_put();
    assert_put_failed(ERR_DENIED, "s3://bucket/key", NULL);
    assert_true(clock_ns() - begun < (S3_ABORT_MS + 3000) * NS_PER_MS);
}

static void aborts_what_is_stopped(void **unused)
{
    (void)unused;
    large_file();
    steps("[{\"on\": \"PUT /bucket/key?partNumber=2\", \"late\": 0.5}]");
    start_put();
    TURN_UNTIL(loop, s3_put_sent(&put) >= PART || ended);
    assert_int_equal(s3_put_leftovers(), 0);
    s3_put_stop(&put);
    put_spec.request = (struct aws_spec){0}; /* nothing of its owner is used any more */
    headers_free(&headers);
    assert_int_equal(s3_put_leftovers(), 1);
    TURN_UNTIL(loop, s3_put_leftovers() == 0);
    assert_int_equal(ended, 0);
    assert_int_equal(count_of(log_text(), "\"DELETE\""), 1);
    assert_int_equal(uploads_left(), 0);
}

static void aborts_an_upload_whose_name_came_after_the_stop(void **unused)
{
    (void)unused;
    large_file();
    steps("[{\"on\": \"POST /bucket/key?uploads\", \"late\": 0.3}]");
    start_put();
    int64_t begun = clock_ns();
    TURN_UNTIL(loop, clock_ns() - begun > 100 * NS_PER_MS);
    s3_put_stop(&put);
    put_spec.request = (struct aws_spec){0};
    assert_int_equal(s3_put_leftovers(), 1);
    TURN_UNTIL(loop, s3_put_leftovers() == 0);
    assert_int_equal(count_of(log_text(), "\"DELETE\""), 1);
    assert_int_equal(uploads_left(), 0);
}

static void may_be_stopped_at_any_time(void **unused)
{
    (void)unused;
    from_file(LARGE);
    put_spec.part = PART;
    put_spec.request.flags |= AWS_CHECKSUM_OFF;
    for (int turns = 0; turns < 80; turns += 4) {
        start_put();
        for (int i = 0; i < turns && !ended; i++)
            loop_turn(loop, clock_ns() + PATIENCE_MS * NS_PER_MS, NULL);
        s3_put_stop(&put);
        TURN_UNTIL(loop, s3_put_leftovers() == 0);
    }
    assert_int_equal(uploads_left(), 0);
    for (int turns = 0; turns < 30; turns += 5) { /* and those that are given up before their abort is over */
        start_put();
        for (int i = 0; i < turns && !ended; i++)
            loop_turn(loop, clock_ns() + PATIENCE_MS * NS_PER_MS, NULL);
        s3_put_stop(&put);
        s3_put_drop_leftovers();
    }
}

static void obeys_conditions(void **unused)
{
    (void)unused;
    place("bucket/key", 10);
    headers_add_text(&headers, "If-None-Match", "*", &err);
    from_memory(10);
    run_put();
    assert_put_failed(ERR_CONFLICT, "s3://bucket/key", NULL);
    assert_int_equal(put.status, 412);
    put_spec.data = NULL;
    large_file();
    run_put();
    assert_put_failed(ERR_CONFLICT, "s3://bucket/key", NULL);
    assert_int_equal(put.status, 412);
    assert_string_equal(put.name, "PreconditionFailed");
    assert_int_equal(uploads_left(), 0);
}

static void uploads_all_of_it_again_when_somebody_else_was_at_it(void **unused)
{
    (void)unused;
    large_file();
    steps("[{\"on\": \"POST /bucket/key?uploadId\", \"status\": 409, \"code\": \"ConditionalRequestConflict\", \"times\": 4}]");
    run_put();
    assert_put();
    assert_int_equal(put.err.kind, ERR_NONE);
    assert_stored("bucket/key", LARGE);
    assert_int_equal(uploads_left(), 0);
    assert_true(count_of(log_text(), "partNumber") > 3);
    steps("[{\"on\": \"POST /bucket/key?uploadId\", \"status\": 409, \"code\": \"ConditionalRequestConflict\", \"times\": 100}]");
    run_put();
    assert_put_failed(ERR_CONFLICT, "s3://bucket/key", NULL);
    assert_int_equal(put.status, 409);
    close(put_spec.fd);
    put_spec.part = 0;
    from_memory(1000);
    put_spec.fd = -1;
    steps("[{\"on\": \"PUT /bucket/key\", \"status\": 409, \"code\": \"ConditionalRequestConflict\", \"times\": 1}]");
    run_put();
    assert_put();
}

/* A pipe that brought less than was expected is in memory as a whole, however many parts a file of its length would have. */
static void puts_a_pipe_again_when_somebody_else_was_at_it(void **unused)
{
    (void)unused;
    put_spec.part = PART;
    put_spec.expected = INT64_C(100) << 30;
    put_spec.request.flags |= AWS_CHECKSUM_OFF;
    steps("[{\"on\": \"PUT /bucket/key\", \"status\": 409, \"code\": \"ConditionalRequestConflict\", \"times\": 1}]");
    put_pipe(LARGE);
    assert_put();
    assert_stored("bucket/key", LARGE);
}

static void knows_its_object_when_the_answer_was_lost(void **unused)
{
    (void)unused;
    large_file();
    steps("[{\"on\": \"POST /bucket/key?uploadId\", \"after\": 1, \"status\": 500, \"code\": \"InternalError\"}]");
    run_put();
    assert_put();
    assert_stored("bucket/key", LARGE);
    assert_int_equal(count_of(log_text(), "\"HEAD\""), 1);
    assert_non_null(strstr(put.etag, "-3"));
}

static void completes_without_the_checksum_where_that_is_refused(void **unused)
{
    (void)unused;
    large_file();
    steps("[{\"on\": \"POST /bucket/key?uploadId\", \"status\": 400, \"code\": \"InvalidRequest\"}]");
    run_put();
    assert_put();
    assert_int_equal(put.checksum_kind, AWS_CHECKSUM_NONE);
    assert_stored("bucket/key", LARGE);
}

/* --- files that change --- */

static void tells_a_file_that_changes_while_it_is_read(void **unused)
{
    (void)unused;
    large_file();
    steps("[{\"on\": \"PUT /bucket/key?partNumber=2\", \"late\": 0.3}]");
    start_put();
    TURN_UNTIL(loop, s3_put_sent(&put) > 0 || ended);
    int fd = open(put_spec.name, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(fd, "more", 4), 4);
    TURN_UNTIL(loop, ended);
    assert_put_failed(ERR_CONFLICT, put_spec.name, "changed", NULL);
    assert_int_equal(uploads_left(), 0);
    close(fd);
    assert_int_equal(truncate(put_spec.name, LARGE), 0);
    steps("[]");
    start_put();
    TURN_UNTIL(loop, put.requests > 0 || ended); /* it is begun */
    assert_int_equal(truncate(put_spec.name, PART / 2), 0);
    TURN_UNTIL(loop, ended);
    assert_false(put.ok);
    assert_int_equal(put.err.kind, ERR_CONFLICT);
    assert_int_equal(uploads_left(), 0);
}

static void puts_many_small_objects_at_a_time(void **unused)
{
    (void)unused;
    enum { MANY = 200 };
    static struct s3_put puts[MANY];
    from_memory(10240);
    ended = 0;
    for (int i = 0; i < MANY; i++)
        assert_true(s3_put_start(&puts[i], loop, client, &put_spec, on_put_done, &err));
    TURN_UNTIL(loop, ended == MANY);
    for (int i = 0; i < MANY; i++) {
        assert_true(puts[i].ok);
        s3_put_stop(&puts[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PUT(puts_what_is_small_in_one_request),
        PUT(puts_a_larger_file_with_its_checksum_behind_it),
        PUT(puts_a_range_of_a_file),
        PUT(refuses_what_makes_no_sense),
        PUT(puts_a_large_file_in_parts),
        PUT(puts_a_large_one_from_memory),
        PUT(gives_every_part_the_key_of_its_encryption),
        PUT(needs_no_checksums_where_the_server_has_none),
        PUT(puts_what_comes_from_a_pipe),
        PUT(puts_what_comes_from_a_socket_or_a_device),
        PUT(waits_for_who_writes_to_a_named_pipe),
        PUT(sends_a_part_that_becomes_whole_while_nothing_is_on_its_way),
        PUT(holds_no_more_than_its_memory_of_a_pipe),
        PUT(tries_each_step_again),
        PUT(aborts_what_fails),
        PUT(tells_an_upload_that_could_not_begin),
        PUT(does_not_wait_for_ever_for_an_abort),
        PUT(aborts_what_is_stopped),
        PUT(aborts_an_upload_whose_name_came_after_the_stop),
        PUT(may_be_stopped_at_any_time),
        PUT(obeys_conditions),
        PUT(uploads_all_of_it_again_when_somebody_else_was_at_it),
        PUT(puts_a_pipe_again_when_somebody_else_was_at_it),
        PUT(knows_its_object_when_the_answer_was_lost),
        PUT(completes_without_the_checksum_where_that_is_refused),
        PUT(tells_a_file_that_changes_while_it_is_read),
        PUT(puts_many_small_objects_at_a_time),
    };
    return cmocka_run_group_tests(tests, s3_server_start, s3_server_stop);
}
