#include "appliance/console.h"
#include "appliance/clock.h"
#include "appliance/lines.h"
#include "appliance/log.h"
#include "appliance/sys.h"
#include "prefix.h"
#include "stdout.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    CEILING = 1 << 20, /* a service's line is taken while less than this waits */
    BUSY_CEILING = CEILING / 8 * 7,
    OWN_CEILING = CEILING + (64 << 10),
    LONGEST = (LINE_CEILING + sizeof LINE_PART_MARK) * JSON_GROWTH + 2 * PREFIX_SIZE,
    BUFFER_SIZE = OWN_CEILING + LONGEST, /* address space: only what is used becomes memory */
    KEPT = 16 << 10,                     /* stays memory after console_trim */
    RETRY_MIN_MS = 250,
    RETRY_MAX_MS = 2000,
};

static struct {
    struct loop *loop; /* NULL: not started */
    pthread_t thread;
    enum console_format format;
    struct watch writable;
    struct timer retry;
    int64_t delay_ms;
    bool waiting;    /* for writable or retry */
    bool broken;     /* nobody reads: what comes is dropped, but for a try each second */
    bool was_broken; /* and the gaps of that time have not all been told */
    int64_t broken_ns;

    char *data; /* mapped, BUFFER_SIZE; waiting: data[head] to data[tail] */
    size_t head, tail, touched;
    struct console_source *first, **last; /* those that wait for room or have a gap to tell, in order */
    struct console_source own;
    uint64_t dropped; /* lines of all sources */
} console;

/* --- who waits: for room, or with a gap to tell --- */

static void enqueue(struct console_source *s)
{
    if (s->waiting)
        return;
    s->waiting = true;
    s->next = NULL;
    *console.last = s;
    console.last = &s->next;
}

static struct console_source *dequeue(void)
{
    struct console_source *s = console.first;
    console.first = s->next;
    if (!console.first)
        console.last = &console.first;
    s->waiting = false;
    s->next = NULL;
    return s;
}

static void count_dropped(struct console_source *s, const char *data, size_t length)
{
    uint64_t lines = lines_count(data, length);
    s->gap_lines += lines;
    s->gap_bytes += length;
    s->dropped_lines += lines;
    s->dropped_bytes += length;
    console.dropped += lines;
    enqueue(s);
}

/* --- writing --- */

static void drain(void);

static void stop_waiting(void)
{
    watch_stop(&console.writable);
    timer_stop(&console.retry);
    console.waiting = false;
}

static void writable(struct watch *w, uint32_t events)
{
    (void)w;
    (void)events;
    console.waiting = false;
    drain();
}

static void retried(struct timer *t)
{
    (void)t;
    console.waiting = false;
    drain();
}

static void wait_for_room(bool reader)
{
    console.waiting = true;
    if (reader &&
        (watch_is_started(&console.writable) || watch_start(&console.writable, console.loop, stdout_fd(), EPOLLOUT, writable, NULL)))
        return;
    watch_stop(&console.writable);
    timer_start(&console.retry, console.loop, console.delay_ms, retried);
    console.delay_ms = console.delay_ms * 2 < RETRY_MAX_MS ? console.delay_ms * 2 : RETRY_MAX_MS;
}

static size_t waiting_bytes(void)
{
    return console.tail - console.head;
}

static void lose_reader(void)
{
    stop_waiting();
    count_dropped(&console.own, console.data + console.head, waiting_bytes());
    console.head = console.tail = 0;
    console.broken = console.was_broken = true;
    console.broken_ns = clock_ns();
    timer_start(&console.retry, console.loop, 0, retried); /* for those who wait for room: not from within their call */
}

/* Writes what the reader takes now. */
static void push(void)
{
    while (console.head < console.tail && !console.waiting) {
        ssize_t written = stdout_write(console.data + console.head, console.tail - console.head);
        if (written > 0) {
            console.head += (size_t)written;
            console.broken = false;
            console.delay_ms = RETRY_MIN_MS;
        } else if (written == 0 || errno == EAGAIN) {
            wait_for_room(true);
        } else if (errno == ENOSPC || errno == EDQUOT || errno == ENOMEM || errno == ENOBUFS) {
            wait_for_room(false); /* nothing tells when a disk has room again */
        } else if (errno != EINTR) {
            lose_reader();
        }
    }
    if (console.head == console.tail) {
        console.head = console.tail = 0;
        if (!console.broken)
            stop_waiting();
    }
}

/* --- lines into the buffer --- */

static bool has_room(size_t ceiling)
{
    if (waiting_bytes() >= ceiling)
        push();
    return !console.broken && waiting_bytes() < ceiling;
}

/* Room for `length` bytes at the end of the buffer. It is there for any one line, once what was written is moved away. */
static char *room_for(size_t length)
{
    /* What is moved is less than what was written since the last time, so it costs little, and memory stays near the ceiling. */
    if (console.tail + length > BUFFER_SIZE || (console.tail > CEILING && console.head > waiting_bytes())) {
        memmove(console.data, console.data + console.head, waiting_bytes());
        console.tail -= console.head;
        console.head = 0;
    }
    return console.data + console.tail;
}

static void taken(size_t length)
{
    console.tail += length;
    if (console.touched < console.tail)
        console.touched = console.tail;
}

static void add_line(const struct prefix *p, const char *line, size_t length)
{
    taken(prefix_line(p, room_for(prefix_room(p, length)), line, length));
}

static void say_elsewhere(enum log_level level, const char *text, size_t length)
{
    char line[4200];
    int size = snprintf(line, sizeof line, "appliance | %s%.*s\n", prefix_marks[level], (int)(length < 4096 ? length : 4096), text);
    if (write(STDERR_FILENO, line, (size_t)size) < 0)
        return; /* nobody is left to tell */
}

static void say(enum log_level level, const char *text, size_t length)
{
    if (!has_room(OWN_CEILING)) {
        console.own.gap_lines++; /* not by count_dropped: the text has no newline */
        console.own.gap_bytes += length;
        console.dropped++;
        enqueue(&console.own);
        return;
    }
    struct prefix prefix;
    prefix_of_ours(&prefix, console.format, level);
    add_line(&prefix, text, length);
    push();
}

static void say_gap(struct console_source *s)
{
    char amount[64], text[400];
    lines_amount(amount, sizeof amount, s->gap_lines, s->gap_bytes);
    s->gap_lines = s->gap_bytes = 0;
    int length = snprintf(text, sizeof text, "%.200s: %s dropped: the reader of our output was %s", s->name, amount,
                          console.was_broken ? "gone" : "slow");
    say(LOG_WARN, text, (size_t)length);
}

/* Those that waited come to their turn once half of the buffer is free. Who finds no room again leaves less than that. */
static void serve_waiting(void)
{
    /* Nobody reads, so nothing is waited for: the lines come and are counted. They keep their places, for the gaps to be told. */
    for (struct console_source *s = console.broken ? console.first : NULL; s; s = s->next)
        if (s->room)
            s->room(s);
    while (console.first && !console.broken && waiting_bytes() <= CEILING / 2) {
        struct console_source *s = dequeue();
        if (s->gap_lines > 0)
            say_gap(s);
        if (s->room)
            s->room(s);
    }
    if (!console.first && !console.broken)
        console.was_broken = false;
}

/* A named pipe may get another reader. No timer looks for one: a line of ours goes ahead once a second while there is output. */
static void look_for_reader(void)
{
    if (!console.broken || clock_ns() - console.broken_ns < NS_PER_S)
        return;
    static const char text[] = "our output is read again";
    console.broken = false;
    say(LOG_INFO, text, sizeof text - 1);
    if (console.broken) { /* it found nobody, and was no loss */
        console.own.gap_lines--;
        console.dropped--;
    }
    serve_waiting();
}

size_t console_add(struct console_source *s, const char *lines, size_t length, bool may_drop)
{
    if (!console.loop)
        return length;
    look_for_reader();
    if (console.broken)
        may_drop = true; /* waiting for a reader that has gone would be waiting for ever */
    struct prefix prefix = {.length = 0};
    size_t done = 0, ceiling = s->busy ? BUSY_CEILING : CEILING;
    /* Once dropping, until half is free: else each line that the reader takes would bring a gap line of its own. */
    while (done < length && s->gap_lines == 0 && has_room(ceiling)) {
        if (prefix.length == 0)
            prefix_of_service(&prefix, console.format, s->name);
        const char *newline = memchr(lines + done, '\n', length - done);
        add_line(&prefix, lines + done, (size_t)(newline - (lines + done)));
        done = (size_t)(newline - lines) + 1;
    }
    push();
    if (done < length && may_drop) {
        count_dropped(s, lines + done, length - done);
        return length;
    }
    if (done < length)
        enqueue(s);
    return done;
}

static void logged(enum log_level level, const char *text, size_t length)
{
    if (!pthread_equal(pthread_self(), console.thread)) {
        say_elsewhere(level, text, length);
        return;
    }
    look_for_reader();
    say(level, text, length);
}

static void drain(void)
{
    push();
    serve_waiting();
}

void console_leave(struct console_source *s)
{
    if (!s->waiting)
        return;
    struct console_source **at = &console.first;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    if (console.last == &s->next)
        console.last = at;
    s->waiting = false;
    if (s->gap_lines > 0)
        say_gap(s);
}

void console_trim(void)
{
    if (!console.loop || console.tail > KEPT || console.touched <= KEPT)
        return;
    madvise(console.data + KEPT, BUFFER_SIZE - KEPT, MADV_DONTNEED);
    console.touched = console.tail;
}

/* --- start and end --- */

bool console_start(struct loop *loop, enum console_format format, struct err *err)
{
    console.format = format;
    if (console.loop)
        return true;
    char *data = mmap(NULL, BUFFER_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (data == MAP_FAILED)
        return err_errno(err, "console: buffer");
    memset(&console, 0, sizeof console);
    console.data = data;
    console.loop = loop;
    console.thread = pthread_self();
    console.format = format;
    console.delay_ms = RETRY_MIN_MS;
    console.last = &console.first;
    console.own.name = "appliance";
    /* A reader that goes away, and a file size limit, are errors of write(), not our end. child.c restores the defaults. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    stdout_open();
    log_set_sink(logged);
    return true;
}

void console_set_format(enum console_format format)
{
    console.format = format;
}

void console_flush(int64_t limit_ms)
{
    int64_t end_ns = clock_ns() + limit_ms * NS_PER_MS;
    while (console.loop) {
        stop_waiting();
        drain();
        int64_t left_ms = (end_ns - clock_ns() + NS_PER_MS - 1) / NS_PER_MS;
        if (waiting_bytes() == 0)
            stdout_flush(end_ns);
        if (waiting_bytes() == 0 || left_ms <= 0)
            return;
        struct pollfd ask = {.fd = stdout_fd(), .events = POLLOUT};
        bool reader = !timer_is_started(&console.retry);
        if (poll(&ask, reader, (int)(!reader && left_ms > RETRY_MIN_MS ? RETRY_MIN_MS : left_ms)) < 0 && errno != EINTR)
            return;
    }
}

void console_stop(void)
{
    if (!console.loop)
        return;
    log_set_sink(NULL);
    stop_waiting();
    while (console.first)
        dequeue();
    stdout_close();
    munmap(console.data, BUFFER_SIZE);
    console.loop = NULL;
}

uint64_t console_dropped(void)
{
    return console.dropped;
}
