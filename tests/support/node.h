/* node.h - runs the real program: as PID 1 of fresh user, mount and PID namespaces (no root needed), or as an ordinary process.
 * What it prints is collected; every wait has a generous limit and fails with all that was printed. */
#ifndef TEST_NODE_H
#define TEST_NODE_H

#include "turning.h"

#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

enum node_kind {
    NODE_PID1,      /* uid 1000 in its namespaces, without privilege */
    NODE_PID1_ROOT, /* uid 0 in them: really root where the test is */
    NODE_PLAIN,     /* an ordinary process, and then a subreaper */
    NODE_KINDS
};
enum node_output {
    NODE_OUTPUT_PIPE,   /* 1 and 2 are one pipe that the test reads */
    NODE_STDERR_BROKEN, /* 2 is a pipe whose reader is gone */
    NODE_STDERR_FULL,   /* 2 is a pipe that is full, and nobody reads it */
    NODE_ALL_BROKEN,
    NODE_ALL_FULL, /* 1 as well */
    NODE_CLOSED,   /* 0-2 are closed */
};

struct node_options {
    enum node_kind kind;
    enum node_output output;
    const char *services;            /* Lua: what stands between the braces of `services = { ... }` of its profile */
    char *const *environment;        /* added to PATH, PROFILE, APPLIANCE_PROFILES, STATE_DIR; NULL: nothing */
    struct rlimit nofile, processes; /* rlim_cur 0: as ours */
    bool as_nobody;     /* NODE_PLAIN: a uid that nobody else uses, where the test is root: its limit of processes counts just ours */
    bool read_only;     /* not NODE_PLAIN: nothing can be written but in state/, and nothing there can be executed */
    bool leave_signals; /* blocked and ignored as a careless starter leaves them */
    int refused;        /* an errno: close_range, everything with pidfds, and epoll_pwait2 say it, as an older kernel or a filter does */
};

struct node {
    pid_t pid;    /* as the test sees it */
    char *folder; /* scratch; the profile is in it, and state/ */
    int output;   /* -1: nobody reads */
    char *text;   /* what it has printed, ended by a zero */
    size_t length, capacity;
    bool ended;
    int status;          /* as waitpid gives it, once ended */
    int64_t executed_ns; /* when exec had happened */
};

/* `folder` NULL: a fresh one. Skips the test where this machine lets nobody make namespaces. */
struct node *node_start(char *folder, const struct node_options *);
/* The user of as_nobody, and how a forked child of the test becomes it. */
uid_t node_nobody(void);
void node_become_nobody(void);
/* Kills whatever is left and forgets it; fails if anybody is left although the program had ended. */
void node_free(struct node *);
/* Asks it to end with TERM, which it does with 0 (else its output is shown), and frees it. */
void node_end_well(struct node *);
/* Other services from now on; a HUP makes it read them. */
void node_plan(struct node *, const char *services);
void node_signal(struct node *, int signal);
/* Until its output holds the text; `times` often. */
void node_await(struct node *, const char *text);
void node_await_times(struct node *, const char *text, int times);
/* Until its output holds one of these; the list ends with NULL. False: the program ended first. */
bool node_await_any(struct node *, const char *const *texts);
/* Until the file in its folder is there and not empty. */
void node_await_file(struct node *, const char *name);
/* Until so many processes live below it. */
void node_await_members(struct node *, int count);
/* Until it ends: its exit code, or 128 and the signal. */
int node_await_end(struct node *);
/* Processes below it that live; zombies are counted apart. */
int node_members(const struct node *, int *zombies);
/* One of them that lives, by a number of any size; 0: there is nobody. */
pid_t node_member(const struct node *, unsigned choice);
/* Sends a signal to all of them that have this name. Returns how many. */
int node_signal_members(const struct node *, const char *name, int signal);
/* Who has this pid in its own namespace: its pid as the test sees it, 0: nobody below the node. */
pid_t node_pid_of(const struct node *, pid_t inner);
bool node_signal_inner(const struct node *, pid_t inner, int signal);
int node_times(const struct node *, const char *text);
/* Takes each whole line that it has printed, without the newline, and forgets them: else hours of output would stay in memory. When
 * there is none it waits for a moment. */
void node_take_lines(struct node *, void (*line)(void *, const char *, size_t), void *argument);
/* Runs `spark-appliance WORDS...` against it; its exit code. */
int node_command(struct node *, const char *words);

#endif
