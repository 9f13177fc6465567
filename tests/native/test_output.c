/* What a service prints, from its pipe to console, file, tail and followers; full consoles and disks; edge cases 3, 4, 5, 21-25. */
#include "appliance/lines.h"
#include "appliance/log.h"
#include "appliance/output.h"
#include "appliance/sys.h"
#include "capture.h"
#include "fault.h"
#include "turning.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct loop *loop;
static struct capture out;
static char *folder;
static char log_path[PATH_MAX];
static struct service_spec spec;

static int set_up(void **state)
{
    (void)state;
    fault_clear();
    folder = scratch_new();
    snprintf(log_path, sizeof log_path, "%s/worker.log", folder);
    spec = (struct service_spec){.name = (char *)"worker", .log_size = 1 << 20, .log_keep = 4};
    loop = loop_new(NULL);
    capture_pipe(&out);
    return console_start(loop, CONSOLE_TEXT, NULL) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    fault_clear();
    console_flush(0);
    console_stop();
    assert_int_equal(loop_timer_count(loop), 0);
    assert_int_equal(loop_watch_count(loop), 0);
    loop_free(loop);
    capture_end(&out);
    scratch_free(folder);
    return 0;
}

static struct output *make(void)
{
    struct err err = {0};
    struct output *o = output_new(loop, &spec, &err);
    if (!o)
        fail_msg("%s", err.text);
    return o;
}

static void print(struct output *o, const char *text)
{
    assert_int_equal(write(output_write_end(o), text, strlen(text)), strlen(text));
}

static struct output_counts counts(const struct output *o)
{
    struct output_counts c;
    output_count(o, &c);
    return c;
}

static void assert_tail(const struct output *o, size_t limit, const char *expected)
{
    char text[4096];
    assert_true(limit < sizeof text);
    text[output_tail(o, text, limit)] = '\0';
    assert_string_equal(text, expected);
}

/* A child that prints `total` bytes of numbered lines of 16 bytes, `at_once` with each write. */
static pid_t print_much(struct output *o, size_t total, size_t at_once)
{
    pid_t child = fork();
    if (child != 0)
        return child;
    close(out.reader); /* else the console's pipe would never be a broken one */
    char *data = malloc(at_once + 16);
    size_t number = 0;
    for (size_t sent = 0; sent < total; sent += at_once) {
        for (size_t at = 0; at < at_once; at += 16)
            snprintf(data + at, 17, "%015zu\n", number++);
        for (size_t done = 0; done < at_once;) {
            ssize_t written = write(output_write_end(o), data + done, at_once - done);
            if (written < 0)
                _exit(1);
            done += (size_t)written;
        }
    }
    _exit(0);
}

/* How many lines of 16 bytes the files hold; they must follow one another from `first` on. */
static size_t numbered_in_files(size_t first)
{
    size_t next = first;
    for (int i = spec.log_keep; i >= 0; i--) {
        char path[PATH_MAX], line[64], expected[17];
        snprintf(path, sizeof path, i ? "%s.%d" : "%s", log_path, i);
        FILE *file = fopen(path, "re");
        while (file && fgets(line, sizeof line, file)) {
            snprintf(expected, sizeof expected, "%015zu\n", next++);
            assert_string_equal(line, expected);
        }
        if (file)
            fclose(file);
    }
    return next - first;
}

static void assert_exits_well(pid_t child)
{
    int status = -1;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
}

struct heard {
    struct output *output;
    char text[256];
    int lines;
    int stop_after;
};

static void hear(void *argument, const char *text, size_t length)
{
    struct heard *h = argument;
    strncat(h->text, text, length);
    strcat(h->text, "|");
    if (++h->lines == h->stop_after)
        output_on_line(h->output, NULL, NULL);
}

static void lines_reach_everybody(void **state)
{
    (void)state;
    spec.log_console = true;
    spec.log_file = log_path;
    struct output *o = make();
    struct heard heard = {.output = o};
    output_on_line(o, hear, &heard);
    assert_tail(o, 100, "");
    print(o, "one\ntwo\nthr");
    TURN_UNTIL(loop, heard.lines == 2);
    assert_string_equal(heard.text, "one|two|");
    capture_read(&out);
    assert_int_equal(capture_count(&out, " worker | "), 2);
    assert_int_equal(capture_count(&out, "thr"), 0);
    assert_string_equal(scratch_read(folder, "worker.log"), "one\ntwo\n");
    assert_tail(o, 100, "one\ntwo\nthr\n"); /* the unfinished one too: it may be why somebody looks */
    assert_tail(o, 9, "two\nthr\n");
    assert_tail(o, 3, "hr\n");
    print(o, "ee\n");
    TURN_UNTIL(loop, heard.lines == 3);
    assert_string_equal(scratch_read(folder, "worker.log"), "one\ntwo\nthree\n");
    assert_int_equal(counts(o).lines, 3);
    assert_int_equal(counts(o).bytes, 14);
    output_free(o);
}

static void a_line_callback_may_take_itself_away(void **state)
{
    (void)state;
    struct output *o = make();
    struct heard heard = {.output = o, .stop_after = 2};
    output_on_line(o, hear, &heard);
    print(o, "one\ntwo\nthree\n");
    TURN_UNTIL(loop, counts(o).lines == 3);
    assert_int_equal(heard.lines, 2);
    output_free(o);
}

static void a_file_alone_is_not_formatted(void **state)
{
    (void)state;
    spec.log_file = log_path;
    struct output *o = make();
    print(o, "only here\n");
    TURN_UNTIL(loop, counts(o).lines == 1);
    capture_read(&out);
    assert_int_equal(out.length, 0);
    output_free(o);
}

/* Case 25: the pipe outlives processes, and nobody waits for its end. */
static void the_end_of_a_process_ends_its_line_but_not_the_pipe(void **state)
{
    (void)state;
    spec.log_console = true;
    struct output *o = make();
    int grandchild = dup(output_write_end(o));
    print(o, "first run\nlast words");
    output_end(o);
    assert_int_equal(counts(o).lines, 2);
    print(o, "second run\n");
    assert_int_equal(write(grandchild, "still here\n", 11), 11);
    TURN_UNTIL(loop, counts(o).lines == 4);
    assert_tail(o, 100, "first run\nlast words\nsecond run\nstill here\n");
    close(grandchild);
    output_end(o);
    assert_int_equal(counts(o).lines, 4);
    output_free(o);
}

/* Case 24: a child that closes its output is silent, no more. */
static void a_closed_output_does_not_spin(void **state)
{
    (void)state;
    struct output *o = make();
    pid_t child = fork();
    if (child == 0) {
        if (write(output_write_end(o), "bye\n", 4) == 4)
            close(output_write_end(o));
        _exit(0);
    }
    assert_exits_well(child);
    TURN_UNTIL(loop, counts(o).lines == 1);
    int turns = 0;
    for (int64_t until = clock_ns() + 100 * NS_PER_MS; clock_ns() < until; turns++)
        loop_turn(loop, until, NULL);
    assert_true(turns <= 2);
    output_free(o);
}

static void an_idle_output_has_no_timer(void **state)
{
    (void)state;
    struct output *o = make();
    pid_t child = print_much(o, 4 << 20, 16);
    TURN_UNTIL(loop, counts(o).bytes == 4 << 20);
    assert_exits_well(child);
    TURN_UNTIL(loop, loop_timer_count(loop) == 0); /* the read pauses end, and memory has been given back */
    print(o, "alone\n");
    TURN_UNTIL(loop, counts(o).bytes == (4 << 20) + 6);
    assert_int_equal(loop_timer_count(loop), 0); /* a lone line brings none */
    output_free(o);
}

/* Case 23. */
static void a_line_up_to_a_megabyte_stays_whole(void **state)
{
    (void)state;
    spec.log_file = log_path;
    spec.log_size = 0;
    struct output *o = make();
    pid_t child = fork();
    if (child == 0) {
        char *line = malloc(3 * LINE_CEILING);
        memset(line, 'x', 3 * LINE_CEILING);
        line[LINE_CEILING] = '\n';
        line[3 * LINE_CEILING - 1] = '\n';
        size_t done = 0;
        while (done < 3 * LINE_CEILING) {
            ssize_t written = write(output_write_end(o), line + done, 3 * LINE_CEILING - done < 5000 ? 3 * LINE_CEILING - done : 5000);
            if (written < 0)
                _exit(1);
            done += (size_t)written;
        }
        _exit(0);
    }
    TURN_UNTIL(loop, counts(o).bytes == 3 * LINE_CEILING);
    assert_exits_well(child);
    output_free(o);
    FILE *file = fopen(log_path, "re");
    char *line = NULL;
    size_t size = 0;
    assert_int_equal(getline(&line, &size, file), LINE_CEILING + 1);
    assert_int_equal(getline(&line, &size, file), LINE_CEILING + strlen(LINE_PART_MARK));
    assert_string_equal(line + LINE_CEILING, LINE_PART_MARK);
    assert_int_equal(getline(&line, &size, file), LINE_CEILING - 1);
    assert_int_equal(getline(&line, &size, file), -1);
    free(line);
    fclose(file);
}

static void much_is_rotated_and_complete(void **state)
{
    (void)state;
    spec.log_file = log_path;
    spec.log_keep = 40;
    struct {
        size_t at_once;
    } shapes[] = {{16}, {64 << 10}, {48}};
    size_t all = 0;
    struct output *o = make();
    for (size_t i = 0; i < 3; i++) {
        enum { EACH = 6 << 20 };
        pid_t child = print_much(o, EACH, shapes[i].at_once);
        TURN_UNTIL(loop, counts(o).bytes == all + EACH);
        assert_exits_well(child);
        all += EACH;
        assert_int_equal(counts(o).lines, all / 16);
        assert_int_equal(counts(o).dropped_lines, 0);
        assert_int_equal(numbered_in_files(0), EACH / 16);
        for (int k = 0; k <= 40; k++) {
            char path[PATH_MAX];
            snprintf(path, sizeof path, k ? "%s.%d" : "%s", log_path, k);
            unlink(path);
        }
        output_free(o);
        o = make();
        all = 0;
    }
    output_free(o);
}

/* Case 4, block: the child waits at a full pipe, we don't, and nothing is lost. */
static void a_full_console_makes_a_blocking_service_wait(void **state)
{
    (void)state;
    spec.log_console = true;
    spec.log_full = LOG_FULL_BLOCK;
    struct output *o = make();
    enum { TOTAL = 5 << 20 };
    pid_t child = print_much(o, TOTAL, 4096);
    TURN_UNTIL(loop, counts(o).waits);
    uint64_t taken = counts(o).bytes;
    for (int i = 0; i < 5; i++)
        loop_turn(loop, clock_ns() + 20 * NS_PER_MS, NULL);
    assert_int_equal(counts(o).bytes, taken);
    assert_true(taken < TOTAL);
    TURN_UNTIL(loop, (capture_read(&out), counts(o).bytes == TOTAL && !counts(o).waits));
    console_flush(0);
    capture_read(&out);
    assert_exits_well(child);
    TURN_UNTIL(loop, (console_flush(0), capture_read(&out), capture_count(&out, "worker | 0") == TOTAL / 16));
    assert_int_equal(counts(o).dropped_lines, 0);
    assert_int_equal(console_dropped(), 0);
    const char *at = out.text;
    for (int i = 0; i < TOTAL / 16; i++) {
        at = (const char *)memchr(at, '|', 100) + 2;
        assert_int_equal(strtol(at, NULL, 10), i);
    }
    output_free(o);
}

/* Case 4, drop. */
static void a_full_console_costs_a_dropping_service_lines(void **state)
{
    (void)state;
    spec.log_console = true;
    struct output *o = make();
    enum { TOTAL = 5 << 20 };
    pid_t child = print_much(o, TOTAL, 4096);
    TURN_UNTIL(loop, counts(o).bytes == TOTAL); /* though nobody reads our output */
    assert_exits_well(child);
    assert_true(counts(o).dropped_lines > 0);
    TURN_UNTIL(loop, (capture_read(&out), capture_count(&out, "worker: ") == 1));
    console_flush(0);
    capture_read(&out);
    assert_int_equal(capture_count(&out, "worker | 0") + counts(o).dropped_lines, TOTAL / 16);
    assert_int_equal(counts(o).dropped_bytes, counts(o).dropped_lines * 16);
    assert_int_equal(counts(o).file_dropped_lines, 0);
    output_free(o);
}

/* Case 5: our own stdout is a broken pipe. */
static void a_broken_console_holds_nobody_up(void **state)
{
    (void)state;
    spec.log_console = true;
    spec.log_full = LOG_FULL_BLOCK;
    spec.log_file = log_path;
    spec.log_size = 0;
    struct output *o = make();
    enum { TOTAL = 4 << 20 };
    pid_t child = print_much(o, TOTAL, 4096);
    TURN_UNTIL(loop, counts(o).waits);
    capture_close_reader(&out);
    TURN_UNTIL(loop, counts(o).bytes == TOTAL && !counts(o).waits);
    assert_exits_well(child);
    assert_int_equal(numbered_in_files(0), TOTAL / 16); /* the file has it all */
    assert_true(console_dropped() > 0);
    output_free(o);
}

/* Case 21, block. */
static void a_full_disk_makes_a_blocking_service_wait(void **state)
{
    (void)state;
    spec.log_full = LOG_FULL_BLOCK;
    spec.log_file = log_path;
    spec.log_size = 0;
    struct output *o = make();
    enum { TOTAL = 4 << 20 };
    fault_set(FAULT_WRITE, 2, 2, ENOSPC);
    pid_t child = print_much(o, TOTAL, 4096);
    TURN_UNTIL(loop, counts(o).waits);
    assert_true(counts(o).file_blocked);
    assert_string_equal(counts(o).reason, "No space left on device");
    TURN_UNTIL(loop, counts(o).bytes == TOTAL && !counts(o).waits);
    assert_exits_well(child);
    assert_int_equal(numbered_in_files(0), TOTAL / 16);
    assert_int_equal(counts(o).dropped_lines, 0);
    assert_false(counts(o).file_blocked);
    capture_read(&out);
    assert_int_equal(capture_count(&out, "free space there"), 1);
    assert_int_equal(capture_count(&out, "is written again; nothing was lost"), 1);
    output_free(o);
}

static void a_full_disk_leaves_the_console_alone(void **state)
{
    (void)state;
    spec.log_file = "/dev/full";
    spec.log_console = true;
    struct output *o = make();
    print(o, "seen\n");
    TURN_UNTIL(loop, (capture_read(&out), capture_count(&out, "worker | seen") == 1));
    assert_int_equal(counts(o).file_dropped_lines, 1);
    assert_int_equal(counts(o).dropped_lines, 1);
    assert_true(counts(o).file_blocked);
    output_free(o);
    capture_read(&out);
    assert_int_equal(capture_count(&out, "of its last output could not be written to /dev/full"), 1);
}

static void the_end_while_waiting_comes_when_there_is_room(void **state)
{
    (void)state;
    spec.log_full = LOG_FULL_BLOCK;
    spec.log_file = log_path;
    struct output *o = make();
    fault_set(FAULT_WRITE, 1, 1, ENOSPC);
    print(o, "first\n");
    TURN_UNTIL(loop, counts(o).waits);
    print(o, "last words");
    output_end(o);
    assert_int_equal(counts(o).lines, 1);
    TURN_UNTIL(loop, counts(o).lines == 2);
    assert_string_equal(scratch_read(folder, "worker.log"), "first\nlast words\n");
    output_free(o);
}

static void changed_settings_are_taken(void **state)
{
    (void)state;
    spec.log_console = true;
    struct output *o = make();
    spec.log_file = log_path;
    spec.log_console = false;
    assert_true(output_configure(o, &spec, NULL));
    print(o, "to the file\n");
    TURN_UNTIL(loop, counts(o).lines == 1);
    assert_string_equal(scratch_read(folder, "worker.log"), "to the file\n");
    spec.log_file = NULL;
    spec.log_console = true;
    assert_true(output_configure(o, &spec, NULL));
    print(o, "to the console\n");
    TURN_UNTIL(loop, counts(o).lines == 2);
    capture_read(&out);
    assert_int_equal(capture_count(&out, "worker | to the "), 1);
    assert_string_equal(scratch_read(folder, "worker.log"), "to the file\n");
    output_free(o);
}

static void dropping_instead_of_blocking_frees_a_waiting_service(void **state)
{
    (void)state;
    spec.log_console = true;
    spec.log_full = LOG_FULL_BLOCK;
    struct output *o = make();
    enum { TOTAL = 5 << 20 };
    pid_t child = print_much(o, TOTAL, 4096);
    TURN_UNTIL(loop, counts(o).waits);
    spec.log_full = LOG_FULL_DROP;
    assert_true(output_configure(o, &spec, NULL));
    TURN_UNTIL(loop, counts(o).bytes == TOTAL);
    assert_exits_well(child);
    output_free(o);
}

static void what_is_left_in_the_pipe_is_read_at_the_end(void **state)
{
    (void)state;
    spec.log_file = log_path;
    struct output *o = make();
    print(o, "never turned the loop\nnor ended the line");
    output_free(o);
    assert_string_equal(scratch_read(folder, "worker.log"), "never turned the loop\nnor ended the line\n");
}

static struct follower *stopped_by_ready;
static int ready_calls;

static void on_ready(struct follower *f)
{
    (void)f;
    ready_calls++;
    if (stopped_by_ready)
        follower_stop(stopped_by_ready);
}

static void assert_takes(struct follower *f, size_t limit, const char *expected)
{
    char text[4096];
    text[follower_take(f, text, limit)] = '\0';
    assert_string_equal(text, expected);
}

static void followers_get_whole_lines_as_they_come(void **state)
{
    (void)state;
    struct output *o = make();
    struct follower one = {0}, two = {0};
    stopped_by_ready = NULL;
    ready_calls = 0;
    print(o, "before\n");
    TURN_UNTIL(loop, counts(o).lines == 1);
    follower_start(&one, o, on_ready);
    follower_start(&two, o, on_ready);
    assert_takes(&one, 100, "");
    print(o, "line 1\nline 2\nunfin");
    TURN_UNTIL(loop, ready_calls == 2);
    assert_takes(&one, 100, "line 1\nline 2\n");
    assert_takes(&one, 100, "");
    assert_null(one.data); /* nothing to take, nothing kept */
    assert_takes(&two, 8, "line 1\nl");
    assert_takes(&two, 100, "ine 2\n");
    follower_stop(&one);
    follower_stop(&one);
    print(o, "ished\n");
    TURN_UNTIL(loop, ready_calls == 3);
    output_free(o);
    assert_int_equal(ready_calls, 4); /* it has ended */
    assert_null(two.output);
    assert_takes(&two, 100, "unfinished\n");
    follower_stop(&two);
}

static void a_follower_may_leave_from_within(void **state)
{
    (void)state;
    for (int who = 0; who < 3; who++) { /* itself, the next, the one before */
        struct output *o = make();
        struct follower f[3] = {0};
        for (int i = 0; i < 3; i++)
            follower_start(&f[i], o, on_ready);
        ready_calls = 0;
        stopped_by_ready = &f[who];
        print(o, "x\n");
        TURN_UNTIL(loop, counts(o).lines == 1);
        assert_true(ready_calls == 2 || (ready_calls == 3 && who == 2));
        assert_null(f[who].output);
        stopped_by_ready = NULL;
        for (int i = 0; i < 3; i++)
            follower_stop(&f[i]);
        output_free(o);
    }
}

static void a_slow_follower_misses_lines_and_is_told(void **state)
{
    (void)state;
    struct output *o = make();
    struct follower slow = {0};
    stopped_by_ready = NULL;
    follower_start(&slow, o, on_ready);
    enum { TOTAL = 1 << 20 };
    pid_t child = print_much(o, TOTAL, 4096);
    TURN_UNTIL(loop, counts(o).bytes == TOTAL);
    assert_exits_well(child);
    assert_true(slow.length <= 256 << 10);
    assert_true(slow.capacity <= 256 << 10);
    char *text = test_malloc(2 * TOTAL);
    size_t length = 0, size;
    print(o, "while it was full\n");
    TURN_UNTIL(loop, counts(o).bytes == TOTAL + 18);
    while ((size = follower_take(&slow, text + length, 1000)) > 0)
        length += size;
    print(o, "after\n");
    TURN_UNTIL(loop, slow.length > 0);
    length += follower_take(&slow, text + length, 1000);
    text[length] = '\0';
    const char *gap = strstr(text, "[spark-appliance] ");
    assert_non_null(gap);
    size_t before = (size_t)(gap - text) / 16;
    char amount[64], expected[200];
    lines_amount(amount, sizeof amount, TOTAL / 16 - before + 1, TOTAL - before * 16 + 18);
    snprintf(expected, sizeof expected, "[spark-appliance] %s dropped here: the reader was slow\nafter\n", amount);
    assert_string_equal(gap, expected);
    test_free(text);
    follower_stop(&slow);
    assert_null(slow.data);
    output_free(o);
}

/* Case 3. */
static void a_failed_start_leaves_nothing_behind(void **state)
{
    (void)state;
    static const struct {
        enum fault_call call;
        int error;
    } faults[] = {{FAULT_PIPE2, EMFILE}, {FAULT_FCNTL, EINVAL}, {FAULT_EPOLL_CTL, ENOMEM}};
    int before = open_descriptors();
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        struct err err = {0};
        fault_set(faults[i].call, 1, 1, faults[i].error);
        assert_null(output_new(loop, &spec, &err));
        assert_int_equal(err.code, faults[i].error);
        fault_clear();
        assert_int_equal(open_descriptors(), before);
    }
    struct output *o = make();
    assert_int_equal(open_descriptors(), before + 2);
    output_free(o);
    assert_int_equal(open_descriptors(), before);
}

/* Each call of these kinds fails once while a lot is printed: it takes longer, perhaps, but all of it comes. */
static void no_single_failure_stops_the_reading(void **state)
{
    (void)state;
    static const struct {
        enum fault_call call;
        int error;
    } faults[] = {{FAULT_READ, EINTR}, {FAULT_READ, ENOMEM}, {FAULT_FCNTL, EPERM}, {FAULT_EPOLL_CTL, ENOMEM}};
    spec.log_file = log_path;
    spec.log_size = 0;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        for (int nth = 1; nth < 6; nth++) {
            enum { TOTAL = 1 << 20 };
            struct output *o = make();
            fault_set(faults[i].call, nth, 1, faults[i].error);
            pid_t child = print_much(o, TOTAL, 64);
            TURN_UNTIL(loop, counts(o).bytes == TOTAL);
            assert_exits_well(child);
            print(o, "end\n");
            TURN_UNTIL(loop, counts(o).bytes == TOTAL + 4);
            fault_clear();
            output_free(o);
            unlink(log_path);
        }
}

/* The first read is far from the one before, which never was: no arithmetic may overflow on that. */
static void a_large_first_block_after_years_is_read(void **state)
{
    (void)state;
    struct output *o = make();
    char block[60000];
    memset(block, 'x', sizeof block);
    block[sizeof block - 1] = '\n';
    assert_int_equal(write(output_write_end(o), block, sizeof block), sizeof block);
    fault_clock(20LL * 365 * 86400 * NS_PER_S);
    loop_turn(loop, 0, NULL);
    fault_clock(-1);
    assert_int_equal(counts(o).lines, 1);
    output_free(o);
}

static void a_pipe_is_enlarged_only_when_it_proves_too_small(void **state)
{
    (void)state;
    struct output *quiet = make(), *loud = make();
    int usual = fcntl(output_write_end(quiet), F_GETPIPE_SZ);
    print(quiet, "a line\nand another\n");
    pid_t child = print_much(loud, 16 << 20, 64 << 10);
    TURN_UNTIL(loop, counts(loud).bytes == 16 << 20 && counts(quiet).lines == 2);
    assert_exits_well(child);
    assert_int_equal(fcntl(output_write_end(quiet), F_GETPIPE_SZ), usual);
    assert_int_equal(fcntl(output_write_end(loud), F_GETPIPE_SZ), 1 << 20);
    output_free(quiet);
    output_free(loud);
}

static void a_silent_service_gives_its_large_pipe_away(void **state)
{
    (void)state;
    enum { MANY = 40 }; /* more than may be large */
    struct output *all[MANY];
    for (int i = 0; i < MANY; i++) {
        all[i] = make();
        pid_t child = print_much(all[i], 8 << 20, 64 << 10);
        TURN_UNTIL(loop, counts(all[i]).bytes == 8 << 20);
        assert_exits_well(child);
        for (int turns = 0; turns < 20; turns++) /* it finds its pipe empty, and is busy no more */
            loop_turn(loop, clock_ns() + NS_PER_MS, NULL);
    }
    int large = 0;
    for (int i = 0; i < MANY; i++)
        large += fcntl(output_write_end(all[i]), F_GETPIPE_SZ) > 64 << 10;
    assert_true(large <= 32);
    assert_true(fcntl(output_write_end(all[MANY - 1]), F_GETPIPE_SZ) == 1 << 20);
    for (int i = 0; i < MANY; i++)
        output_free(all[i]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(lines_reach_everybody),
        TEST(a_line_callback_may_take_itself_away),
        TEST(a_file_alone_is_not_formatted),
        TEST(the_end_of_a_process_ends_its_line_but_not_the_pipe),
        TEST(a_closed_output_does_not_spin),
        TEST(an_idle_output_has_no_timer),
        TEST(a_line_up_to_a_megabyte_stays_whole),
        TEST(much_is_rotated_and_complete),
        TEST(a_full_console_makes_a_blocking_service_wait),
        TEST(a_full_console_costs_a_dropping_service_lines),
        TEST(a_broken_console_holds_nobody_up),
        TEST(a_full_disk_makes_a_blocking_service_wait),
        TEST(a_full_disk_leaves_the_console_alone),
        TEST(the_end_while_waiting_comes_when_there_is_room),
        TEST(changed_settings_are_taken),
        TEST(dropping_instead_of_blocking_frees_a_waiting_service),
        TEST(what_is_left_in_the_pipe_is_read_at_the_end),
        TEST(followers_get_whole_lines_as_they_come),
        TEST(a_follower_may_leave_from_within),
        TEST(a_slow_follower_misses_lines_and_is_told),
        TEST(a_failed_start_leaves_nothing_behind),
        TEST(no_single_failure_stops_the_reading),
        TEST(a_large_first_block_after_years_is_read),
        TEST(a_pipe_is_enlarged_only_when_it_proves_too_small),
        TEST(a_silent_service_gives_its_large_pipe_away),
    };
    return cmocka_run_group_tests_name("output", tests, NULL, NULL);
}
