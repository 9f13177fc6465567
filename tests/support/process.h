/* process.h - what the kernel says of a process. */
#ifndef TEST_PROCESS_H
#define TEST_PROCESS_H

#include <sys/types.h>

/* The number behind `field` ("VmRSS") in /proc/PID/status, written to this base; -1: there is no such process or field. */
long long process_number(pid_t, const char *field, int base);

/* What it costs now, as the kernel counts it; -1 where that can't be read. */
struct process_cost {
    long long pss_kib, rss_kib;
    int descriptors;
};
struct process_cost process_cost(pid_t);

#endif
