/* service.h - what a service is and how it moves: one table of state x event, pure.
 * supervisor.c feeds events and carries actions out; nothing here touches a process, so every cell is tested without one. */
#ifndef APPLIANCE_SERVICE_H
#define APPLIANCE_SERVICE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum service_state {
    SERVICE_DOWN,      /* not wanted, nothing runs */
    SERVICE_WAITING,   /* wanted; something it needs is not there yet */
    SERVICE_STARTING,  /* its process runs and is not ready yet */
    SERVICE_UP,        /* ready */
    SERVICE_UNSPAWNED, /* the kernel had no process for it (EAGAIN, ENOMEM, EMFILE): tried again soon, never counted as a crash */
    SERVICE_CLEARING,  /* its main process died unasked; the rest of its family is being ended before the next start */
    SERVICE_BACKOFF,   /* died; waits for its next try */
    SERVICE_STOPPING,  /* asked to end, TERM sent */
    SERVICE_DONE,      /* a one-shot that exited with 0 */
    SERVICE_FAILED,    /* beyond help: gave up, or its program can't be run */
    SERVICE_STATES
};

enum service_event {
    EVENT_WANT_UP,
    EVENT_WANT_DOWN,
    EVENT_NEEDS_MET,    /* everything in `after` is there */
    EVENT_SPAWN_LATER,  /* the spawn failed, and may work later */
    EVENT_SPAWN_NEVER,  /* the spawn failed for good */
    EVENT_READY,        /* probe, log line or Lua says so; at once for a service without readiness */
    EVENT_UNREADY,      /* not ready by its deadline, or its health probe failed for good */
    EVENT_EXITED_CLEAN, /* main process ended as a success */
    EVENT_EXITED_BAD,   /* main process ended otherwise */
    EVENT_FAMILY_GONE,  /* nobody of it is left (main included) */
    EVENT_RETRY,        /* back-off is over */
    EVENT_GIVE_UP,      /* too many crashes in a row */
    EVENT_GRACE_OVER,   /* it had its time after TERM */
    EVENT_PUT_DOWN,     /* its lease is over, or somebody orders it killed: no crash, and no time to end */
    SERVICE_EVENTS
};

/* Bits: what has to be done on the way, in this order. */
enum service_action {
    DO_DISARM = 1 << 0, /* stop timers and probes */
    DO_CHECK = 1 << 1,  /* look whether its needs are met (feeds NEEDS_MET) */
    DO_SPAWN = 1 << 2,
    DO_PROBE = 1 << 3, /* starting: probe for readiness, arm its deadline (may feed READY); up: probe its health, if asked for */
    DO_TERM = 1 << 4,  /* stop signal to the whole family, CONT behind it, arm grace */
    DO_KILL = 1 << 5,  /* KILL the whole family */
    DO_CLEAR = 1 << 6, /* is anybody of the family left? TERM them, arm grace (KILL when put down, or under a lease), else FAMILY_GONE */
    DO_ARM_RETRY = 1 << 7, /* feeds RETRY at once after a healthy run or when put down, GIVE_UP when its tries are used up */
    DO_ARM_SPAWN = 1 << 8, /* short retry after SPAWN_LATER */
    DO_COUNT = 1 << 9,     /* one more crash in a row */
    DO_ANNOUNCE = 1 << 10, /* say it, tell waiters and dependents */
};

struct service_step {
    enum service_state next;
    unsigned actions;
    bool known; /* false: this event says nothing new in this state and changes nothing */
};

struct service_step service_step(enum service_state, enum service_event);
const char *service_state_name(enum service_state); /* "starting" */
const char *service_event_name(enum service_event);

enum need_kind { NEED_READY, NEED_STARTED, NEED_DONE };
struct need {
    char *service;
    enum need_kind kind;
};

enum ready_kind { READY_AT_START, READY_TCP, READY_HTTP, READY_HIVE /* a session of HiveServer2 */, READY_LINE, READY_LUA };
/* Is there a port to ask, and to ask again? */
static inline bool ready_connects(enum ready_kind kind)
{
    return kind == READY_TCP || kind == READY_HTTP || kind == READY_HIVE;
}
struct ready_spec {
    enum ready_kind kind;
    char *host; /* numeric address; TCP, HTTP, HIVE */
    int port;
    char *path;          /* HTTP */
    char *has;           /* HTTP: the body must hold this text, white space ignored. LINE: a line must hold it. NULL: any 2xx */
    int64_t period_ms;   /* between tries where no output of the service prompts one (default 250) */
    int64_t deadline_ms; /* not ready by then: counts as a crash. 0: none */
    int health_misses;   /* >0: probing goes on once ready, every health_period_ms; so many misses in a row are a crash */
    int64_t health_period_ms;
};

enum restart_policy { RESTART_ALWAYS, RESTART_ON_FAILURE, RESTART_NEVER };
enum log_full { LOG_FULL_DROP, LOG_FULL_BLOCK };

/* Everything about one service. Plain data: strings are owned by it (service_spec_free). */
struct service_spec {
    char *name;
    char **argv, **envp; /* NULL-terminated */
    char *dir;           /* NULL: ours */
    bool set_user;
    uid_t uid;
    gid_t gid;
    int nice;
    struct need *after;
    int after_count;
    char *lease; /* runs only while it is held (supervisor_lease), and is dead when it is over; NULL: needs none */
    struct ready_spec ready;
    bool oneshot;  /* runs once to an exit of 0, then DONE */
    bool critical; /* beyond help -> the program stops everything and exits with 1 */
    enum restart_policy restart;
    int64_t backoff_min_ms, backoff_max_ms; /* first try after a healthy run is at once; then min, doubled up to max, with jitter */
    int64_t healthy_ms;                     /* this long up: the count of crashes starts anew */
    int give_up;                            /* so many crashes in a row: FAILED. 0: never */
    int stop_signal;                        /* default SIGTERM */
    int64_t grace_ms;                       /* after it: KILL. A stop of everything may give less */
    int dump_signal;                        /* sent shortly before the KILL, 0: none; a JVM prints its threads on SIGQUIT */
    int clean_status[4]; /* exit codes that mean success besides 0, ended by 0; 128+signal of our stop is always clean after it */
    char *log_file;      /* NULL: none; rotated at line ends */
    int64_t log_size;    /* rotate at, bytes */
    int log_keep;        /* old files kept */
    enum log_full log_full;
    bool log_console; /* also to our stdout (default) */
};

struct service_spec *service_spec_new(const char *name); /* with the defaults; NULL: no memory */
void service_spec_free(struct service_spec *);

#endif
