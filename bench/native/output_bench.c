/* output_bench.c - what capturing the output of one service costs: a child prints numbered lines of 100 bytes as fast as it can,
 * output.c reads them and writes them to a rotated file, to the console, or nowhere.
 *   gcc -O2 -D_GNU_SOURCE -Iinclude bench/native/output_bench.c -o output_bench -Lbuild -lappliance-core -llua5.4 -Wl,-rpath,$PWD/build
 *   ./output_bench DIR [MiB [file|console|none [lines|blocks]]]
 * Prints MB/s, our own CPU seconds and the child's for one GiB each, and fails if a line in the newest files is missing.
 * The console is descriptor 1: send it to /dev/null or `cat >/dev/null`; figures go to stderr. */
#include "appliance/clock.h"
#include "appliance/output.h"
#include "appliance/service.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LINE = 100, BLOCK = 64 << 10, KEEP = 4 };

static void number_line(char *line, uint64_t number)
{
    memset(line, 'x', LINE - 1);
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%012" PRIu64 " ", number);
    memcpy(line, digits, (size_t)length);
    line[LINE - 1] = '\n';
}

static void print_all(int fd, uint64_t total, size_t at_once)
{
    static char data[2 * BLOCK];
    uint64_t number = 0;
    size_t length = 0;
    for (uint64_t sent = 0; sent < total;) {
        while (length < at_once) {
            if (at_once == LINE && number > 0) { /* cheap: the child's own time should not be the measure */
                char *digit = data + 11;
                while (++*digit > '9')
                    *digit-- = '0';
                number++;
            } else {
                number_line(data + length, number++);
            }
            length += LINE;
        }
        ssize_t written = write(fd, data, at_once);
        if (written != (ssize_t)at_once)
            _exit(1);
        sent += at_once;
        length -= at_once;
        if (length > 0)
            memmove(data, data + at_once, length);
    }
    _exit(0);
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static double cpu(int who)
{
    struct rusage usage;
    getrusage(who, &usage);
    return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/* The lines of the files kept must follow one another, oldest first. */
static bool is_whole(const char *path)
{
    int64_t expected = -1;
    for (int i = KEEP; i >= 0; i--) {
        char name[4096], line[256];
        snprintf(name, sizeof name, i ? "%s.%d" : "%s", path, i);
        FILE *file = fopen(name, "re");
        while (file && fgets(line, sizeof line, file)) {
            int64_t number = strtoll(line, NULL, 10);
            if (strlen(line) != LINE || (expected >= 0 && number != expected)) {
                fprintf(stderr, "%s: line %" PRId64 " instead of %" PRId64 "\n", name, number, expected);
                fclose(file);
                return false;
            }
            expected = number + 1;
        }
        if (file)
            fclose(file);
    }
    return true;
}

static bool run(const char *dir, uint64_t total, const char *sink, size_t at_once)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/bench.log", dir);
    struct err err = {0};
    struct loop *loop = loop_new(&err);
    struct service_spec spec = {.name = (char *)"bench", .log_size = 10 << 20, .log_keep = KEEP, .log_full = LOG_FULL_BLOCK};
    if (strcmp(sink, "file") == 0)
        spec.log_file = path;
    spec.log_console = strcmp(sink, "console") == 0;
    if (!loop || !console_start(loop, CONSOLE_TEXT, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return false;
    }
    struct output *output = output_new(loop, &spec, &err);
    if (!output) {
        fprintf(stderr, "%s\n", err.text);
        return false;
    }
    total = total / (LINE * BLOCK) * (LINE * BLOCK); /* whole lines, and whole blocks */
    double own = cpu(RUSAGE_SELF), others = cpu(RUSAGE_CHILDREN);
    int64_t start = clock_ns(), turns = 0;
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        print_all(output_write_end(output), total, at_once);
    }
    struct output_counts counts = {0};
    while (counts.bytes < total && loop_turn(loop, clock_ns() + NS_PER_S, &err)) {
        output_count(output, &counts);
        turns++;
    }
    double elapsed = (double)(clock_ns() - start) / 1e9;
    own = cpu(RUSAGE_SELF) - own;
    output_end(output);
    output_count(output, &counts);
    waitpid(child, NULL, 0);
    others = cpu(RUSAGE_CHILDREN) - others;
    double gib = (double)total / (1 << 30);
    fprintf(stderr, "%-7s %5zu-byte writes: %6.0f MB/s  own %.2f CPU-s/GiB  child %.2f CPU-s/GiB  %" PRId64 " turns, dropped %" PRIu64 "\n",
            sink, at_once, (double)total / 1e6 / elapsed, own / gib, others / gib, turns, counts.dropped_lines);
    output_free(output);
    console_flush(1000);
    console_stop();
    loop_free(loop);
    bool whole = counts.bytes == total && counts.dropped_lines == 0 && (!spec.log_file || is_whole(path));
    for (int i = 0; i <= KEEP; i++) {
        char name[4200];
        snprintf(name, sizeof name, i ? "%s.%d" : "%s", path, i);
        unlink(name);
    }
    return whole;
}

int main(int count, char **arguments)
{
    if (count < 2) {
        fprintf(stderr, "usage: output_bench DIR [MiB [file|console|none [lines|blocks]]]\n");
        return 64;
    }
    uint64_t total = (uint64_t)(count > 2 ? atol(arguments[2]) : 1024) << 20;
    const char *sink = count > 3 ? arguments[3] : "file", *shape = count > 4 ? arguments[4] : "both";
    bool ok = true;
    if (strcmp(shape, "blocks") != 0)
        ok &= run(arguments[1], total, sink, LINE);
    if (strcmp(shape, "lines") != 0)
        ok &= run(arguments[1], total, sink, BLOCK);
    return ok ? 0 : 1;
}
