/* spawn.h - the moment between clone and exec; private to proc.
 * The child runs in our memory on a stack of its own while the calling thread waits (as vfork does), so Lua's heap costs nothing
 * and an error comes back through plain memory. It therefore only makes raw system calls: no malloc, no stdio, no libc call that
 * takes a lock or talks to other threads (glibc's setuid would send a signal to every thread of ours). */
#ifndef APPLIANCE_SPAWN_H
#define APPLIANCE_SPAWN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

enum spawn_stage { SPAWN_CLONE, SPAWN_PARENT, SPAWN_LIMIT, SPAWN_OUTPUT, SPAWN_INPUT, SPAWN_DIR, SPAWN_USER, SPAWN_NICE, SPAWN_EXEC };

struct spawn {
    /* in; everything is prepared before the clone */
    const char *path;
    char *const *argv, *const *envp;
    const char *dir; /* NULL: ours */
    int output;
    bool set_user;
    uid_t uid;
    gid_t gid;
    int nice;
    const struct rlimit *nofile; /* NULL: as it is */
    bool die_with_us;
    pid_t us;
    /* spawn.c's own */
    int slot;                   /* >=0: the table of descriptors is shared with us until close_range gives the child one of its own */
    volatile bool still_shared; /* it could not; the child has ended without touching it */
    /* out */
    int pidfd;                       /* -1 where the kernel gave none */
    volatile enum spawn_stage stage; /* where it failed; volatile: written by the child */
    volatile int error;              /* 0: the program runs */
};

/* The pid, or -1 with stage and error set and nothing left to reap. */
pid_t spawn(struct spawn *);
/* One descriptor is kept between calls, and should have a low number: so early, when few are taken. Without it the first call does it. */
void spawn_start(void);
void spawn_stop(void);

#endif
