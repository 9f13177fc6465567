#include "appliance/clock.h"
#include "appliance/sys.h"

#include <stdio.h>
#include <time.h>

static int64_t read_clock(clockid_t which)
{
    struct timespec now;
    clock_gettime(which, &now);
    return now.tv_sec * NS_PER_S + now.tv_nsec;
}

int64_t clock_ns(void)
{
    return sys.clock_ns();
}

int64_t clock_boot_ns(void)
{
    return read_clock(CLOCK_BOOTTIME);
}

int64_t clock_wall_ms(void)
{
    return read_clock(CLOCK_REALTIME) / NS_PER_MS;
}

int64_t clock_span_ns(double seconds)
{
    const double most = INT64_MAX / 2 / NS_PER_S; /* what is added to a point in time then can't overflow */
    if (!(seconds > 0))
        return 0;
    return (int64_t)((seconds < most ? seconds : most) * NS_PER_S);
}

void clock_text(char out[CLOCK_TEXT_SIZE], int64_t wall_ms)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    size_t length = strftime(out, CLOCK_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(out + length, CLOCK_TEXT_SIZE - length, ".%03dZ", (int)(wall_ms % 1000));
}
