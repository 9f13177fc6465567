/* words.c - the sentences people read about a service: "worker: killed by SIGKILL after 35 s, restarting now". */
#include "supervisor_parts.h"

#include "appliance/cgroup.h"
#include "appliance/clock.h"
#include "appliance/last_words.h"
#include "appliance/log.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { OOM_TOGETHER_NS = 10 * 1000 * 1000 };

void words_set(char *out, size_t size, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(out, size, format, arguments);
    va_end(arguments);
}

void words_duration(char *out, size_t size, int64_t ns)
{
    int64_t ms = ns / NS_PER_MS, s = ns / NS_PER_S;
    if (ms < 100)
        words_set(out, size, "%lld ms", (long long)ms);
    else if (ms < 9950)
        words_set(out, size, "%lld.%lld s", (long long)((ms + 50) / 1000), (long long)((ms + 50) / 100 % 10));
    else if (s < 120)
        words_set(out, size, "%lld s", (long long)((ms + 500) / 1000));
    else if (s < 2 * 3600)
        words_set(out, size, "%lld min", (long long)(s / 60));
    else
        words_set(out, size, "%lld h", (long long)(s / 3600));
}

static const char *ordinal_suffix(int number)
{
    if (number % 100 >= 11 && number % 100 <= 13)
        return "th";
    return number % 10 == 1 ? "st" : number % 10 == 2 ? "nd" : number % 10 == 3 ? "rd" : "th";
}

static void tell(struct service *s, enum service_state state, enum log_level level, const char *text)
{
    char line[400];
    words_set(line, sizeof line, "%s: %s", s->name, text);
    log_line(level, "%s", line);
    struct service_view view;
    service_fill_view(s, &view);
    view.state = state;
    for (struct observer *o = s->supervisor->observers; o; o = o->next)
        o->call(o->argument, &view, line);
}

/* Did the kernel kill for memory since we last looked? Only asked after a SIGKILL that was not ours, or what a shell makes of one. */
static bool killed_for_memory(struct service *s)
{
    struct supervisor *sup = s->supervisor;
    if (s->kill_sent || (s->last_end.signal != SIGKILL && s->last_end.status != 128 + SIGKILL))
        return false;
    /* Who dies together has died of the same: one look for all. */
    int64_t now = clock_ns();
    if (sup->oom_looked_ns != 0 && now - sup->oom_looked_ns < OOM_TOGETHER_NS)
        return sup->oom_found;
    int64_t kills = cgroup_oom_kills("/");
    /* As PID 1 the cgroup is as old as we are. */
    int64_t before = sup->oom_kills >= 0 ? sup->oom_kills : sup->is_pid1 ? 0 : kills;
    sup->oom_kills = kills;
    sup->oom_looked_ns = now;
    sup->oom_found = kills > before;
    return sup->oom_found;
}

/* What a program that ended by itself, and badly, says of the reason. It reads in the last run's output only. */
static bool explained(const struct service *s, char *out, size_t size)
{
    enum { LINE_ENDS = 2 }; /* the end of the line before, by which a whole line is known, and one that was added to the last */
    if (s->last_end.signal || s->last_end.status == 0)
        return false;
    char text[LAST_WORDS_READ + 1];
    uint64_t said = service_has_spoken(s) - s->spoken_before_last;
    if (said == 0)
        return false;
    size_t limit = said + LINE_ENDS < LAST_WORDS_READ ? (size_t)said + LINE_ENDS : LAST_WORDS_READ;
    size_t length = output_tail(s->output, text, limit);
    for (size_t i = 0; i < length; i++)
        text[i] = text[i] ? text[i] : ' ';
    text[length] = 0;
    return last_words_explain(text, out, size);
}

/* "killed by SIGKILL after 35 s": what happened to it, for the log and for status. */
static void death_words(struct service *s, char *out, size_t size)
{
    if (s->cause[0]) {
        words_set(out, size, "%s", s->cause);
        return;
    }
    char how[96], after[24];
    words_duration(after, sizeof after, s->ran_ns);
    if (killed_for_memory(s)) {
        struct cgroup_limits limits;
        char limit[48] = "";
        if (cgroup_read("/", &limits, NULL) && limits.memory_bytes > 0) {
            if (limits.memory_bytes < 1 << 30)
                words_set(limit, sizeof limit, ": limit %lld MiB", (long long)limits.memory_bytes >> 20);
            else
                words_set(limit, sizeof limit, ": limit %.1f GiB", (double)limits.memory_bytes / (1 << 30));
        }
        words_set(how, sizeof how, "killed by the kernel for memory%s,", limit);
    } else {
        child_end_text(s->last_end, how, sizeof how);
    }
    char why[200];
    bool is_known = explained(s, why, sizeof why);
    words_set(out, size, "%s after %s%s%s", how, after, is_known ? ": " : "", is_known ? why : "");
}

/* The death of a service that was restarted at once is told after the start: telling takes time, above all to look for its reason. */
void service_tell_late_death(struct service *s)
{
    if (!s->death_unsaid)
        return;
    s->death_unsaid = false;
    char death[260], text[300];
    death_words(s, death, sizeof death);
    words_set(text, sizeof text, "%s%s", death, s->state == SERVICE_WAITING ? "" : ", restarting now");
    tell(s, SERVICE_BACKOFF, LOG_WARN, text);
}

static void announce_backoff(struct service *s, enum service_event next)
{
    if (next == EVENT_GIVE_UP)
        return; /* that sentence has it all */
    if (next == EVENT_RETRY) {
        s->death_unsaid = true;
        return;
    }
    death_words(s, s->reason, sizeof s->reason);
    char text[360], delay[24];
    if (next == EVENT_WANT_DOWN) {
        tell(s, s->state, LOG_WARN, s->reason);
        return;
    }
    words_duration(delay, sizeof delay, s->retry_ns - clock_ns());
    if (s->crashes > 1)
        words_set(text, sizeof text, "%s, next try in %s (%d%s crash in a row)", s->reason, delay, s->crashes, ordinal_suffix(s->crashes));
    else
        words_set(text, sizeof text, "%s, next try in %s", s->reason, delay);
    tell(s, s->state, LOG_WARN, text);
}

static void announce_failed(struct service *s, enum service_event why)
{
    if (why == EVENT_SPAWN_NEVER) {
        words_set(s->reason, sizeof s->reason, "can't be started: %s", s->cause);
    } else {
        char death[260];
        death_words(s, death, sizeof death);
        if (s->spec->restart == RESTART_NEVER)
            words_set(s->reason, sizeof s->reason, "%s, not to be restarted (restart = \"never\")", death);
        else
            words_set(s->reason, sizeof s->reason, "%s, given up after %d crashes in a row", death, s->crashes);
    }
    tell(s, s->state, LOG_ERROR, s->reason);
}

/* Our stop signal, or the exit code a JVM or a shell makes of it, is what was asked for. */
static bool ended_as_asked(const struct service *s)
{
    struct child_end end = s->last_end;
    if (end.signal)
        return end.signal == s->spec->stop_signal;
    if (end.status == 0 || end.status == 128 + s->spec->stop_signal)
        return true;
    for (size_t i = 0; i < sizeof s->spec->clean_status / sizeof *s->spec->clean_status; i++)
        if (s->spec->clean_status[i] && s->spec->clean_status[i] == end.status)
            return true;
    return false;
}

static void announce_down(struct service *s, enum service_event why)
{
    s->reason[0] = 0;
    if (why != EVENT_FAMILY_GONE || !s->asked_to_end) { /* nothing ran */
        tell(s, s->state, LOG_DEBUG, "down");
        return;
    }
    char text[200], after[24], how[96];
    s->asked_to_end = false;
    words_duration(after, sizeof after, clock_ns() - s->stop_ns);
    if (s->kill_sent) {
        words_set(text, sizeof text, "stopped after %s: had to be killed", after);
    } else if (ended_as_asked(s)) {
        words_set(text, sizeof text, "stopped after %s", after);
    } else {
        child_end_text(s->last_end, how, sizeof how);
        words_set(text, sizeof text, "stopped after %s: %s", after, how);
    }
    tell(s, s->state, LOG_INFO, text);
}

static void announce_started(struct service *s)
{
    char text[64];
    words_set(text, sizeof text, "started (pid %d)", (int)s->child.pid);
    s->reason[0] = 0;
    tell(s, s->state, LOG_INFO, text);
}

static void announce_ready(struct service *s)
{
    if (s->spec->ready.kind == READY_AT_START) {
        announce_started(s);
        return;
    }
    char text[64], after[24];
    words_duration(after, sizeof after, s->up_ns - s->started_ns);
    words_set(text, sizeof text, "ready after %s", after);
    tell(s, s->state, LOG_INFO, text);
}

static void announce_done(struct service *s)
{
    char text[64], after[24];
    words_duration(after, sizeof after, s->ran_ns);
    words_set(text, sizeof text, "done after %s", after);
    s->reason[0] = 0;
    tell(s, s->state, LOG_INFO, text);
}

static void announce_unspawned(struct service *s)
{
    if (s->short_of_processes)
        return; /* said at the first try */
    s->short_of_processes = true;
    char text[360];
    words_set(text, sizeof text, "%s (%s), trying again until there is room", s->reason, s->cause);
    tell(s, s->state, LOG_WARN, text);
}

static void announce_clearing(struct service *s, enum service_event why, enum service_event next)
{
    char text[360];
    if (why == EVENT_UNREADY) {
        words_set(s->reason, sizeof s->reason, "%s", s->cause);
        words_set(text, sizeof text, "%s, ending it", s->cause);
    } else if (why == EVENT_PUT_DOWN) {
        words_set(s->reason, sizeof s->reason, "%s", s->cause);
        return; /* told once it is dead, which is soon */
    } else if (next == EVENT_FAMILY_GONE) {
        return; /* the usual case: the next sentence tells of the death */
    } else {
        child_end_text(s->last_end, s->reason, sizeof s->reason);
        words_set(text, sizeof text, "%s, ending what is left of its family", s->reason);
    }
    tell(s, s->state, LOG_WARN, text);
}

/* `next` is the event that follows at once: a state that is left in the same moment is only told when its end is worth a sentence. */
void service_announce(struct service *s, enum service_event why, enum service_event next)
{
    bool spawn_failed = next == EVENT_SPAWN_LATER || next == EVENT_SPAWN_NEVER;
    if (s->state != SERVICE_BACKOFF && !spawn_failed && next != EVENT_READY && next != EVENT_NEEDS_MET)
        service_tell_late_death(s);
    switch (s->state) {
    case SERVICE_DOWN: announce_down(s, why); break;
    case SERVICE_WAITING:
        if (next == NO_EVENT)
            tell(s, s->state, LOG_INFO, s->reason);
        break;
    case SERVICE_STARTING:
        if (next != EVENT_READY && !spawn_failed)
            announce_started(s);
        break;
    case SERVICE_UP: announce_ready(s); break;
    case SERVICE_UNSPAWNED: announce_unspawned(s); break;
    case SERVICE_CLEARING: announce_clearing(s, why, next); break;
    case SERVICE_BACKOFF: announce_backoff(s, next); break;
    case SERVICE_STOPPING:
        if (next != EVENT_FAMILY_GONE)
            tell(s, s->state, LOG_INFO, s->restarting ? "stopping, to start again" : "stopping");
        break;
    case SERVICE_DONE: announce_done(s); break;
    case SERVICE_FAILED: announce_failed(s, why); break;
    case SERVICE_STATES: break;
    }
}
