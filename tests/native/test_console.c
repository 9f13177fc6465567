/* Our stdout: format, slow and vanished readers, and that nobody else's description is touched. */
#include "appliance/console.h"
#include "appliance/lines.h"
#include "appliance/log.h"
#include "capture.h"
#include "fault.h"
#include "turning.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/socket.h>
#include <unistd.h>

static struct loop *loop;
static struct capture out;

static void start(enum console_format format)
{
    fault_clear();
    loop = loop_new(NULL);
    assert_true(console_start(loop, format, NULL));
}

static void end(void)
{
    fault_clear();
    console_stop();
    assert_int_equal(loop_timer_count(loop), 0);
    assert_int_equal(loop_watch_count(loop), 0);
    loop_free(loop);
    capture_end(&out);
}

static size_t add(struct console_source *s, const char *text)
{
    return console_add(s, text, strlen(text), true);
}

static bool is_time(const char *text)
{
    int year, month, day, hour, minute, second, ms, used = 0;
    return sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d.%3dZ%n", &year, &month, &day, &hour, &minute, &second, &ms, &used) == 7 && used == 24;
}

static void text_has_time_and_service(void **state)
{
    (void)state;
    capture_pipe(&out);
    start(CONSOLE_TEXT);
    struct console_source worker = {.name = "worker"};
    add(&worker, "started\nwith a return\r\n\n");
    log_info("worker: is up");
    log_warn("disk is full");
    log_error("two\nlines");
    capture_read(&out);
    char *line = out.text;
    static const char *const expected[] = {
        " worker | started",
        " worker | with a return",
        " worker | ",
        " appliance | worker: is up",
        " appliance | warning: disk is full",
        " appliance | error: two",
        " appliance | error: lines",
    };
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        char *newline = strchr(line, '\n');
        assert_non_null(newline);
        *newline = '\0';
        assert_true(is_time(line));
        assert_string_equal(line + 24, expected[i]);
        line = newline + 1;
    }
    assert_string_equal(line, "");
    end();
}

static void json_has_the_same_fields(void **state)
{
    (void)state;
    capture_pipe(&out);
    start(CONSOLE_JSON);
    struct console_source worker = {.name = "worker"};
    add(&worker, "say \"hi\"\t\xff\n");
    log_warn("look \\ here");
    console_set_format(CONSOLE_TEXT);
    add(&worker, "plain\n");
    capture_read(&out);
    char *second = strchr(out.text, '\n') + 1, *third = strchr(second, '\n') + 1;
    assert_memory_equal(out.text, "{\"time\":\"", 9);
    assert_true(is_time(out.text + 9));
    static const char first_rest[] = "\",\"service\":\"worker\",\"line\":\"say \\\"hi\\\"\\t\xef\xbf\xbd\"}\n";
    assert_memory_equal(out.text + 33, first_rest, sizeof first_rest - 1);
    static const char second_rest[] = "\",\"service\":\"appliance\",\"level\":\"warn\",\"line\":\"look \\\\ here\"}\n";
    assert_memory_equal(second + 33, second_rest, sizeof second_rest - 1);
    assert_non_null(strstr(third, " worker | plain\n"));
    end();
}

static void the_longest_line_fits_in_its_worst_form(void **state)
{
    (void)state;
    capture_pipe(&out);
    start(CONSOLE_JSON);
    struct console_source worker = {.name = "worker"};
    char *line = test_malloc(LINE_CEILING + 1);
    memset(line, '\x01', LINE_CEILING);
    line[LINE_CEILING] = '\n';
    assert_int_equal(console_add(&worker, line, LINE_CEILING + 1, true), LINE_CEILING + 1);
    for (int i = 0; i < 200; i++) { /* it goes out in pieces; what comes behind it stays in order */
        capture_read_some(&out, 65536);
        loop_turn(loop, 0, NULL);
    }
    add(&worker, "next\n");
    capture_read(&out);
    assert_true(out.length > LINE_CEILING * 6);
    assert_int_equal(capture_count(&out, "\\u0001\\u0001"), 1);
    assert_int_equal(capture_count(&out, "next"), 1);
    assert_int_equal(worker.dropped_lines, 0);
    test_free(line);
    end();
}

static void the_shared_description_stays_as_it_was(void **state)
{
    (void)state;
    capture_pipe(&out);
    int before = fcntl(STDOUT_FILENO, F_GETFL);
    start(CONSOLE_TEXT);
    log_info("hello");
    assert_int_equal(fcntl(STDOUT_FILENO, F_GETFL), before);
    assert_false(before & O_NONBLOCK);
    end();
}

/* Blocks of 100 numbered lines until `lines` have been added. */
static void flood(struct console_source *s, int lines)
{
    static char block[100 * 20];
    for (int i = 0; i < lines; i += 100) {
        for (int k = 0; k < 100; k++)
            snprintf(block + k * 20, 20, "line %013d", i + k), block[k * 20 + 18] = '.', block[k * 20 + 19] = '\n';
        assert_int_equal(console_add(s, block, sizeof block, true), sizeof block);
    }
}

static void a_slow_reader_costs_whole_lines_that_are_counted(void **state)
{
    (void)state;
    capture_pipe(&out);
    start(CONSOLE_TEXT);
    struct console_source worker = {.name = "worker"};
    enum { LINES = 50000 };
    flood(&worker, LINES);
    assert_true(worker.dropped_lines > 1000);
    uint64_t dropped = worker.dropped_lines;
    assert_int_equal(console_dropped(), dropped);
    assert_int_equal(worker.dropped_bytes, dropped * 20);
    while (capture_count(&out, " dropped: the reader of our output was slow") == 0) { /* said without another line of the service */
        loop_turn(loop, clock_ns() + NS_PER_S, NULL);
        capture_read(&out);
    }
    char amount[64], gap[200];
    lines_amount(amount, sizeof amount, dropped, dropped * 20);
    snprintf(gap, sizeof gap, "appliance | warning: worker: %s dropped: the reader of our output was slow", amount);
    assert_int_equal(capture_count(&out, gap), 1);
    assert_int_equal(capture_count(&out, " worker | line "), LINES - dropped);
    add(&worker, "after\n");
    capture_read(&out);
    assert_int_equal(capture_count(&out, " worker | after"), 1);
    assert_int_equal(capture_count(&out, "."), capture_count(&out, "Z ")); /* no line was cut */
    end();
}

static void our_own_lines_have_room_when_services_have_none(void **state)
{
    (void)state;
    capture_pipe(&out);
    start(CONSOLE_TEXT);
    struct console_source worker = {.name = "worker"}, master = {.name = "master"};
    worker.busy = true;
    flood(&worker, 50000);
    add(&master, "a quiet one\n"); /* has the last eighth */
    flood(&master, 50000);
    assert_true(master.dropped_lines > 0);
    uint64_t before = console_dropped();
    for (int i = 0; i < 500; i++)
        log_info("own line %d", i);
    assert_int_equal(console_dropped(), before);
    for (int i = 0; i < 2000; i++)
        log_info("too many %d", i);
    assert_true(console_dropped() > before); /* its own ceiling holds */
    TURN_UNTIL(loop, (capture_read(&out), capture_count(&out, "warning: appliance: ") == 1));
    assert_int_equal(capture_count(&out, "own line "), 500);
    assert_int_equal(capture_count(&out, "a quiet one"), 1);
    assert_int_equal(capture_count(&out, "warning: worker: "), 1);
    assert_int_equal(capture_count(&out, "warning: master: "), 1);
    end();
}

static int rooms;

static void has_room(struct console_source *s)
{
    (void)s;
    rooms++;
}

static void who_does_not_drop_is_told_to_wait(void **state)
{
    (void)state;
    capture_pipe(&out);
    start(CONSOLE_TEXT);
    rooms = 0;
    struct console_source worker = {.name = "worker", .room = has_room};
    char line[1001];
    memset(line, 'x', 1000);
    line[999] = '\n';
    size_t taken = 0, sent = 0;
    do {
        taken = console_add(&worker, line, 1000, false);
        sent += taken / 1000;
    } while (taken == 1000);
    assert_int_equal(taken, 0);
    assert_int_equal(worker.dropped_lines, 0);
    assert_int_equal(rooms, 0);
    TURN_UNTIL(loop, (capture_read(&out), rooms > 0));
    assert_int_equal(console_add(&worker, line, 1000, false), 1000);
    TURN_UNTIL(loop, (capture_read(&out), capture_count(&out, "worker | xxx") == sent + 1));
    end();
}

static void a_vanished_reader_is_counted_and_never_waited_for(void **state)
{
    (void)state;
    capture_pipe(&out);
    start(CONSOLE_TEXT);
    rooms = 0;
    struct console_source worker = {.name = "worker"}, patient = {.name = "patient", .room = has_room};
    char block[] = "a line that waits\n";
    while (console_add(&patient, block, sizeof block - 1, false) > 0) {}
    capture_close_reader(&out);
    TURN_UNTIL(loop, rooms > 0); /* who waited may go on, and drop */
    uint64_t before = console_dropped();
    assert_true(before > 0); /* what was in the buffer */
    assert_int_equal(console_add(&patient, block, sizeof block - 1, false), sizeof block - 1);
    add(&worker, "one\ntwo\n");
    log_info("nobody hears this");
    assert_int_equal(console_dropped(), before + 4);
    assert_int_equal(worker.dropped_lines, 2);
    console_leave(&patient);
    console_leave(&worker);
    end();
}

static void a_fifo_that_gets_another_reader_is_used_again(void **state)
{
    (void)state;
    char *folder = scratch_new();
    const char *path = scratch_path(folder, "fifo");
    assert_int_equal(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    capture_file(&out, path, 0);
    start(CONSOLE_TEXT);
    out.reader = reader;
    struct console_source worker = {.name = "worker"};
    add(&worker, "heard\n");
    capture_read(&out);
    capture_close_reader(&out);
    add(&worker, "lost with the reader\n"); /* finds out, and is lost */
    add(&worker, "unheard\n");
    out.reader = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    fault_clock(clock_ns() + NS_PER_S + NS_PER_MS);
    add(&worker, "heard again\n");
    capture_read(&out);
    fault_clock(-1);
    assert_int_equal(capture_count(&out, "our output is read again"), 1);
    assert_int_equal(capture_count(&out, "worker: 1 line (8 bytes) dropped: the reader of our output was gone"), 1);
    assert_int_equal(capture_count(&out, "worker | heard"), 2);
    end();
    scratch_free(folder);
}

/* (echo before; spark-appliance; echo after) > file: what we write must stand between the two. */
static void a_file_keeps_the_shared_offset(void **state)
{
    (void)state;
    char *folder = scratch_new();
    capture_file(&out, scratch_path(folder, "out"), 0);
    assert_int_equal(write(STDOUT_FILENO, "before\n", 7), 7);
    start(CONSOLE_TEXT);
    log_info("between");
    end();
    const char *text = scratch_read(folder, "out");
    assert_memory_equal(text, "before\n", 7);
    assert_non_null(strstr(text, "| between\n"));
    scratch_free(folder);
}

static void a_full_disk_under_stdout_is_waited_for(void **state)
{
    (void)state;
    char *folder = scratch_new();
    capture_file(&out, scratch_path(folder, "out"), 0);
    start(CONSOLE_TEXT);
    fault_set(FAULT_WRITE, 1, 2, ENOSPC);
    log_info("first");
    log_info("second");
    TURN_UNTIL(loop, scratch_read(folder, "out")[0] != '\0');
    assert_non_null(strstr(scratch_read(folder, "out"), "| second\n"));
    assert_int_equal(console_dropped(), 0);
    end();
    scratch_free(folder);
}

static void a_socket_never_waits(void **state)
{
    (void)state;
    capture_socket(&out);
    start(CONSOLE_TEXT);
    struct console_source worker = {.name = "worker"};
    flood(&worker, 50000);
    assert_false(fcntl(STDOUT_FILENO, F_GETFL) & O_NONBLOCK);
    assert_true(worker.dropped_lines > 0);
    TURN_UNTIL(loop, (capture_read(&out), capture_count(&out, "dropped: ") == 1));
    assert_int_equal(capture_count(&out, "worker | line ") + worker.dropped_lines, 50000);
    end();
}

/* A pipe that may not be opened anew (another uid's): asked each time, written in pieces that fit. */
static void a_foreign_pipe_never_waits(void **state)
{
    (void)state;
    capture_pipe(&out);
    fault_clear();
    loop = loop_new(NULL);
    fault_set(FAULT_OPEN, 1, 1, EACCES);
    assert_true(console_start(loop, CONSOLE_TEXT, NULL));
    assert_int_equal(fault_hits(FAULT_OPEN), 1);
    struct console_source worker = {.name = "worker"};
    flood(&worker, 50000);
    assert_true(worker.dropped_lines > 0);
    TURN_UNTIL(loop, (capture_read(&out), capture_count(&out, "dropped: ") == 1));
    assert_int_equal(capture_count(&out, "worker | line ") + worker.dropped_lines, 50000);
    end();
}

static void a_terminal_never_waits(void **state)
{
    (void)state;
    for (int foreign = 0; foreign < 2; foreign++) {
        int master, terminal;
        assert_int_equal(openpty(&master, &terminal, NULL, NULL, NULL), 0);
        capture_pipe(&out);
        capture_close_reader(&out);
        dup2(terminal, STDOUT_FILENO);
        close(terminal);
        out.reader = master;
        fcntl(master, F_SETFL, O_NONBLOCK);
        fault_clear();
        loop = loop_new(NULL);
        fault_set(FAULT_OPEN, 1, foreign, EACCES); /* count 0 would mean for ever */
        if (!foreign)
            fault_clear();
        assert_true(console_start(loop, CONSOLE_TEXT, NULL));
        struct console_source worker = {.name = "worker"};
        flood(&worker, 50000);
        assert_false(fcntl(STDOUT_FILENO, F_GETFL) & O_NONBLOCK);
        assert_true(worker.dropped_lines > 0);
        TURN_UNTIL(loop, (capture_read(&out), capture_count(&out, "dropped: ") == 1));
        assert_int_equal(capture_count(&out, "worker | line ") + worker.dropped_lines, 50000);
        end();
    }
}

/* Reads until the write end is closed; the figure is how many bytes came. */
static void *read_all(void *fd)
{
    size_t all = 0;
    char data[4096];
    for (ssize_t size; (size = read(*(int *)fd, data, sizeof data)) > 0;)
        all += (size_t)size;
    return (void *)all;
}

static void the_end_waits_for_the_reader_but_not_for_ever(void **state)
{
    (void)state;
    capture_pipe(&out);
    start(CONSOLE_TEXT);
    struct console_source worker = {.name = "worker"};
    flood(&worker, 10000); /* more than the pipe holds, less than the buffer */
    int64_t begun = clock_ns();
    console_flush(50);
    assert_true(clock_ns() - begun >= 50 * NS_PER_MS);
    assert_true(clock_ns() - begun < 10 * NS_PER_S);
    fcntl(out.reader, F_SETFL, 0);
    int reader = out.reader;
    out.reader = -1;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, read_all, &reader), 0);
    console_flush(TURNING_LIMIT_S * 1000);
    end();
    void *all;
    pthread_join(thread, &all);
    assert_int_equal((size_t)all, 10000 * (20 + strlen("2026-11-22T18:10:02.123Z worker | ")));
    close(reader);
}

static void *log_from_elsewhere(void *unused)
{
    (void)unused;
    log_info("from another thread");
    return NULL;
}

static void another_thread_does_not_touch_the_buffer(void **state)
{
    (void)state;
    capture_pipe(&out);
    start(CONSOLE_TEXT);
    int ends[2], saved = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, log_from_elsewhere, NULL), 0);
    pthread_join(thread, NULL);
    dup2(saved, STDERR_FILENO);
    char text[200] = "";
    assert_true(read(ends[0], text, sizeof text - 1) > 0);
    assert_string_equal(text, "appliance | from another thread\n");
    capture_read(&out);
    assert_int_equal(out.length, 0);
    close(saved);
    close(ends[0]);
    close(ends[1]);
    end();
}

static void leaving_in_any_order_keeps_the_queue(void **state)
{
    (void)state;
    capture_pipe(&out);
    start(CONSOLE_TEXT);
    struct console_source sources[5];
    for (int i = 0; i < 5; i++) {
        sources[i] = (struct console_source){.name = "loud"};
        flood(&sources[i], 50000);
        assert_true(sources[i].waiting);
    }
    console_leave(&sources[4]);
    console_leave(&sources[0]);
    console_leave(&sources[2]);
    console_leave(&sources[2]);
    TURN_UNTIL(loop, (capture_read(&out), capture_count(&out, "dropped: ") == 5)); /* also those that left */
    assert_false(sources[1].waiting || sources[3].waiting);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_has_time_and_service),
        cmocka_unit_test(json_has_the_same_fields),
        cmocka_unit_test(the_longest_line_fits_in_its_worst_form),
        cmocka_unit_test(the_shared_description_stays_as_it_was),
        cmocka_unit_test(a_slow_reader_costs_whole_lines_that_are_counted),
        cmocka_unit_test(our_own_lines_have_room_when_services_have_none),
        cmocka_unit_test(who_does_not_drop_is_told_to_wait),
        cmocka_unit_test(a_vanished_reader_is_counted_and_never_waited_for),
        cmocka_unit_test(a_fifo_that_gets_another_reader_is_used_again),
        cmocka_unit_test(a_file_keeps_the_shared_offset),
        cmocka_unit_test(a_full_disk_under_stdout_is_waited_for),
        cmocka_unit_test(a_socket_never_waits),
        cmocka_unit_test(a_foreign_pipe_never_waits),
        cmocka_unit_test(a_terminal_never_waits),
        cmocka_unit_test(the_end_waits_for_the_reader_but_not_for_ever),
        cmocka_unit_test(another_thread_does_not_touch_the_buffer),
        cmocka_unit_test(leaving_in_any_order_keeps_the_queue),
    };
    return cmocka_run_group_tests_name("console", tests, NULL, NULL);
}
