#include "appliance/output.h"
#include "appliance/clock.h"
#include "appliance/lines.h"
#include "appliance/log.h"
#include "appliance/logfile.h"
#include "appliance/ring.h"
#include "appliance/sys.h"
#include "followers.h"
#include "pipes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    READ_SIZE = 256 << 10, /* fits a second-level cache together with what is done to it */
    READS_A_TURN = 4,      /* then the others have their turn */
    LAST_READS = 64,       /* of a pipe that is to be emptied: a grandchild may fill it for ever */
    KEPT = 16 << 10,       /* of the read buffer, while nothing is busy */
    TRIM_MS = 1000,
    TAIL_BUDGET = 256 << 10, /* of all services together */
    TAIL_MIN = 4 << 10,
    TAIL_MAX = 64 << 10,
    FAILED_MS = 100,
};

struct output {
    struct loop *loop;
    char *name;
    int write_end;
    bool drops, to_console;
    bool busy;             /* read by timer, the watch is off: see pace() */
    bool ending;           /* at the next empty pipe the line is complete */
    bool file_full;        /* the file keeps something for us: nothing is read */
    struct watch readable; /* its fd is the pipe's read end */
    struct timer pause;
    int64_t pause_ns, read_ns;
    struct pipe_end pipe;
    struct lines lines;
    struct ring tail;
    struct logfile file;
    struct console_source source;
    char *held; /* lines that the console had no room for (LOG_FULL_BLOCK): nothing is read */
    size_t held_length;
    void (*line)(void *argument, const char *text, size_t length);
    void *line_argument;
    struct followers followers;
    uint64_t bytes, line_count;
};

/* One buffer for all: only one output is read at a time, and each block is gone when its read has been dealt with. */
static struct {
    char *data; /* mapped; LINE_FRONT bytes before what is read */
    size_t touched;
    int outputs, busy;
    struct loop *loop;
    struct timer trim;
} shared;

static void pump(struct output *);
static void paused(struct timer *);

/* --- lines to everybody --- */

static bool waits(const struct output *o)
{
    return o->file_full || o->held;
}

static size_t tail_ceiling(void)
{
    size_t share = TAIL_BUDGET / (size_t)shared.outputs;
    return share < TAIL_MIN ? TAIL_MIN : share > TAIL_MAX ? TAIL_MAX : share;
}

static void hold(struct output *o, const char *data, size_t length)
{
    char *held = realloc(o->held, o->held_length + length);
    if (!held) {
        console_add(&o->source, data, length, true);
        return;
    }
    memcpy(held + o->held_length, data, length);
    o->held = held;
    o->held_length += length;
}

static void show(struct output *o, const char *data, size_t length)
{
    size_t done = o->held ? 0 : console_add(&o->source, data, length, o->drops);
    if (done < length)
        hold(o, data + done, length - done);
}

static void tell_lines(struct output *o, const char *data, size_t length)
{
    for (size_t at = 0; at < length && o->line;) { /* the callback may take itself away */
        const char *newline = memchr(data + at, '\n', length - at);
        o->line(o->line_argument, data + at, (size_t)(newline - (data + at)));
        at = (size_t)(newline - data) + 1;
    }
}

static void take_lines(void *argument, const char *data, size_t length)
{
    struct output *o = argument;
    o->line_count += lines_count(data, length);
    ring_add(&o->tail, data, length, tail_ceiling());
    if (o->line)
        tell_lines(o, data, length);
    if (o->followers.first)
        followers_add(&o->followers, data, length);
    if (!logfile_write(&o->file, data, length))
        o->file_full = true;
    if (o->to_console)
        show(o, data, length);
}

/* --- reading --- */

static void trim(struct timer *t)
{
    if (shared.busy > 0) {
        timer_start(t, shared.loop, TRIM_MS, trim);
        return;
    }
    madvise(shared.data, LINE_FRONT + READ_SIZE, MADV_DONTNEED);
    shared.touched = 0;
    console_trim();
}

static void set_busy(struct output *o, bool busy)
{
    if (o->busy == busy)
        return;
    o->busy = o->source.busy = busy;
    shared.busy += busy ? 1 : -1;
    pipe_set_busy(&o->pipe, busy);
}

/* The kernel tells us of the next byte. Should epoll refuse (no memory), we look by ourselves. */
static void listen_again(struct output *o)
{
    timer_stop(&o->pause);
    if (!watch_change(&o->readable, EPOLLIN, NULL))
        timer_start(&o->pause, o->loop, FAILED_MS, paused);
}

/* Nothing is told and nothing is read. Writers find their pipe full. */
static void listen_no_more(struct output *o)
{
    timer_stop(&o->pause);
    watch_change(&o->readable, 0, NULL);
}

static void found_empty(struct output *o)
{
    if (o->ending) {
        o->ending = false;
        lines_end(&o->lines, take_lines, o);
    }
    lines_trim(&o->lines);
    set_busy(o, false);
    if (shared.touched > KEPT && !timer_is_started(&shared.trim))
        timer_start(&shared.trim, shared.loop, TRIM_MS, trim);
}

/* One read; how much came, 0: the pipe is empty (or the kernel can't say just now). */
static size_t read_once(struct output *o)
{
    ssize_t size;
    do
        size = sys.read(o->readable.fd, shared.data + LINE_FRONT, READ_SIZE);
    while (size < 0 && errno == EINTR);
    if (size <= 0)
        return 0;
    if (shared.touched < (size_t)size)
        shared.touched = (size_t)size;
    o->bytes += (uint64_t)size;
    lines_feed(&o->lines, shared.data + LINE_FRONT, (size_t)size, LINE_FRONT, take_lines, o);
    return (size_t)size;
}

/* How to go on after `size` bytes were read. A service that prints now and then is read when the kernel says so. One that
 * prints without end is read by timer: a pause makes one read of many small writes, which each cost as much as a large one.
 * The pause follows its rate, so that a quarter of the pipe fills meanwhile: writers never wait for us, and the first lines
 * after a silence never wait for the pause. */
static void pace(struct output *o, size_t size)
{
    enum { FIRST_PAUSE_NS = 200 * 1000, LONGEST_PAUSE_NS = 1000 * 1000, FAR_APART_NS = 400 * 1000, BIG = 48 << 10 };
    int64_t now = clock_ns(), since = now - o->read_ns < NS_PER_S ? now - o->read_ns : NS_PER_S;
    o->read_ns = now;
    if (!o->busy && since > FAR_APART_NS && size < BIG)
        return;
    if (!o->busy) {
        set_busy(o, true);
        o->pause_ns = 0;
        watch_change(&o->readable, 0, NULL);
    }
    pipe_saw(&o->pipe, size);
    int64_t pause = (int64_t)(o->pipe.size / 4) * since / (int64_t)size, longest = o->pause_ns * 2;
    if (longest < FIRST_PAUSE_NS)
        longest = FIRST_PAUSE_NS;
    if (longest > LONGEST_PAUSE_NS)
        longest = LONGEST_PAUSE_NS;
    if (size >= o->pipe.size / 4 * 3) /* it waits for us perhaps, and is faster than it looks */
        pause = 0;
    o->pause_ns = pause < longest ? pause : longest;
    timer_start_ns(&o->pause, o->loop, o->pause_ns, paused);
}

static void pump(struct output *o)
{
    size_t size, all = 0;
    int reads = 0;
    do {
        size = read_once(o);
        all += size;
    } while (size == READ_SIZE && !waits(o) && ++reads < READS_A_TURN);
    if (all == 0)
        found_empty(o);
    if (waits(o))
        listen_no_more(o);
    else if (all == 0)
        listen_again(o);
    else
        pace(o, all);
}

static void readable(struct watch *w, uint32_t events)
{
    (void)events;
    pump((struct output *)((char *)w - offsetof(struct output, readable)));
}

static void paused(struct timer *t)
{
    pump((struct output *)((char *)t - offsetof(struct output, pause)));
}

static void read_on(struct output *o)
{
    if (waits(o))
        return;
    set_busy(o, false);
    if (o->ending)
        output_end(o);
    else
        listen_again(o);
}

static void file_has_room(struct logfile *file)
{
    struct output *o = (struct output *)((char *)file - offsetof(struct output, file));
    o->file_full = false;
    read_on(o);
}

static void console_has_room(struct console_source *source)
{
    struct output *o = (struct output *)((char *)source - offsetof(struct output, source));
    if (!o->held)
        return;
    size_t done = console_add(source, o->held, o->held_length, o->drops);
    o->held_length -= done;
    if (o->held_length > 0) {
        memmove(o->held, o->held + done, o->held_length);
        return;
    }
    free(o->held);
    o->held = NULL;
    read_on(o);
}

/* --- made, changed, freed --- */

static bool open_pipe(struct output *o, const struct service_spec *spec, struct err *err)
{
    int ends[2];
    if (sys.pipe2(ends, O_CLOEXEC) < 0)
        return err_errno(err, "%s: pipe for its output", spec->name);
    /* Only our end: the other one's flags belong to whoever writes. */
    if (sys.fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0) {
        err_errno(err, "%s: pipe for its output", spec->name);
    } else if (watch_start(&o->readable, o->loop, ends[0], EPOLLIN, readable, err)) {
        /* So that a service with another uid may open /dev/stdout. It can print without that, so failing is no matter. */
        if (spec->set_user && fchown(ends[1], spec->uid, spec->gid) < 0)
            log_debug("%s: its pipe stays ours: %s", spec->name, strerror(errno));
        o->write_end = ends[1];
        pipe_start(&o->pipe, ends[0]);
        return true;
    }
    sys.close(ends[0]);
    sys.close(ends[1]);
    return false;
}

struct output *output_new(struct loop *loop, const struct service_spec *spec, struct err *err)
{
    struct output *o = calloc(1, sizeof *o);
    char *name = strdup(spec->name);
    if (!shared.data) {
        void *data = mmap(NULL, LINE_FRONT + READ_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        shared.data = data == MAP_FAILED ? NULL : data;
    }
    if (!o || !name || !shared.data) {
        free(name);
        free(o);
        err_set(err, ERR_SYSTEM, "%s: no memory for its output", spec->name);
        return NULL;
    }
    *o = (struct output){.loop = loop, .name = name, .lines.ceiling = LINE_CEILING};
    o->source = (struct console_source){.name = name, .room = console_has_room};
    logfile_init(&o->file, loop, file_has_room);
    if (!open_pipe(o, spec, err)) {
        free(name);
        free(o);
        return NULL;
    }
    shared.loop = loop;
    shared.outputs++;
    if (!output_configure(o, spec, err)) {
        output_free(o);
        return NULL;
    }
    return o;
}

bool output_configure(struct output *o, const struct service_spec *spec, struct err *err)
{
    bool block = spec->log_full == LOG_FULL_BLOCK;
    if (!logfile_configure(&o->file, o->name, spec->log_file, spec->log_size, spec->log_keep, block))
        return err_set(err, ERR_SYSTEM, "%s: no memory for its log file's settings", o->name);
    o->drops = !block;
    o->to_console = spec->log_console;
    if (o->drops)
        console_has_room(&o->source);
    return true;
}

static void empty_pipe(struct output *o)
{
    for (int i = 0; i < LAST_READS; i++)
        if (read_once(o) == 0) {
            found_empty(o);
            return;
        }
}

void output_end(struct output *o)
{
    o->ending = true;
    if (waits(o))
        return; /* when there is room again */
    empty_pipe(o);
    if (waits(o))
        listen_no_more(o);
    else
        listen_again(o);
}

void output_free(struct output *o)
{
    if (!o)
        return;
    o->drops = true; /* nobody is left to wait */
    o->ending = true;
    empty_pipe(o);
    console_has_room(&o->source);
    lines_end(&o->lines, take_lines, o);
    followers_end(&o->followers);
    set_busy(o, false);
    pipe_stop(&o->pipe);
    timer_stop(&o->pause);
    int read_end = o->readable.fd;
    watch_stop(&o->readable);
    sys.close(read_end);
    sys.close(o->write_end);
    logfile_free(&o->file);
    console_leave(&o->source);
    lines_free(&o->lines);
    ring_free(&o->tail);
    free(o->held);
    free(o->name);
    free(o);
    if (--shared.outputs > 0)
        return;
    timer_stop(&shared.trim);
    munmap(shared.data, LINE_FRONT + READ_SIZE);
    shared.data = NULL;
    shared.touched = 0;
}

/* --- asked by others --- */

int output_write_end(const struct output *o)
{
    return o->write_end;
}

void output_on_line(struct output *o, void (*line)(void *, const char *, size_t), void *argument)
{
    o->line = line;
    o->line_argument = argument;
}

void output_count(const struct output *o, struct output_counts *counts)
{
    *counts = (struct output_counts){
        .bytes = o->bytes,
        .lines = o->line_count,
        .dropped_lines = o->source.dropped_lines + o->file.dropped_lines,
        .dropped_bytes = o->source.dropped_bytes + o->file.dropped_bytes,
        .file_dropped_lines = o->file.dropped_lines,
        .file_dropped_bytes = o->file.dropped_bytes,
        .waits = waits(o),
        .file_blocked = o->file.blocked,
    };
    memcpy(counts->reason, o->file.reason, sizeof counts->reason);
}

size_t output_tail(const struct output *o, char *out, size_t limit)
{
    if (limit == 0)
        return 0;
    size_t unfinished = o->lines.length < limit ? o->lines.length : limit - 1;
    size_t length = ring_lines(&o->tail, out, limit - (unfinished > 0 ? unfinished + 1 : 0));
    if (unfinished == 0)
        return length;
    memcpy(out + length, o->lines.carry + o->lines.length - unfinished, unfinished);
    length += unfinished;
    out[length++] = '\n';
    return length;
}

struct followers *output_followers(struct output *o)
{
    return &o->followers;
}
