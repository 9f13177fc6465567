/* clock.h - time. Everything that waits or measures uses clock_ns(); wall time is only for log lines and signatures. */
#ifndef APPLIANCE_CLOCK_H
#define APPLIANCE_CLOCK_H

#include <stdint.h>

#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S  INT64_C(1000000000)

int64_t clock_ns(void);      /* CLOCK_MONOTONIC: never jumps, stands still in suspend; the loop's timers live on it */
int64_t clock_boot_ns(void); /* CLOCK_BOOTTIME: counts suspend too; for leases, whose other side goes on counting */
int64_t clock_wall_ms(void); /* since 1970; may jump */

/* A time span as Lua has it: less than nothing (and what is no number) is 0, more than a century (math.huge) is about a century. */
int64_t clock_span_ns(double seconds);

enum { CLOCK_TEXT_SIZE = 32 };
/* "2026-11-22T18:10:02.123Z" */
void clock_text(char out[CLOCK_TEXT_SIZE], int64_t wall_ms);

#endif
