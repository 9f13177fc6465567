/* account.h - holds what was read of a talker's lines (tests/support/programs/talker.c) against what it has printed.
 * A line may be missing only where a sentence about dropped lines stands before the next one, and it must name enough of them. */
#ifndef TEST_ACCOUNT_H
#define TEST_ACCOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct account {
    const char *name;  /* the talker's */
    const char *place; /* where its lines are read, for messages */
    bool whole;        /* nothing of it may be dropped */
    uint64_t last;     /* the number of the last line */
    uint64_t told;     /* dropped, says a sentence behind that line */
    uint64_t lines, missing, repeated;
};

/* One line without its newline and without the console's prefix. Fails the test where lines are missing or damaged. */
void account_line(struct account *, const char *line, size_t length);
/* So many lines were dropped, a sentence says. */
void account_dropped(struct account *, const char *sentence);
/* The new lines of a log file and of its rotated ones, while they are written and rotated. Each file must end with a line and hold no
 * more than `limit` bytes. */
void account_files(struct account *, const char *path, int64_t limit);
/* What the talker has printed so far; its FILE is named. 0: nothing yet. */
uint64_t account_said(const char *path);
/* All has been read that will ever come. */
void account_close(const struct account *, uint64_t said);

#endif
