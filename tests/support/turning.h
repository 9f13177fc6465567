/* turning.h - for tests of what happens in the loop: wait for a condition by turning it, up to a generous limit. No sleeps. */
#ifndef TEST_TURNING_H
#define TEST_TURNING_H

#include "appliance/clock.h"
#include "appliance/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
/* cmocka.h wants the four above before it */
#include <cmocka.h>

enum { TURNING_LIMIT_S = 60, PATIENCE_MS = 10 };

#define TURN_UNTIL(loop, condition)                                           \
    do {                                                                      \
        int64_t limit_ = clock_ns() + TURNING_LIMIT_S * NS_PER_S;             \
        while (!(condition)) {                                                \
            if (clock_ns() > limit_)                                          \
                fail_msg("waited %d s for: %s", TURNING_LIMIT_S, #condition); \
            loop_turn(loop, clock_ns() + PATIENCE_MS * NS_PER_MS, NULL);      \
        }                                                                     \
    } while (0)

/* A fresh temporary folder; remove it with scratch_free, which takes everything in it along. */
char *scratch_new(void);
void scratch_free(char *);
/* folder/name, in a buffer that the next-but-seven call uses again. */
const char *scratch_path(const char *folder, const char *name);
void scratch_write(const char *folder, const char *name, const char *text, int mode);
/* The file's text ("" where there is none); valid until the next-but-three call. */
const char *scratch_read(const char *folder, const char *name);
bool scratch_has(const char *folder, const char *name);

/* How many descriptors this process has open. */
int open_descriptors(void);
/* The path of one of tests/support/programs. */
const char *test_program(const char *name);

#endif
