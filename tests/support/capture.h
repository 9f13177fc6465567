/* capture.h - descriptor 1 as something the test holds the other end of: a pipe, a socket, a file. */
#ifndef TEST_CAPTURE_H
#define TEST_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>

struct capture {
    int saved;  /* the real descriptor 1 */
    int reader; /* non-blocking; -1 for a file or once closed */
    char *text; /* all that was read, with a zero behind it */
    size_t length, capacity;
};

void capture_pipe(struct capture *);
void capture_socket(struct capture *);
void capture_file(struct capture *, const char *path, int flags); /* opened for writing with them */
void capture_read(struct capture *);                              /* what is there now, added to text */
void capture_read_some(struct capture *, size_t limit);
void capture_close_reader(struct capture *);
void capture_end(struct capture *); /* puts descriptor 1 back, frees the text */
/* How many lines of text hold `what`, and in all. */
size_t capture_count(const struct capture *, const char *what);

#endif
