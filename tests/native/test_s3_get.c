/* Downloads against an S3 that misbehaves as it is told: to memory, files and descriptors, in one request and in parts, broken, damaged,
 * replaced and stopped in between. */
#include "fault.h"
#include "transferring.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

enum { LARGE = 9 * 1024 * 1024 + 1234 }; /* parts of 2 MiB: the lead and four others */

/* --- to memory --- */

static void gets_a_small_object_with_one_request(void **unused)
{
    (void)unused;
    place("bucket/key", 10240);
    run_get();
    assert_got(10240);
    assert_true(is_pattern(get.body.data, get.body.length, 0));
    assert_int_equal(get.requests, 1);
    assert_int_equal(get.size, 10240);
    assert_int_equal(get.status, 200);
    assert_int_equal(get.verified, AWS_CHECKSUM_CRC64NVME);
    assert_non_null(headers_find(&get.headers, "ETag"));
}

static void gets_an_empty_object(void **unused)
{
    (void)unused;
    place("bucket/key", 0);
    run_get();
    assert_got(0);
    assert_int_equal(get.body.length, 0);
    assert_int_equal(get.requests, 1);
    get_spec.to = S3_TO_FILE;
    get_spec.path = scratch_path(folder, "empty");
    run_get();
    assert_got(0);
    assert_file(get_spec.path, 0);
}

static void gets_a_large_object_in_parts_of_the_same_etag(void **unused)
{
    (void)unused;
    place("bucket/key", LARGE);
    run_get();
    assert_got(LARGE);
    assert_true(is_pattern(get.body.data, get.body.length, 0));
    assert_in_range(get.requests, 2, 6);
    const char *log = log_text();
    assert_int_equal(count_of(log, "\"range\": \"bytes="), get.requests - 1);
    assert_int_equal(count_of(log, "\"if-match\": "), get.requests - 1);
    assert_int_equal(count_of(log, "HEAD"), 0);
}

static void says_before_it_fetches_that_an_object_is_too_large_for_memory(void **unused)
{
    (void)unused;
    place("bucket/key", 100000);
    get_spec.ceiling = 99999;
    run_get();
    assert_get_failed(ERR_INVALID, "s3://bucket/key", "100000 bytes", "99999", NULL);
    get_spec.ceiling = 100000;
    run_get();
    assert_got(100000);
}

static void tells_what_is_not_there(void **unused)
{
    (void)unused;
    get_spec.to = S3_TO_FILE;
    get_spec.path = scratch_path(folder, "none");
    run_get();
    assert_get_failed(ERR_MISSING, "s3://bucket/key", NULL);
    assert_int_equal(get.status, 404);
    assert_string_equal(get.name, "NoSuchKey");
    assert_int_equal(entries_in(folder), 0);
}

static void refuses_what_makes_no_sense(void **unused)
{
    (void)unused;
    get_spec.end = 1;
    get_spec.start = 1;
    assert_false(s3_get_start(&get, loop, client, &get_spec, on_got, &err));
    get_spec.end = get_spec.start = 0;
    get_spec.request.key = (struct bytes){"", 0};
    assert_false(s3_get_start(&get, loop, client, &get_spec, on_got, &err));
    get_spec.request.key = bytes_of("k");
    get_spec.to = S3_TO_FILE;
    assert_false(s3_get_start(&get, loop, client, &get_spec, on_got, &err));
    get_spec.path = "x";
    get_spec.connections = HTTP_CONNECTIONS + 1;
    assert_false(s3_get_start(&get, loop, client, &get_spec, on_got, &err));
}

/* --- ranges and conditions --- */

static void gets_a_range(void **unused)
{
    (void)unused;
    place("bucket/key", 100000);
    get_spec.start = 1000;
    get_spec.end = 3000;
    run_get();
    assert_got(2000);
    assert_true(is_pattern(get.body.data, 2000, 1000));
    assert_int_equal(get.size, 100000);
    assert_int_equal(get.status, 206);
    get_spec.end = 0;
    run_get();
    assert_got(99000);
    assert_true(is_pattern(get.body.data, 99000, 1000));
    get_spec.end = 1000000;
    run_get();
    assert_got(99000);
    get_spec.start = 100000;
    run_get();
    assert_get_failed(ERR_INVALID, NULL);
    assert_int_equal(get.status, 416);
    get_spec.start = get_spec.end = 0;
    get_spec.last = 700;
    run_get();
    assert_got(700);
    assert_true(is_pattern(get.body.data, 700, 99300));
    place("bucket/key", LARGE);
    get_spec.last = LARGE - 100000;
    run_get();
    assert_got(LARGE - 100000);
    assert_true(is_pattern(get.body.data, get.body.length, 100000));
    assert_true(get.requests > 1);
}

static void gets_a_large_range_in_parts(void **unused)
{
    (void)unused;
    place("bucket/key", LARGE);
    get_spec.start = 12345;
    get_spec.end = LARGE - 1;
    run_get();
    assert_got(LARGE - 1 - 12345);
    assert_true(is_pattern(get.body.data, get.body.length, 12345));
    assert_true(get.requests > 1);
}

static void sends_conditions_with_the_first_request_only(void **unused)
{
    (void)unused;
    place("bucket/key", LARGE);
    headers_add_text(&headers, "If-None-Match", "\"other\"", &err);
    headers_add_text(&headers, "x-amz-meta-kept", "1", &err);
    run_get();
    assert_got(LARGE);
    const char *log = log_text();
    assert_int_equal(count_of(log, "\"if-none-match\""), 1);
    assert_int_equal(count_of(log, "\"x-amz-meta-kept\""), get.requests);
}

static void tells_an_object_that_is_still_the_same(void **unused)
{
    (void)unused;
    place("bucket/key", 100);
    run_get();
    assert_got(100);
    headers_add_text(&headers, "If-None-Match", headers_find(&get.headers, "ETag"), &err);
    run_get();
    assert_get_failed(ERR_CONFLICT, "not modified", NULL);
    assert_int_equal(get.status, 304);
}

static void asks_for_a_version(void **unused)
{
    (void)unused;
    place("bucket/key", LARGE);
    get_spec.version = bytes_of("abc/+=");
    run_get();
    assert_got(LARGE);
    assert_int_equal(count_of(log_text(), "\"versionId\": \"abc/+=\""), get.requests);
}

/* --- to a file --- */

static void replaces_a_file_when_the_new_one_is_whole(void **unused)
{
    (void)unused;
    place("bucket/key", LARGE);
    scratch_write(folder, "file", "old", 0600);
    get_spec.to = S3_TO_FILE;
    get_spec.path = scratch_path(folder, "file");
    get_spec.keep_time = true;
    start_get();
    TURN_UNTIL(loop, get.received > 0 || ended);
    assert_int_equal(ended, 0);
    assert_string_equal(scratch_read(folder, "file"), "old");
    TURN_UNTIL(loop, ended);
    assert_got(LARGE);
    assert_file(get_spec.path, LARGE);
    assert_int_equal(entries_in(folder), 1);
    struct stat status;
    assert_int_equal(stat(get_spec.path, &status), 0);
    assert_int_equal(status.st_mtim.tv_nsec, 0);
}

static void syncs_a_file_that_must_be_durable_on_another_thread(void **unused)
{
    (void)unused;
    place("bucket/key", 100000);
    get_spec.to = S3_TO_FILE;
    get_spec.path = scratch_path(folder, "file");
    get_spec.durable = true;
    fault_clear();
    run_get();
    assert_got(100000);
    assert_file(get_spec.path, 100000);
    assert_int_equal(fault_calls(FAULT_FSYNC), 2); /* its bytes, and then its name */
    fault_set(FAULT_FSYNC, 2, 1, EIO);
    run_get();
    assert_get_failed(ERR_SYSTEM, "sync", folder, NULL);
    assert_int_equal(unlink(get_spec.path), 0);
    fault_set(FAULT_FSYNC, 1, 1, EIO);
    run_get();
    assert_get_failed(ERR_SYSTEM, "write", folder, NULL);
    assert_int_equal(entries_in(folder), 0);
    fault_clear();
}

static void has_room_for_a_temporary_name_whatever_the_name_is(void **unused)
{
    (void)unused;
    char name[256];
    place("bucket/key", 10240);
    get_spec.to = S3_TO_FILE;
    for (size_t length = 240; length <= 255; length += 5) {
        memset(name, 'n', length);
        memcpy(name + length - 3, "\xe2\x82\xac", 3);
        name[length] = 0;
        get_spec.path = scratch_path(folder, name);
        run_get();
        assert_got(10240);
        assert_file(get_spec.path, 10240);
    }
    assert_int_equal(entries_in(folder), 4);
}

/* Containers that share a directory have the same few pids. */
static void leaves_alone_what_another_process_of_the_same_pid_writes(void **unused)
{
    (void)unused;
    char theirs[2][600];
    place("bucket/key", 10240);
    get_spec.to = S3_TO_FILE;
    get_spec.path = scratch_path(folder, "file");
    for (unsigned i = 0; i < 2; i++) {
        snprintf(theirs[i], sizeof theirs[i], "%s.%d.%u.part", get_spec.path, (int)getpid(), i);
        int fd = open(theirs[i], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        struct timespec old = {.tv_sec = time(NULL) - 7200};
        if (i == 1) /* of a process that is gone */
            assert_int_equal(futimens(fd, (struct timespec[2]){old, old}), 0);
        close(fd);
    }
    run_get();
    assert_got(10240);
    assert_file(get_spec.path, 10240);
    assert_int_equal(access(theirs[0], F_OK), 0);
    assert_int_equal(access(theirs[1], F_OK), -1);
}

static void leaves_nothing_when_stopped(void **unused)
{
    (void)unused;
    place("bucket/key", LARGE);
    get_spec.to = S3_TO_FILE;
    get_spec.path = scratch_path(folder, "file");
    start_get();
    TURN_UNTIL(loop, get.received > 0 || ended);
    assert_int_equal(entries_in(folder), 1);
    s3_get_stop(&get);
    assert_int_equal(entries_in(folder), 0);
    assert_int_equal(ended, 0);
    s3_get_stop(&get);
}

static void follows_a_link_and_refuses_a_directory(void **unused)
{
    (void)unused;
    place("bucket/key", 1000);
    scratch_write(folder, "file", "old", 0600);
    assert_int_equal(symlink(scratch_path(folder, "file"), scratch_path(folder, "link")), 0);
    get_spec.to = S3_TO_FILE;
    get_spec.path = scratch_path(folder, "link");
    run_get();
    assert_got(1000);
    struct stat status;
    assert_int_equal(lstat(scratch_path(folder, "link"), &status), 0);
    assert_true(S_ISLNK(status.st_mode));
    assert_file(scratch_path(folder, "file"), 1000);
    get_spec.path = folder;
    run_get();
    assert_get_failed(ERR_CONFLICT, folder, "directory", NULL);
}

static void tells_the_path_that_can_not_be_written(void **unused)
{
    (void)unused;
    place("bucket/key", 1000);
    get_spec.to = S3_TO_FILE;
    get_spec.path = scratch_path(folder, "no/such/folder");
    run_get();
    assert_get_failed(ERR_MISSING, "no/such/folder", NULL);
}

static void tells_a_full_disk_and_leaves_nothing(void **unused)
{
    (void)unused;
    struct rlimit before, small = {3 << 20, RLIM_INFINITY};
    place("bucket/key", LARGE);
    get_spec.to = S3_TO_FILE;
    get_spec.path = scratch_path(folder, "file");
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    run_get();
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_get_failed(ERR_SYSTEM, "file", NULL);
    assert_int_equal(entries_in(folder), 0);
    get_spec.path = "/dev/full";
    run_get();
    assert_get_failed(ERR_SYSTEM, "No space left", NULL);
}

/* --- to a descriptor --- */

/* Reads the other end while the loop turns, as much as is there. */
static size_t drain_end(int fd, char *room, size_t at, size_t size)
{
    ssize_t count;
    while (at < size && (count = read(fd, room + at, size - at)) > 0)
        at += (size_t)count;
    return at;
}

static void check_descriptor(int reader, int writer)
{
    char *room = malloc(LARGE + 1);
    size_t at = 0;
    get_spec.to = S3_TO_DESCRIPTOR;
    get_spec.fd = writer;
    int flags = fcntl(writer, F_GETFL);
    fcntl(reader, F_SETFL, O_NONBLOCK);
    start_get();
    TURN_UNTIL(loop, (at = drain_end(reader, room, at, LARGE + 1), ended));
    at = drain_end(reader, room, at, LARGE + 1);
    assert_got(LARGE);
    assert_int_equal(at, LARGE);
    assert_true(is_pattern(room, at, 0));
    assert_int_equal(fcntl(writer, F_GETFL), flags);
    free(room);
}

static void writes_to_a_pipe_in_order(void **unused)
{
    (void)unused;
    int ends[2];
    place("bucket/key", LARGE);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    check_descriptor(ends[0], ends[1]);
    close(ends[0]);
    close(ends[1]);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    check_descriptor(ends[0], ends[1]);
    close(ends[0]);
    close(ends[1]);
}

static void writes_to_a_file_that_is_open_where_it_stands(void **unused)
{
    (void)unused;
    place("bucket/key", LARGE);
    int fd = open(scratch_path(folder, "file"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, "head", 4), 4);
    get_spec.to = S3_TO_DESCRIPTOR;
    get_spec.fd = fd;
    run_get();
    assert_got(LARGE);
    char *data = malloc(LARGE);
    assert_int_equal(pread(fd, data, LARGE, 4), LARGE);
    assert_true(is_pattern(data, LARGE, 0));
    free(data);
    assert_int_equal(lseek(fd, 0, SEEK_CUR), LARGE + 4);
    close(fd);
}

static void waits_for_a_reader_and_takes_no_more_memory_meanwhile(void **unused)
{
    (void)unused;
    enum { HUGE_ONE = 60 * 1024 * 1024 };
    int ends[2];
    char *room = malloc(HUGE_ONE + 1);
    size_t at = 0;
    place("bucket/key", HUGE_ONE);
    assert_int_equal(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    get_spec.to = S3_TO_DESCRIPTOR;
    get_spec.fd = ends[1];
    start_get();
    /* Nobody reads: all connections come to rest. */
    int64_t seen = -1;
    for (int64_t still_since = clock_ns(); clock_ns() - still_since < 300 * NS_PER_MS;) {
        loop_turn(loop, clock_ns() + PATIENCE_MS * NS_PER_MS, NULL);
        if (get.received != seen)
            still_since = clock_ns();
        seen = get.received;
    }
    assert_int_equal(ended, 0);
    assert_true(get.received <= S3_MEMORY + (1 << 20));
    TURN_UNTIL(loop, (at = drain_end(ends[0], room, at, HUGE_ONE + 1), ended));
    at = drain_end(ends[0], room, at, HUGE_ONE + 1);
    assert_got(HUGE_ONE);
    assert_int_equal(at, HUGE_ONE);
    assert_true(is_pattern(room, at, 0));
    free(room);
    close(ends[0]);
    close(ends[1]);
}

static void tells_when_nobody_reads_any_more(void **unused)
{
    (void)unused;
    int ends[2];
    place("bucket/key", LARGE);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    get_spec.to = S3_TO_DESCRIPTOR;
    get_spec.fd = ends[1];
    start_get();
    TURN_UNTIL(loop, get.received > 0 || ended);
    close(ends[0]);
    TURN_UNTIL(loop, ended);
    assert_get_failed(ERR_SYSTEM, "write to descriptor", "Broken pipe", NULL);
    close(ends[1]);
}

static void writes_to_what_is_no_file_instead_of_replacing_it(void **unused)
{
    (void)unused;
    place("bucket/key", 100000);
    const char *path = scratch_path(folder, "fifo");
    assert_int_equal(mkfifo(path, 0600), 0);
    get_spec.to = S3_TO_FILE;
    get_spec.path = path;
    run_get();
    assert_get_failed(ERR_SYSTEM, "fifo", NULL); /* nobody reads there */
    int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    char *room = malloc(100001);
    size_t at = 0;
    start_get();
    TURN_UNTIL(loop, (at = drain_end(reader, room, at, 100001), ended));
    at = drain_end(reader, room, at, 100001);
    assert_got(100000);
    assert_int_equal(at, 100000);
    free(room);
    close(reader);
    get_spec.path = "/dev/null";
    run_get();
    assert_got(100000);
    struct stat status;
    assert_int_equal(stat("/dev/null", &status), 0);
    assert_true(S_ISCHR(status.st_mode));
}

/* --- what breaks --- */

static void goes_on_where_a_connection_broke(void **unused)
{
    (void)unused;
    static const char *const hows[] = {"", ", \"how\": \"reset\""};
    place("bucket/key", LARGE);
    for (int i = 0; i < 2; i++) {
        char text[200];
        snprintf(text, sizeof text, "[{\"on\": \"GET /bucket/key\", \"cut\": 700000, \"times\": 3%s}]", hows[i]);
        steps(text);
        get_spec.connections = 2;
        run_get();
        assert_got(LARGE);
        assert_true(is_pattern(get.body.data, get.body.length, 0));
    }
    /* The lead got 700,000 bytes of everything, and asked for the rest from there. */
    assert_non_null(strstr(log_text(), "\"range\": \"bytes=700000-"));
}

static void goes_on_as_long_as_it_gets_on(void **unused)
{
    (void)unused;
    place("bucket/key", LARGE);
    steps("[{\"on\": \"GET /bucket/key\", \"cut\": 500000, \"times\": 15}]");
    run_get();
    assert_got(LARGE);
    assert_true(is_pattern(get.body.data, get.body.length, 0));
}

static void gives_up_when_it_does_not_get_on(void **unused)
{
    (void)unused;
    place("bucket/key", LARGE);
    get_spec.to = S3_TO_FILE;
    get_spec.path = scratch_path(folder, "file");
    steps("[{\"on\": \"GET /bucket/key\", \"cut\": 300000}, {\"on\": \"GET /bucket/key\", \"cut\": 10, \"times\": 1000}]");
    run_get();
    assert_get_failed(ERR_PROTOCOL, "s3://bucket/key", NULL);
    assert_int_equal(entries_in(folder), 0);
}

static void tries_again_after_errors_of_the_server(void **unused)
{
    (void)unused;
    place("bucket/key", LARGE);
    steps("[{\"on\": \"GET /bucket/key\", \"status\": 500, \"code\": \"InternalError\", \"times\": 1}, {\"on\": \"GET /bucket/key\", "
          "\"times\": 1},"
          " {\"on\": \"GET /bucket/key\", \"status\": 503, \"code\": \"SlowDown\", \"times\": 2}]");
    run_get();
    assert_got(LARGE);
    assert_true(is_pattern(get.body.data, get.body.length, 0));
}

static void tells_an_object_that_was_replaced_in_between(void **unused)
{
    (void)unused;
    place("bucket/key", LARGE);
    get_spec.to = S3_TO_FILE;
    get_spec.path = scratch_path(folder, "file");
    get_spec.connections = 2;
    steps("[{\"on\": \"GET /bucket/key\", \"rate\": 4000000}, {\"on\": \"GET /bucket/key\", \"late\": 0.5}]");
    start_get();
    TURN_UNTIL(loop, get.received > 0 || ended);
    place("bucket/key", LARGE - 1);
    TURN_UNTIL(loop, ended);
    assert_get_failed(ERR_CONFLICT, "s3://bucket/key", "replaced", NULL);
    assert_int_equal(get.status, 412);
    assert_int_equal(entries_in(folder), 0);
}

static void refuses_another_range_than_it_asked_for(void **unused)
{
    (void)unused;
    place("bucket/key", LARGE);
    get_spec.connections = 2;
    steps("[{\"on\": \"GET /bucket/key\", \"rate\": 4000000}, {\"on\": \"GET /bucket/key\", \"status\": 206, \"body\": \"wrong\", "
          "\"headers\": "
          "{\"Content-Range\": \"bytes 7-11/100\"}}]");
    run_get();
    assert_get_failed(ERR_PROTOCOL, "s3://bucket/key", "range", NULL);
}

static void refuses_a_size_that_no_object_has(void **unused)
{
    (void)unused;
    place("bucket/key", 10);
    steps("[{\"on\": \"GET /bucket/key\", \"status\": 206, \"body\": \"wrong\", \"headers\": "
          "{\"ETag\": \"\\\"e\\\"\", \"Content-Range\": \"bytes 0-4/9223372036854775000\", \"x-amz-checksum-crc32\": \"AAAAAA==\"}}]");
    get_spec.to = S3_TO_FILE;
    get_spec.path = scratch_path(folder, "file");
    run_get();
    assert_get_failed(ERR_PROTOCOL, "s3://bucket/key", "9223372036854775000", NULL);
    assert_int_equal(entries_in(folder), 0);
}

/* Without an ETag nobody can tell whether the rest is of the same object. */
static void puts_no_two_objects_together(void **unused)
{
    (void)unused;
    place("bucket/key", 20);
    steps("[{\"on\": \"GET /bucket/key\", \"status\": 200, \"body\": \"xxxxxxxxxxxxxxxxxxxx\", \"cut\": 10}]");
    run_get();
    assert_false(get.ok);
    steps("[{\"on\": \"GET /bucket/key\", \"status\": 200, \"body\": \"xxxxxxxxxxxxxxxxxxxx\", \"cut\": 10, "
          "\"headers\": {\"ETag\": \"W/\\\"weak\\\"\"}}]");
    run_get();
    assert_false(get.ok);
}

/* --- checksums --- */

static void upload_with(enum aws_checksum_kind kind, size_t length)
{
    char *data = pattern(length);
    put_spec.data = data;
    put_spec.length = (int64_t)length;
    put_spec.request.checksum = kind;
    run_put();
    assert_put();
    free(data);
}

static void holds_what_came_in_parts_against_the_checksum_of_the_whole(void **unused)
{
    (void)unused;
    upload_with(AWS_CHECKSUM_CRC32, LARGE);
    get_spec.to = S3_TO_FILE;
    get_spec.path = scratch_path(folder, "file");
    run_get();
    assert_got(LARGE);
    assert_true(get.requests > 1);
    assert_int_equal(get.verified, AWS_CHECKSUM_CRC32);
    assert_string_equal(get.checksum, put.checksum);
    get_spec.to = S3_TO_DESCRIPTOR;
    get_spec.fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    run_get();
    assert_got(LARGE);
    assert_int_equal(get.verified, AWS_CHECKSUM_CRC32);
    close(get_spec.fd);
    get_spec.to = S3_TO_MEMORY;
    get_spec.unchecked = true;
    run_get();
    assert_got(LARGE);
    assert_int_equal(get.verified, AWS_CHECKSUM_NONE);
}

/* What S3 says of the pattern when it was uploaded in parts of 5 MiB. */
static const char *checksum_of_parts(enum aws_checksum_kind kind)
{
    enum { PART = 5 * 1024 * 1024 };
    static char text[AWS_CHECKSUM_TEXT_SIZE];
    char *data = pattern(LARGE);
    struct aws_checksum all;
    unsigned char raw[AWS_CHECKSUM_RAW_SIZE];
    assert_true(aws_checksum_start(&all, kind, NULL));
    for (size_t at = 0; at < LARGE; at += PART) {
        struct aws_checksum one;
        assert_true(aws_checksum_start(&one, kind, NULL));
        aws_checksum_add(&one, data + at, LARGE - at < PART ? LARGE - at : PART);
        size_t length = aws_checksum_finish(&one, raw);
        aws_checksum_add(&all, raw, length);
    }
    size_t length = aws_checksum_finish(&all, raw);
    aws_checksum_text(raw, length, 2, text);
    free(data);
    return text;
}

/* The server's word for the length of the first part: as long as its body. */
static void part_is(size_t length)
{
    char *text = malloc(length + 200);
    int head = sprintf(text, "[{\"on\": \"HEAD /bucket/key\", \"status\": 206, \"body\": \"");
    memset(text + head, 'x', length);
    strcpy(text + head + length, "\"}]");
    steps(text);
    free(text);
}

static void holds_what_came_against_the_checksum_of_its_parts(void **unused)
{
    (void)unused;
    const char *said = checksum_of_parts(AWS_CHECKSUM_CRC32);
    place_with("bucket/key", LARGE, "x-amz-checksum-crc32", said);
    get_spec.to = S3_TO_FILE;
    get_spec.path = scratch_path(folder, "file");
    part_is(5 * 1024 * 1024);
    run_get();
    assert_got(LARGE);
    assert_int_equal(get.verified, AWS_CHECKSUM_CRC32);
    assert_string_equal(get.checksum, said);
    /* Without the length it says nothing, and a wrong one says something else. */
    steps("[{\"on\": \"HEAD /bucket/key\", \"status\": 403, \"code\": \"AccessDenied\"}]");
    run_get();
    assert_got(LARGE);
    assert_int_equal(get.verified, AWS_CHECKSUM_NONE);
    part_is(5 * 1024 * 1024);
    place_with("bucket/key", LARGE, "x-amz-checksum-crc32", "AAAAAA==-2");
    run_get();
    assert_get_failed(ERR_PROTOCOL, "twice", "AAAAAA==-2", NULL);
}

/* A SHA of bytes that come in any order, or of parts: what has come is read again, where that can be. */
static void holds_what_came_in_parts_against_a_sha(void **unused)
{
    (void)unused;
    static const enum aws_checksum_kind kinds[] = {AWS_CHECKSUM_SHA256, AWS_CHECKSUM_SHA1};
    static const enum s3_to places[] = {S3_TO_FILE, S3_TO_MEMORY, S3_TO_DESCRIPTOR};
    char *data = pattern(LARGE), of_whole[AWS_CHECKSUM_TEXT_SIZE];
    get_spec.path = scratch_path(folder, "file");
    get_spec.fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    for (size_t i = 0; i < 12; i++) {
        enum aws_checksum_kind kind = kinds[i % 2];
        bool of_parts = i >= 6;
        assert_true(aws_checksum_of(kind, (struct bytes){data, LARGE}, of_whole, NULL));
        const char *said = of_parts ? checksum_of_parts(kind) : of_whole;
        place_with("bucket/key", LARGE, aws_checksum_header(kind), said);
        get_spec.to = places[i % 6 / 2];
        if (of_parts)
            part_is(5 * 1024 * 1024);
        run_get();
        assert_got(LARGE);
        assert_true(get.requests > 1);
        assert_int_equal(get.verified, of_parts && get_spec.to == S3_TO_DESCRIPTOR ? AWS_CHECKSUM_NONE : kind);
    }
    steps("[]");
    place_with("bucket/key", LARGE, "x-amz-checksum-sha256", "AAAA");
    get_spec.to = S3_TO_FILE;
    run_get();
    assert_get_failed(ERR_PROTOCOL, "twice", "SHA256", NULL);
    assert_int_equal(entries_in(folder), 1); /* the one of before */
    close(get_spec.fd);
    free(data);
}

static void fetches_damaged_bytes_a_second_time(void **unused)
{
    (void)unused;
    upload_with(AWS_CHECKSUM_CRC32, LARGE);
    get_spec.to = S3_TO_FILE;
    get_spec.path = scratch_path(folder, "file");
    steps("[{\"on\": \"GET /bucket/key\", \"times\": 1}, {\"on\": \"GET /bucket/key\", \"damage\": 1000, \"times\": 1}]");
    run_get();
    assert_got(LARGE);
    assert_int_equal(get.verified, AWS_CHECKSUM_CRC32);
    assert_file(get_spec.path, LARGE);
}

static void fetches_damaged_bytes_of_a_sha_a_second_time(void **unused)
{
    (void)unused;
    char *data = pattern(LARGE), said[AWS_CHECKSUM_TEXT_SIZE];
    assert_true(aws_checksum_of(AWS_CHECKSUM_SHA256, (struct bytes){data, LARGE}, said, NULL));
    free(data);
    place_with("bucket/key", LARGE, "x-amz-checksum-sha256", said);
    get_spec.to = S3_TO_FILE;
    get_spec.path = scratch_path(folder, "file");
    steps("[{\"on\": \"GET /bucket/key\", \"times\": 1}, {\"on\": \"GET /bucket/key\", \"damage\": 1000, \"times\": 1}]");
    run_get();
    assert_got(LARGE);
    assert_int_equal(get.verified, AWS_CHECKSUM_SHA256);
    assert_file(get_spec.path, LARGE);
}

static void tells_bytes_that_stay_damaged(void **unused)
{
    (void)unused;
    upload_with(AWS_CHECKSUM_CRC32, LARGE);
    get_spec.to = S3_TO_FILE;
    get_spec.path = scratch_path(folder, "file");
    steps("[{\"on\": \"GET /bucket/key\", \"damage\": 1000, \"times\": 1000}]");
    run_get();
    assert_get_failed(ERR_PROTOCOL, "s3://bucket/key", "twice", "CRC32", put.checksum, NULL);
    assert_string_equal(get.name, "ChecksumMismatch");
    assert_int_equal(entries_in(folder), 0);
}

static void tells_a_small_object_that_is_damaged(void **unused)
{
    (void)unused;
    upload_with(AWS_CHECKSUM_CRC32C, 5000);
    steps("[{\"on\": \"GET /bucket/key\", \"damage\": 10, \"times\": 1}]");
    run_get();
    assert_got(5000);
    assert_true(is_pattern(get.body.data, 5000, 0));
    steps("[{\"on\": \"GET /bucket/key\", \"damage\": 10, \"times\": 1000}]");
    run_get();
    assert_get_failed(ERR_PROTOCOL, "s3://bucket/key", "CRC32C", NULL);
}

/* --- many --- */

static void gets_many_small_objects_at_a_time(void **unused)
{
    (void)unused;
    enum { MANY = 200 };
    static struct s3_get gets[MANY];
    place("bucket/key", 10240);
    ended = 0;
    for (int i = 0; i < MANY; i++)
        assert_true(s3_get_start(&gets[i], loop, client, &get_spec, on_got, &err));
    TURN_UNTIL(loop, ended == MANY);
    for (int i = 0; i < MANY; i++) {
        assert_true(gets[i].ok);
        assert_true(is_pattern(gets[i].body.data, 10240, 0));
        s3_get_stop(&gets[i]);
    }
}

static void opens_all_connections_only_to_who_is_slow(void **unused)
{
    (void)unused;
    enum { HUGE_ONE = 32 * 1024 * 1024, FEW = 4 };
    int first = 0, most = 0;
    place("bucket/key", HUGE_ONE);
    steps("[{\"on\": \"GET\", \"times\": 100, \"rate\": 8000000}]");
    start_get();
    while (!ended) {
        loop_turn(loop, clock_ns() + PATIENCE_MS * NS_PER_MS, NULL);
        int count = http_fetch_count();
        first = first || count <= 1 ? first : count;
        most = count > most ? count : most;
    }
    assert_got(HUGE_ONE);
    assert_int_equal(first, FEW);
    assert_int_equal(most, S3_CONNECTIONS);
}

static void may_be_stopped_at_any_time(void **unused)
{
    (void)unused;
    place("bucket/key", LARGE);
    get_spec.to = S3_TO_FILE;
    get_spec.path = scratch_path(folder, "file");
    get_spec.durable = true;
    for (int turns = 0; turns < 60; turns++) {
        start_get();
        for (int i = 0; i < turns && !ended; i++)
            loop_turn(loop, clock_ns() + PATIENCE_MS * NS_PER_MS, NULL);
        s3_get_stop(&get);
        unlink(get_spec.path);
        assert_int_equal(http_fetch_count(), 0);
        TURN_UNTIL(loop, offload_count() == 0); /* a sync that was under way */
        assert_int_equal(entries_in(folder), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TRANSFER(gets_a_small_object_with_one_request),
        TRANSFER(gets_an_empty_object),
        TRANSFER(gets_a_large_object_in_parts_of_the_same_etag),
        TRANSFER(says_before_it_fetches_that_an_object_is_too_large_for_memory),
        TRANSFER(tells_what_is_not_there),
        TRANSFER(refuses_what_makes_no_sense),
        TRANSFER(gets_a_range),
        TRANSFER(gets_a_large_range_in_parts),
        TRANSFER(sends_conditions_with_the_first_request_only),
        TRANSFER(tells_an_object_that_is_still_the_same),
        TRANSFER(asks_for_a_version),
        TRANSFER(replaces_a_file_when_the_new_one_is_whole),
        TRANSFER(syncs_a_file_that_must_be_durable_on_another_thread),
        TRANSFER(has_room_for_a_temporary_name_whatever_the_name_is),
        TRANSFER(leaves_alone_what_another_process_of_the_same_pid_writes),
        TRANSFER(leaves_nothing_when_stopped),
        TRANSFER(follows_a_link_and_refuses_a_directory),
        TRANSFER(tells_the_path_that_can_not_be_written),
        TRANSFER(tells_a_full_disk_and_leaves_nothing),
        TRANSFER(writes_to_a_pipe_in_order),
        TRANSFER(writes_to_a_file_that_is_open_where_it_stands),
        TRANSFER(waits_for_a_reader_and_takes_no_more_memory_meanwhile),
        TRANSFER(tells_when_nobody_reads_any_more),
        TRANSFER(writes_to_what_is_no_file_instead_of_replacing_it),
        TRANSFER(goes_on_where_a_connection_broke),
        TRANSFER(goes_on_as_long_as_it_gets_on),
        TRANSFER(gives_up_when_it_does_not_get_on),
        TRANSFER(tries_again_after_errors_of_the_server),
        TRANSFER(tells_an_object_that_was_replaced_in_between),
        TRANSFER(refuses_another_range_than_it_asked_for),
        TRANSFER(refuses_a_size_that_no_object_has),
        TRANSFER(puts_no_two_objects_together),
        TRANSFER(holds_what_came_in_parts_against_the_checksum_of_the_whole),
        TRANSFER(holds_what_came_against_the_checksum_of_its_parts),
        TRANSFER(holds_what_came_in_parts_against_a_sha),
        TRANSFER(fetches_damaged_bytes_a_second_time),
        TRANSFER(fetches_damaged_bytes_of_a_sha_a_second_time),
        TRANSFER(tells_bytes_that_stay_damaged),
        TRANSFER(tells_a_small_object_that_is_damaged),
        TRANSFER(gets_many_small_objects_at_a_time),
        TRANSFER(opens_all_connections_only_to_who_is_slow),
        TRANSFER(may_be_stopped_at_any_time),
    };
    return cmocka_run_group_tests(tests, s3_server_start, s3_server_stop);
}
