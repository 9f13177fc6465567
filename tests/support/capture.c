#include "capture.h"
#include "turning.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void put_in_place(struct capture *c, int writer, int reader)
{
    fflush(stdout); /* cmocka's lines must not come behind ours */
    *c = (struct capture){.saved = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 10), .reader = reader};
    c->text = calloc(1, 1);
    if (c->saved < 0 || dup2(writer, STDOUT_FILENO) < 0 || !c->text)
        fail_msg("capture of descriptor 1 failed");
    close(writer);
    if (reader >= 0)
        fcntl(reader, F_SETFL, O_NONBLOCK);
}

void capture_pipe(struct capture *c)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    put_in_place(c, ends[1], ends[0]);
}

void capture_socket(struct capture *c)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    put_in_place(c, ends[1], ends[0]);
}

void capture_file(struct capture *c, const char *path, int flags)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0600);
    assert_true(fd >= 0);
    put_in_place(c, fd, -1);
}

void capture_read_some(struct capture *c, size_t limit)
{
    while (limit > 0) {
        if (c->length + 65536 + 1 > c->capacity)
            c->text = realloc(c->text, c->capacity = 2 * c->length + 65536 + 1);
        ssize_t size = read(c->reader, c->text + c->length, limit < 65536 ? limit : 65536);
        c->length += size > 0 ? (size_t)size : 0;
        c->text[c->length] = '\0';
        if (size <= 0)
            return;
        limit -= (size_t)size;
    }
}

void capture_read(struct capture *c)
{
    capture_read_some(c, SIZE_MAX);
}

void capture_close_reader(struct capture *c)
{
    if (c->reader >= 0)
        close(c->reader);
    c->reader = -1;
}

void capture_end(struct capture *c)
{
    capture_close_reader(c);
    dup2(c->saved, STDOUT_FILENO);
    close(c->saved);
    free(c->text);
    *c = (struct capture){.saved = -1, .reader = -1};
}

size_t capture_count(const struct capture *c, const char *what)
{
    size_t count = 0;
    for (const char *at = c->text, *end = c->text + c->length; at < end;) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *stop = newline ? newline : end;
        count += memmem(at, (size_t)(stop - at), what, strlen(what)) != NULL;
        at = stop + 1;
    }
    return count;
}
