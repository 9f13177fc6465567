/* answering.h - for tests of a server that runs in this process: a client of it waits for its answer by turning the loop that answers. */
#ifndef TEST_ANSWERING_H
#define TEST_ANSWERING_H

#include "turning.h"

#include <string.h>
#include <sys/socket.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: x\r\n\r\n"

static inline void turn_for(struct loop *loop, int64_t ms)
{
    assert_true(loop_turn(loop, ms ? clock_ns() + ms * NS_PER_MS : 0, NULL));
}

/* What came on the socket until it holds `end` (NULL: nothing does), or the connection ends. Valid until the next call. */
static inline const char *answer_of(struct loop *loop, int fd, const char *end)
{
    static char text[256 * 1024];
    size_t length = 0;
    int64_t limit = clock_ns() + TURNING_LIMIT_S * NS_PER_S;
    for (;;) {
        ssize_t count = recv(fd, text + length, sizeof text - 1 - length, MSG_DONTWAIT);
        if (count > 0)
            length += (size_t)count;
        text[length] = 0;
        if (count == 0 || (end && strstr(text, end)))
            return text;
        if (clock_ns() > limit)
            fail_msg("no answer in time, but: %s", text);
        turn_for(loop, PATIENCE_MS);
    }
}

#endif
