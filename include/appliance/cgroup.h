/* cgroup.h - what the kernel allows this container: memory, CPUs, and when it killed for memory. cgroup v1 and v2.
 * Pure over a root directory, so that recorded trees of files can stand in for a kernel. */
#ifndef APPLIANCE_CGROUP_H
#define APPLIANCE_CGROUP_H

#include "appliance/err.h"
#include "appliance/loop.h"

#include <stdbool.h>
#include <stdint.h>

struct cgroup_limits {
    int version;          /* 1, 2, or 0 where there is none */
    int64_t memory_bytes; /* -1: no limit. The least of all levels up to the root */
    double cpus;          /* quota / period, and no more than cpuset and affinity allow; >0 always */
};

/* `root` is "/" in the program: root/proc/self/cgroup, root/proc/self/mountinfo and root/sys/fs/cgroup are read below it. */
bool cgroup_read(const char *root, struct cgroup_limits *, struct err *);
/* How often the kernel has killed for memory in our cgroup and below since boot of the cgroup. -1: can't be told. */
int64_t cgroup_oom_kills(const char *root);
int64_t cgroup_memory_used(const char *root); /* bytes, -1: can't be told */

#endif
