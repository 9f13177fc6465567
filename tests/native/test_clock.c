/* The wall clock jumps with every look at it, back and forth by years; only what is printed may show it. This program's own clock_gettime
 * stands in for libc's: the dynamic linker takes it first. */
#include "appliance/console.h"
#include "appliance/log.h"
#include "appliance/reaper.h"
#include "appliance/signals.h"
#include "appliance/supervisor.h"
#include "capture.h"
#include "turning.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { YEAR_S = 365 * 24 * 3600 };

static int looks;

static time_t jumped(time_t now)
{
    static const int years[] = {0, 5, -5, 9, -20, 1};
    return now + (time_t)years[looks++ % 6] * YEAR_S;
}

int clock_gettime(clockid_t which, struct timespec *now)
{
    int result = (int)syscall(SYS_clock_gettime, which, now);
    if (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)
        now->tv_sec = jumped(now->tv_sec);
    return result;
}

time_t time(time_t *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    *out = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
    return 0;
}

static struct loop *loop;
static struct supervisor *sup;

static struct service_view view_of(const char *name)
{
    struct service_view view;
    assert_true(supervisor_view(sup, name, &view));
    return view;
}

static void run(const char *name, const char *word, const char *value, void (*adjust)(struct service_spec *))
{
    struct err err = {0};
    struct service_spec *spec = service_spec_new(name);
    spec->argv = calloc(4, sizeof(char *));
    spec->argv[0] = strdup(test_program("puppet"));
    spec->argv[1] = strdup(word);
    spec->argv[2] = value ? strdup(value) : NULL;
    spec->critical = false;
    adjust(spec);
    if (!supervisor_declare(sup, spec, &err) || !supervisor_want(sup, name, true, &err))
        fail_msg("%s", err.text);
}

static void short_delays(struct service_spec *spec)
{
    spec->backoff_min_ms = 40;
    spec->backoff_max_ms = 160;
    spec->healthy_ms = 60000;
}

static void a_deadline(struct service_spec *spec)
{
    spec->ready = (struct ready_spec){.kind = READY_LUA, .period_ms = 50, .deadline_ms = 400};
    spec->backoff_min_ms = spec->backoff_max_ms = 60000;
}

static void deaf(struct service_spec *spec)
{
    spec->stop_signal = SIGWINCH; /* which it does not know */
    spec->grace_ms = 300;
}

static bool stopped;

static void note_stopped(void *unused)
{
    (void)unused;
    stopped = true;
}

static void no_delay_follows_the_wall_clock(void **unused)
{
    (void)unused;
    struct capture out;
    signals_block();
    assert_non_null(loop = loop_new(NULL));
    assert_true(signals_start(loop, NULL, NULL) && reaper_start(loop, true, NULL));
    capture_pipe(&out);
    assert_true(console_start(loop, CONSOLE_TEXT, NULL));
    assert_non_null(sup = supervisor_new(loop, NULL));

    int64_t before = clock_ns();
    run("crashes", "exit", "1", short_delays);
    run("late", "hang", NULL, a_deadline);
    run("deaf", "hang", NULL, deaf);
    TURN_UNTIL(loop, view_of("late").crashes == 1 && view_of("late").state == SERVICE_BACKOFF);
    assert_in_range(clock_ns() - before, 400 * NS_PER_MS, 5 * NS_PER_S);
    TURN_UNTIL(loop, view_of("crashes").restarts == 5); /* 40, 80, 160, 160, 160 ms, less a quarter at most */
    assert_in_range(clock_ns() - before, 450 * NS_PER_MS, 8 * NS_PER_S);

    before = clock_ns();
    supervisor_stop_all(sup, 3000, note_stopped, NULL);
    TURN_UNTIL(loop, stopped);
    assert_in_range(clock_ns() - before, 300 * NS_PER_MS, 3 * NS_PER_S);

    supervisor_free(sup);
    console_flush(1000);
    capture_read(&out);
    console_stop();
    signals_stop();
    reaper_stop();
    while (loop_timer_count(loop) > 0)
        loop_turn(loop, INT64_MAX, NULL);
    loop_free(loop);
    assert_true(looks > 10);
    bool shows = false; /* the clock did jump: lines of other years follow each other */
    int year = atoi(out.text);
    for (const char *line = out.text; *line && strchr(line, '\n'); line = strchr(line, '\n') + 1)
        shows |= atoi(line) != year;
    assert_true(shows);
    capture_end(&out);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_delay_follows_the_wall_clock)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
