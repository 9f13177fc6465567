/* The log file of a service: rotation, and disks that say no. Faults come from fault.h and from the kernel itself. */
#include "appliance/lines.h"
#include "appliance/log.h"
#include "appliance/logfile.h"
#include "fault.h"
#include "turning.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

/* One file under test, and everything that was ever logged or told about it. */
struct bench {
    struct loop *loop;
    struct logfile file;
    char *folder;
    char path[PATH_MAX];
    int rooms;
    int next;          /* number of the next line */
    uint64_t accepted; /* bytes handed over */
};

static char said[8192];
static size_t said_length;

static void hear(enum log_level level, const char *text, size_t length)
{
    (void)level;
    if (said_length + length + 2 > sizeof said)
        return;
    memcpy(said + said_length, text, length);
    said_length += length;
    said[said_length++] = '\n';
    said[said_length] = '\0';
}

static void has_room(struct logfile *f)
{
    ((struct bench *)((char *)f - offsetof(struct bench, file)))->rooms++;
}

static void configure(struct bench *b, int64_t limit, int keep, bool block)
{
    assert_true(logfile_configure(&b->file, "worker", b->path, limit, keep, block));
}

static struct bench *bench_new(int64_t limit, int keep, bool block)
{
    struct bench *b = test_calloc(1, sizeof *b);
    b->loop = loop_new(NULL);
    b->folder = scratch_new();
    snprintf(b->path, sizeof b->path, "%s/worker.log", b->folder);
    logfile_init(&b->file, b->loop, has_room);
    configure(b, limit, keep, block);
    fault_clear();
    said_length = 0;
    said[0] = '\0';
    log_set_sink(hear);
    return b;
}

static void bench_free(struct bench *b)
{
    fault_clear();
    logfile_free(&b->file);
    assert_int_equal(loop_timer_count(b->loop), 0);
    loop_free(b->loop);
    scratch_free(b->folder);
    log_set_sink(NULL);
    test_free(b);
}

/* `count` numbered lines of 10 bytes in one block. */
static bool give(struct bench *b, int count)
{
    char *data = test_malloc((size_t)count * 10 + 1);
    for (int i = 0; i < count; i++)
        snprintf(data + i * 10, 11, "%09d\n", b->next++);
    b->accepted += (uint64_t)count * 10;
    bool taken = logfile_write(&b->file, data, (size_t)count * 10);
    test_free(data);
    return taken;
}

static const char *content(struct bench *b, const char *suffix)
{
    char name[64];
    snprintf(name, sizeof name, "worker.log%s", suffix);
    return scratch_read(b->folder, name);
}

/* All files hold whole lines 0, 1, 2 ... in order, oldest file first; returns how many. */
static int in_order(struct bench *b, int keep)
{
    int expected = 0;
    for (int i = keep; i >= 0; i--) {
        char suffix[16] = "";
        if (i > 0)
            snprintf(suffix, sizeof suffix, ".%d", i);
        for (const char *at = content(b, suffix); *at; at += 10) {
            char line[11];
            snprintf(line, sizeof line, "%09d\n", expected++);
            assert_memory_equal(at, line, 10);
        }
    }
    return expected;
}

static void nothing_is_opened_before_the_first_line(void **state)
{
    (void)state;
    struct bench *b = bench_new(1000, 2, false);
    assert_false(scratch_has(b->folder, "worker.log"));
    assert_true(give(b, 2));
    assert_string_equal(content(b, ""), "000000000\n000000001\n");
    bench_free(b);
}

static void rotation_is_at_line_ends_and_keeps_so_many(void **state)
{
    (void)state;
    struct bench *b = bench_new(105, 3, false);
    assert_true(give(b, 35)); /* one block over several files */
    assert_int_equal(strlen(content(b, ".3")), 100);
    assert_int_equal(strlen(content(b, ".2")), 100);
    assert_int_equal(strlen(content(b, ".1")), 100);
    assert_int_equal(strlen(content(b, "")), 50);
    assert_int_equal(in_order(b, 3), 35);
    assert_true(give(b, 6));
    assert_false(scratch_has(b->folder, "worker.log.4"));
    assert_memory_equal(content(b, ".3"), "000000010\n", 10); /* the oldest has gone */
    assert_string_equal(said, "");
    configure(b, 105, 1, false);
    assert_true(give(b, 10));
    assert_true(scratch_has(b->folder, "worker.log.1"));
    assert_false(scratch_has(b->folder, "worker.log.2")); /* what is beyond a smaller number goes */
    configure(b, 105, 0, false);
    assert_true(give(b, 10));
    assert_false(scratch_has(b->folder, "worker.log.1"));
    bench_free(b);
}

static void keeping_none_begins_anew(void **state)
{
    (void)state;
    struct bench *b = bench_new(50, 0, false);
    assert_true(give(b, 7));
    assert_string_equal(content(b, ""), "000000005\n000000006\n");
    assert_false(scratch_has(b->folder, "worker.log.1"));
    bench_free(b);
}

static void a_line_that_no_file_can_hold_has_one_for_itself(void **state)
{
    (void)state;
    struct bench *b = bench_new(30, 3, false);
    static const char text[] = "short\nthis one is much longer than thirty bytes\nnext\n";
    assert_true(logfile_write(&b->file, text, sizeof text - 1));
    assert_string_equal(content(b, ".2"), "short\n");
    assert_string_equal(content(b, ".1"), "this one is much longer than thirty bytes\n");
    assert_string_equal(content(b, ""), "next\n");
    bench_free(b);
}

static void an_old_file_is_continued_and_counts(void **state)
{
    (void)state;
    struct bench *b = bench_new(25, 2, false);
    scratch_write(b->folder, "worker.log", "from before\n", 0644);
    assert_true(give(b, 2));
    assert_string_equal(content(b, ".1"), "from before\n000000000\n");
    assert_string_equal(content(b, ""), "000000001\n");
    bench_free(b);
}

static void its_directory_is_made(void **state)
{
    (void)state;
    struct bench *b = bench_new(1000, 2, false);
    assert_true(logfile_configure(&b->file, "worker", scratch_path(b->folder, "a/b/c.log"), 1000, 2, false));
    assert_true(give(b, 1));
    assert_string_equal(scratch_read(b->folder, "a/b/c.log"), "000000000\n");
    bench_free(b);
}

/* Each write, open and rename fails once. Those are few enough to sweep; a bench of its own for each. */
static void no_single_failure_loses_a_byte_when_blocking(void **state)
{
    (void)state;
    static const struct {
        enum fault_call call;
        int error;
    } faults[] = {{FAULT_WRITE, ENOSPC}, {FAULT_WRITE, EINTR}, {FAULT_OPEN, EMFILE}, {FAULT_RENAME, EACCES}};
    for (size_t c = 0; c < sizeof faults / sizeof *faults; c++) {
        int nth = 1;
        for (bool hit = true; hit; nth++) {
            struct bench *b = bench_new(95, 9, true);
            fault_set(faults[c].call, nth, 1, faults[c].error);
            for (int i = 0; i < 5; i++)
                if (!give(b, 7))
                    TURN_UNTIL(b->loop, !b->file.blocked);
            hit = fault_hits(faults[c].call) > 0;
            assert_int_equal(in_order(b, 9), 35);
            assert_int_equal(b->file.dropped_lines, 0);
            bench_free(b);
        }
        assert_true(nth > 3); /* it did fail somewhere */
    }
}

static void a_full_disk_blocks_and_loses_nothing(void **state)
{
    (void)state;
    struct bench *b = bench_new(0, 0, true);
    assert_true(give(b, 3));
    fault_set(FAULT_WRITE, 1, 3, ENOSPC);
    assert_false(give(b, 4));
    assert_true(b->file.blocked);
    assert_string_equal(b->file.reason, "No space left on device");
    assert_non_null(strstr(said, "worker: can't write "));
    assert_non_null(strstr(said, "free space there"));
    assert_false(give(b, 2)); /* what a caller had still in its hands */
    int64_t start = clock_ns();
    TURN_UNTIL(b->loop, b->rooms == 1);
    assert_true(clock_ns() - start >= 700 * NS_PER_MS); /* 0.25 s, then 0.5 s: two more tries failed */
    assert_false(b->file.blocked);
    assert_string_equal(b->file.reason, "");
    assert_true(give(b, 1));
    assert_int_equal(in_order(b, 0), 10);
    assert_int_equal(b->file.dropped_lines, 0);
    assert_non_null(strstr(said, "is written again; nothing was lost"));
    assert_null(strstr(strstr(said, "can't write") + 1, "can't write")); /* once */
    bench_free(b);
}

static void a_full_disk_drops_and_counts_exactly(void **state)
{
    (void)state;
    struct bench *b = bench_new(0, 0, false);
    assert_true(give(b, 3));
    fault_set(FAULT_WRITE, 1, 2, ENOSPC);
    assert_true(give(b, 4));
    assert_true(give(b, 5));
    assert_true(b->file.blocked);
    assert_int_equal(b->file.dropped_lines, 9);
    assert_int_equal(b->file.dropped_bytes, 90);
    TURN_UNTIL(b->loop, !b->file.blocked); /* the gap is told although the service is silent */
    assert_true(give(b, 1));
    assert_string_equal(content(b, ""), "000000000\n000000001\n000000002\n"
                                        "[spark-appliance] 9 lines (90 bytes) dropped here: No space left on device\n"
                                        "000000012\n");
    assert_non_null(strstr(said, "is written again; 9 lines (90 bytes) were dropped"));
    assert_int_equal(loop_timer_count(b->loop), 0);
    bench_free(b);
}

/* A real limit of the kernel: the write that crosses it is cut short, the next one fails. */
static void with_file_size_limit(struct bench *b, rlim_t bytes, void (*body)(struct bench *))
{
    struct rlimit old;
    getrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){bytes, old.rlim_max});
    body(b);
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, SIG_DFL);
}

static void cut_while_dropping(struct bench *b)
{
    assert_true(give(b, 6)); /* 60 bytes where 45 fit */
    assert_true(b->file.blocked);
}

static void a_line_cut_in_half_is_taken_back_when_dropping(void **state)
{
    (void)state;
    struct bench *b = bench_new(0, 0, false);
    with_file_size_limit(b, 45, cut_while_dropping);
    assert_int_equal(strlen(content(b, "")), 40);
    assert_int_equal(b->file.dropped_lines, 2);
    assert_int_equal(b->file.dropped_bytes, 20);
    TURN_UNTIL(b->loop, !b->file.blocked);
    assert_true(give(b, 1));
    assert_string_equal(content(b, "") + 40, "[spark-appliance] 2 lines (20 bytes) dropped here: File too large\n000000006\n");
    bench_free(b);
}

static void cut_while_blocking(struct bench *b)
{
    assert_false(give(b, 6));
    assert_int_equal(strlen(content(b, "")), 45);
}

static void a_line_cut_in_half_is_finished_when_blocking(void **state)
{
    (void)state;
    struct bench *b = bench_new(50, 3, true); /* what follows must not be rotated away from its beginning */
    with_file_size_limit(b, 45, cut_while_blocking);
    TURN_UNTIL(b->loop, !b->file.blocked);
    assert_int_equal(strlen(content(b, ".1")), 50);
    assert_int_equal(in_order(b, 3), 6);
    bench_free(b);
}

/* In a process and mount namespace of its own: lines until the disk is full, room, and lines again. 0: all is accounted for. */
static int on_a_small_disk(struct bench *b, bool block)
{
    enum { DISK = 256 << 10, MANY = 40 };
    char filler[PATH_MAX], options[32];
    snprintf(filler, sizeof filler, "%s/filler", b->folder);
    snprintf(options, sizeof options, "size=%d", DISK);
    if (unshare(geteuid() == 0 ? CLONE_NEWNS : CLONE_NEWUSER | CLONE_NEWNS) < 0 ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || mount("none", b->folder, "tmpfs", 0, options) < 0)
        return 77;
    configure(b, 0, 0, block);
    int fd = open(filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    static char zeros[DISK / 2];
    if (fd < 0 || write(fd, zeros, sizeof zeros) != sizeof zeros)
        return 1;
    for (int i = 0; i < MANY; i++)
        if (!give(b, 997)) /* not a multiple of a page */
            break;
    if (!b->file.blocked || (b->file.dropped_lines > 0) == block)
        return 2;
    uint64_t refused = b->file.dropped_lines;
    unlink(filler);
    close(fd);
    for (int64_t limit = clock_ns() + 10 * NS_PER_S; b->file.blocked && clock_ns() < limit;)
        loop_turn(b->loop, limit, NULL);
    give(b, 1);
    FILE *file = fopen(b->path, "re");
    char line[200];
    uint64_t lines = 0, gaps = 0;
    while (file && fgets(line, sizeof line, file)) {
        bool whole = strlen(line) == 10 && line[9] == '\n';
        lines += whole;
        gaps += !whole && strstr(line, "dropped here: No space left on device\n");
        if (!whole && gaps == 0)
            return 3;
    }
    return lines + refused == (uint64_t)b->next && gaps == (block ? 0 : 1) ? 0 : 4;
}

static void a_real_disk_that_is_full_loses_nothing_uncounted(void **state)
{
    (void)state;
    for (int block = 0; block < 2; block++) {
        struct bench *b = bench_new(0, 0, block);
        pid_t child = fork();
        if (child == 0)
            _exit(on_a_small_disk(b, block));
        int status;
        waitpid(child, &status, 0);
        bench_free(b);
        if (status == 77 << 8)
            skip(); /* no mounting here */
        assert_int_equal(status, 0);
    }
}

static void dropping_instead_of_blocking_lets_the_caller_go(void **state)
{
    (void)state;
    struct bench *b = bench_new(0, 0, true);
    fault_set(FAULT_WRITE, 1, 1, EIO);
    assert_false(give(b, 2));
    configure(b, 0, 0, false);
    TURN_UNTIL(b->loop, !b->file.blocked);
    assert_int_equal(b->file.dropped_lines, 2);
    assert_true(b->rooms > 0);
    assert_non_null(strstr(content(b, ""), "2 lines (20 bytes) dropped here"));
    bench_free(b);
}

static void another_path_is_a_cure(void **state)
{
    (void)state;
    struct bench *b = bench_new(0, 0, true);
    fault_set(FAULT_OPEN, 1, 1, EROFS);
    assert_false(give(b, 2));
    assert_non_null(strstr(said, "mount it writable, or set another log file"));
    assert_true(logfile_configure(&b->file, "worker", scratch_path(b->folder, "other.log"), 0, 0, true));
    TURN_UNTIL(b->loop, !b->file.blocked);
    assert_string_equal(scratch_read(b->folder, "other.log"), "000000000\n000000001\n");
    bench_free(b);
}

static void no_file_any_more_lets_the_caller_go(void **state)
{
    (void)state;
    struct bench *b = bench_new(0, 0, true);
    fault_set(FAULT_WRITE, 1, 0, EIO);
    assert_false(give(b, 2));
    assert_true(logfile_configure(&b->file, "worker", NULL, 0, 0, true));
    assert_false(b->file.blocked);
    assert_int_equal(b->rooms, 1);
    assert_int_equal(b->file.dropped_lines, 2);
    assert_true(give(b, 1));
    bench_free(b);
}

static void the_end_tries_once_more_and_tells_what_is_lost(void **state)
{
    (void)state;
    struct bench *b = bench_new(0, 0, true);
    fault_set(FAULT_WRITE, 1, 1, ENOSPC);
    assert_false(give(b, 2));
    logfile_free(&b->file);
    assert_string_equal(content(b, ""), "000000000\n000000001\n");
    assert_null(strstr(said, "could not be written"));
    configure(b, 0, 0, true);
    fault_set(FAULT_WRITE, 1, 0, ENOSPC);
    assert_false(give(b, 3));
    logfile_free(&b->file);
    assert_non_null(strstr(said, "worker: 3 lines (30 bytes) of its last output could not be written to "));
    bench_free(b);
}

static void past_a_second(void)
{
    static int64_t ahead;
    ahead += 1100 * NS_PER_MS;
    fault_clock(-1);
    fault_clock(clock_ns() + ahead);
}

static void a_moved_file_is_left_alone_within_a_second(void **state)
{
    (void)state;
    struct bench *b = bench_new(0, 0, false);
    assert_true(give(b, 1));
    assert_int_equal(rename(b->path, scratch_path(b->folder, "moved")), 0);
    past_a_second();
    assert_true(give(b, 1));
    assert_string_equal(scratch_read(b->folder, "moved"), "000000000\n");
    assert_string_equal(content(b, ""), "000000001\n");
    assert_int_equal(unlink(b->path), 0);
    past_a_second();
    assert_true(give(b, 1));
    assert_string_equal(content(b, ""), "000000002\n");
    assert_int_equal(truncate(b->path, 0), 0); /* copytruncate */
    past_a_second();
    assert_true(give(b, 1));
    assert_string_equal(content(b, ""), "000000003\n");
    assert_int_equal(b->file.size, 10);
    fault_clock(-1);
    bench_free(b);
}

static void a_file_that_cannot_be_rotated_goes_on_growing(void **state)
{
    (void)state;
    struct bench *b = bench_new(50, 2, false);
    fault_set(FAULT_RENAME, 1, 4, EACCES);
    assert_true(give(b, 40));
    assert_int_equal(b->file.dropped_lines, 0);
    assert_non_null(strstr(said, "worker: can't rotate "));
    assert_null(strstr(strstr(said, "can't rotate") + 1, "can't rotate"));
    fault_clear();
    assert_true(give(b, 20));
    assert_true(strlen(content(b, "")) <= 50);
    bench_free(b);
}

/* Were .1 written over while .2 could not be made from it, a file that is to be kept would be lost. */
static void a_failed_step_of_a_rotation_loses_no_old_file(void **state)
{
    (void)state;
    struct bench *b = bench_new(50, 2, false);
    assert_true(give(b, 10));
    assert_string_equal(content(b, ".1"), "000000000\n000000001\n000000002\n000000003\n000000004\n");
    fault_set(FAULT_RENAME, 1, 1, EPERM);
    assert_true(give(b, 1));
    assert_memory_equal(content(b, ".1"), "000000000\n", 10);
    assert_int_equal(in_order(b, 2), 11);
    bench_free(b);
}

static void a_device_is_written_and_never_rotated(void **state)
{
    (void)state;
    struct bench *b = bench_new(10, 2, false);
    assert_true(logfile_configure(&b->file, "worker", "/dev/null", 10, 2, false));
    assert_true(give(b, 100));
    assert_int_equal(access("/dev/null.1", F_OK), -1);
    assert_true(logfile_configure(&b->file, "worker", "/dev/full", 10, 2, true));
    assert_false(give(b, 1)); /* the kernel's own ENOSPC */
    assert_string_equal(b->file.reason, "No space left on device");
    bench_free(b);
}

static void a_fifo_without_a_reader_does_not_stop_us(void **state)
{
    (void)state;
    struct bench *b = bench_new(10, 2, true);
    assert_int_equal(mkfifo(b->path, 0600), 0);
    assert_false(give(b, 2));
    int reader = open(b->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    TURN_UNTIL(b->loop, !b->file.blocked);
    char text[64];
    assert_int_equal(read(reader, text, sizeof text), 20);
    close(reader);
    bench_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_opened_before_the_first_line),
        cmocka_unit_test(rotation_is_at_line_ends_and_keeps_so_many),
        cmocka_unit_test(keeping_none_begins_anew),
        cmocka_unit_test(a_line_that_no_file_can_hold_has_one_for_itself),
        cmocka_unit_test(an_old_file_is_continued_and_counts),
        cmocka_unit_test(its_directory_is_made),
        cmocka_unit_test(no_single_failure_loses_a_byte_when_blocking),
        cmocka_unit_test(a_full_disk_blocks_and_loses_nothing),
        cmocka_unit_test(a_full_disk_drops_and_counts_exactly),
        cmocka_unit_test(a_line_cut_in_half_is_taken_back_when_dropping),
        cmocka_unit_test(a_line_cut_in_half_is_finished_when_blocking),
        cmocka_unit_test(a_real_disk_that_is_full_loses_nothing_uncounted),
        cmocka_unit_test(dropping_instead_of_blocking_lets_the_caller_go),
        cmocka_unit_test(another_path_is_a_cure),
        cmocka_unit_test(no_file_any_more_lets_the_caller_go),
        cmocka_unit_test(the_end_tries_once_more_and_tells_what_is_lost),
        cmocka_unit_test(a_moved_file_is_left_alone_within_a_second),
        cmocka_unit_test(a_file_that_cannot_be_rotated_goes_on_growing),
        cmocka_unit_test(a_failed_step_of_a_rotation_loses_no_old_file),
        cmocka_unit_test(a_device_is_written_and_never_rotated),
        cmocka_unit_test(a_fifo_without_a_reader_does_not_stop_us),
    };
    return cmocka_run_group_tests_name("logfile", tests, NULL, NULL);
}
