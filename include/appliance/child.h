/* child.h - one child process, from spawn to exit status.
 * Knows neither Lua nor restart policy: service.c decides, child.c carries out.
 * Invariant: pid is non-zero exactly while the kernel keeps the pid for us, so a signal never hits a stranger.
 * The program starts by a clone that shares our memory until exec (as vfork), so the size of our heap does not matter. The end is
 * learned from SIGCHLD alone (see reaper.h): the pidfd is for signals, nobody watches it. */
#ifndef APPLIANCE_CHILD_H
#define APPLIANCE_CHILD_H

#include "appliance/err.h"
#include "appliance/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

/* All pointers are borrowed for the call of child_start only. */
struct child_spec {
    const char *name;  /* for the marker and messages */
    char *const *argv; /* argv[0] is a path, or is looked up in PATH of envp (absolute folders only), before the clone */
    char *const *envp; /* complete; child.c puts the marker APPLIANCE_SERVICE=<name>@<instance> in front */
    const char *dir;   /* NULL: ours */
    int output;        /* becomes 1 and 2; 0 is /dev/null */
    bool set_user;     /* uid/gid below, with no supplementary groups; no change asked of the kernel when they are ours */
    uid_t uid;
    gid_t gid;
    int nice;         /* added to ours */
    bool die_with_us; /* PR_SET_PDEATHSIG SIGKILL: always when we are not PID 1 */
};

struct child_end {
    int status; /* exit code, or -1 when a signal ended it */
    int signal; /* that signal, or 0 */
    bool core;
};

enum child_reach { REACH_LEADER, REACH_GROUP };

struct child {
    pid_t pid;
    int pidfd;          /* -1 where the kernel has none, or no descriptor was left; valid while pid is non-zero */
    int64_t started_ns; /* clock_ns() at exec */
    struct loop *loop;
    void (*ended)(struct child *, struct child_end how); /* in the loop: no Lua, no blocking. pid is 0 by then */
    /* the rest is the reaper's */
    struct child *next;
    struct child_end how;
    bool reaped; /* pid is 0, and `ended` is about to be called */
};

/* Starts the program in a session and process group of its own, default signal dispositions, empty mask, only descriptors 0-2.
 * False: nothing runs. err.kind tells which: MISSING, DENIED, INVALID (ENOEXEC, E2BIG ...) will not get better by trying
 * again; SYSTEM (EAGAIN, ENOMEM, EMFILE) may. err.code is the errno, err.text names the stage and the path. */
bool child_start(struct child *, struct loop *, const struct child_spec *, void (*ended)(struct child *, struct child_end), struct err *);
bool child_signal(const struct child *, int signal, enum child_reach);
/* True until `ended` is called; the struct may be freed, or started again, as soon as it is false. */
static inline bool child_is_alive(const struct child *c)
{
    return c->pid != 0 || c->reaped;
}
/* "exited with 3", "killed by SIGSEGV (core dumped)" */
void child_end_text(struct child_end, char *out, size_t size);

/* The limit children get for their descriptors: what ours was before main raised it. Not called: they inherit ours. */
void child_set_nofile(const struct rlimit *before);
/* Makes it ours again, for a process that is about to become another program itself. */
void child_take_nofile(void);

/* How a process says whose it is: "APPLIANCE_SERVICE=<name>@<instance>", where the instance is the same 16 hex digits for the life
 * of this program and never those of another run. Also what family.h looks for. */
#define CHILD_MARKER "APPLIANCE_SERVICE="
enum { CHILD_INSTANCE_SIZE = 17, CHILD_MARKER_SIZE = 256 };
const char *child_instance(void);
/* False: the name is too long. */
bool child_marker(const char *name, char out[CHILD_MARKER_SIZE]);

#endif
