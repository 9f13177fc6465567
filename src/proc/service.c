#include "appliance/service.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define STEP(state, what)                                         \
    {                                                             \
        .next = SERVICE_##state, .actions = (what), .known = true \
    }

/* An empty cell means: this event says nothing new in this state. tests/unit/test_service.c has the reason for each. */
/* clang-format off */
static const struct service_step steps[SERVICE_STATES][SERVICE_EVENTS] = {
    [SERVICE_DOWN] = {
        [EVENT_WANT_UP]      = STEP(WAITING, DO_CHECK | DO_ANNOUNCE),
    },
    [SERVICE_WAITING] = {
        [EVENT_WANT_DOWN]    = STEP(DOWN, DO_DISARM | DO_ANNOUNCE),
        [EVENT_NEEDS_MET]    = STEP(STARTING, DO_SPAWN | DO_PROBE | DO_ANNOUNCE),
    },
    [SERVICE_STARTING] = {
        [EVENT_WANT_DOWN]    = STEP(STOPPING, DO_DISARM | DO_TERM | DO_ANNOUNCE),
        [EVENT_SPAWN_LATER]  = STEP(UNSPAWNED, DO_DISARM | DO_ARM_SPAWN | DO_ANNOUNCE),
        [EVENT_SPAWN_NEVER]  = STEP(FAILED, DO_DISARM | DO_ANNOUNCE),
        [EVENT_READY]        = STEP(UP, DO_DISARM | DO_PROBE | DO_ANNOUNCE),
        [EVENT_UNREADY]      = STEP(CLEARING, DO_DISARM | DO_TERM | DO_COUNT | DO_ANNOUNCE),
        [EVENT_EXITED_CLEAN] = STEP(DONE, DO_DISARM | DO_ANNOUNCE),
        [EVENT_EXITED_BAD]   = STEP(CLEARING, DO_DISARM | DO_CLEAR | DO_COUNT | DO_ANNOUNCE),
        [EVENT_PUT_DOWN]     = STEP(CLEARING, DO_DISARM | DO_CLEAR | DO_ANNOUNCE),
    },
    [SERVICE_UP] = {
        [EVENT_WANT_DOWN]    = STEP(STOPPING, DO_DISARM | DO_TERM | DO_ANNOUNCE),
        [EVENT_UNREADY]      = STEP(CLEARING, DO_DISARM | DO_TERM | DO_COUNT | DO_ANNOUNCE),
        [EVENT_EXITED_CLEAN] = STEP(DONE, DO_DISARM | DO_ANNOUNCE),
        [EVENT_EXITED_BAD]   = STEP(CLEARING, DO_DISARM | DO_CLEAR | DO_COUNT | DO_ANNOUNCE),
        [EVENT_PUT_DOWN]     = STEP(CLEARING, DO_DISARM | DO_CLEAR | DO_ANNOUNCE),
    },
    [SERVICE_UNSPAWNED] = {
        [EVENT_WANT_DOWN]    = STEP(DOWN, DO_DISARM | DO_ANNOUNCE),
        [EVENT_RETRY]        = STEP(WAITING, DO_DISARM | DO_CHECK | DO_ANNOUNCE),
    },
    [SERVICE_CLEARING] = {
        /* What is left of it was asked to end already and its grace runs. */
        [EVENT_WANT_DOWN]    = STEP(STOPPING, DO_ANNOUNCE),
        [EVENT_FAMILY_GONE]  = STEP(BACKOFF, DO_DISARM | DO_ARM_RETRY | DO_ANNOUNCE),
        [EVENT_GRACE_OVER]   = STEP(CLEARING, DO_KILL),
        [EVENT_PUT_DOWN]     = STEP(CLEARING, DO_KILL),
    },
    [SERVICE_BACKOFF] = {
        [EVENT_WANT_DOWN]    = STEP(DOWN, DO_DISARM | DO_ANNOUNCE),
        [EVENT_RETRY]        = STEP(WAITING, DO_DISARM | DO_CHECK | DO_ANNOUNCE),
        [EVENT_GIVE_UP]      = STEP(FAILED, DO_DISARM | DO_ANNOUNCE),
    },
    [SERVICE_STOPPING] = {
        [EVENT_FAMILY_GONE]  = STEP(DOWN, DO_DISARM | DO_ANNOUNCE),
        [EVENT_GRACE_OVER]   = STEP(STOPPING, DO_KILL),
        [EVENT_PUT_DOWN]     = STEP(STOPPING, DO_KILL),
    },
    [SERVICE_DONE] = {
        /* Its main process has ended; what it left behind must end, too. */
        [EVENT_WANT_DOWN]    = STEP(STOPPING, DO_CLEAR | DO_ANNOUNCE),
    },
    [SERVICE_FAILED] = {
        [EVENT_WANT_UP]      = STEP(WAITING, DO_CHECK | DO_ANNOUNCE), /* somebody has mended it */
        [EVENT_WANT_DOWN]    = STEP(DOWN, DO_ANNOUNCE),
    },
};
/* clang-format on */

struct service_step service_step(enum service_state state, enum service_event event)
{
    struct service_step step = steps[state][event];
    if (!step.known)
        step.next = state;
    return step;
}

const char *service_state_name(enum service_state state)
{
    static const char *const names[SERVICE_STATES] = {
        [SERVICE_DOWN] = "down",       [SERVICE_WAITING] = "waiting",     [SERVICE_STARTING] = "starting",
        [SERVICE_UP] = "up",           [SERVICE_UNSPAWNED] = "unspawned", [SERVICE_CLEARING] = "clearing",
        [SERVICE_BACKOFF] = "backoff", [SERVICE_STOPPING] = "stopping",   [SERVICE_DONE] = "done",
        [SERVICE_FAILED] = "failed",
    };
    return (unsigned)state < SERVICE_STATES ? names[state] : "unknown";
}

const char *service_event_name(enum service_event event)
{
    static const char *const names[SERVICE_EVENTS] = {
        [EVENT_WANT_UP] = "want up",
        [EVENT_WANT_DOWN] = "want down",
        [EVENT_NEEDS_MET] = "needs met",
        [EVENT_SPAWN_LATER] = "spawn later",
        [EVENT_SPAWN_NEVER] = "spawn never",
        [EVENT_READY] = "ready",
        [EVENT_UNREADY] = "unready",
        [EVENT_EXITED_CLEAN] = "exited clean",
        [EVENT_EXITED_BAD] = "exited bad",
        [EVENT_FAMILY_GONE] = "family gone",
        [EVENT_RETRY] = "retry",
        [EVENT_GIVE_UP] = "give up",
        [EVENT_GRACE_OVER] = "grace over",
        [EVENT_PUT_DOWN] = "put down",
    };
    return (unsigned)event < SERVICE_EVENTS ? names[event] : "unknown";
}

struct service_spec *service_spec_new(const char *name)
{
    struct service_spec *spec = calloc(1, sizeof *spec);
    if (!spec)
        return NULL;
    *spec = (struct service_spec){
        .ready = {.kind = READY_AT_START, .period_ms = 250, .deadline_ms = 60000, .health_period_ms = 5000},
        .critical = true,
        .restart = RESTART_ALWAYS,
        .backoff_min_ms = 500,
        .backoff_max_ms = 30000,
        .healthy_ms = 10000,
        .stop_signal = SIGTERM,
        .grace_ms = 10000,
        .log_size = 10 << 20,
        .log_keep = 4,
        .log_console = true,
    };
    spec->name = strdup(name);
    if (!spec->name) {
        free(spec);
        return NULL;
    }
    return spec;
}

static void free_strings(char **strings)
{
    for (char **at = strings; at && *at; at++)
        free(*at);
    free(strings);
}

void service_spec_free(struct service_spec *spec)
{
    if (!spec)
        return;
    free(spec->name);
    free_strings(spec->argv);
    free_strings(spec->envp);
    free(spec->dir);
    for (int i = 0; i < spec->after_count; i++)
        free(spec->after[i].service);
    free(spec->after);
    free(spec->lease);
    free(spec->ready.host);
    free(spec->ready.path);
    free(spec->ready.has);
    free(spec->log_file);
    free(spec);
}
