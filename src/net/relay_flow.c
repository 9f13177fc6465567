/* relay_flow.c - the bytes of one direction, from one socket to the other.
 * Two ways, for each what it is better at: a piece is read into a buffer on the stack and sent at once, two system calls for a question or
 * an answer; and when a whole piece came, what follows is spliced through a pipe, which moves pages instead of copying bytes, at the price
 * of two more calls (measured over loopback: 0.33 CPU-s a GiB; copied, 0.70, with pieces of 64 KiB 0.53). Pipes are borrowed while a big transfer lasts, and there are few
 * of them, because the kernel counts the pages of all pipes of a user together, those of services' output too (pipe(7)). Who gets none
 * goes on with the buffer. */
#include "appliance/sys.h"
#include "relay_inner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

enum {
    PIECE = 16 * 1024,
    PIPE_SIZE = 256 * 1024,
    PIPES = 32,       /* all together */
    PIPES_IDLE = 4,   /* stay open between transfers */
    THIN = 16 * 1024, /* a splice of less than this was not worth it */
};

static struct {
    struct relay_pipe *idle;
    int idle_count, count;
} pipes;

static struct relay_pipe *borrow_pipe(void)
{
    struct relay_pipe *pipe = pipes.idle;
    if (pipe) {
        pipes.idle = pipe->next;
        pipes.idle_count--;
        return pipe;
    }
    int fds[2];
    if (pipes.count >= PIPES || !(pipe = malloc(sizeof *pipe)))
        return NULL;
    if (sys.pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) {
        free(pipe);
        return NULL;
    }
    sys.fcntl(fds[1], F_SETPIPE_SZ, PIPE_SIZE); /* refused: then it is smaller, and no less right */
    *pipe = (struct relay_pipe){.out = fds[0], .in = fds[1]};
    pipes.count++;
    return pipe;
}

static void close_pipe(struct relay_pipe *pipe)
{
    sys.close(pipe->in);
    sys.close(pipe->out);
    free(pipe);
    pipes.count--;
}

static void give_back_pipe(struct relay_flow *f)
{
    struct relay_pipe *pipe = f->pipe;
    f->pipe = NULL;
    if (f->piped > 0 || pipes.idle_count >= PIPES_IDLE) { /* nobody may find bytes of another in it */
        f->piped = 0;
        close_pipe(pipe);
        return;
    }
    pipe->next = pipes.idle;
    pipes.idle = pipe;
    pipes.idle_count++;
}

void flow_close_pipes(void)
{
    while (pipes.idle) {
        struct relay_pipe *pipe = pipes.idle;
        pipes.idle = pipe->next;
        close_pipe(pipe);
    }
    pipes.idle_count = 0;
}

void flow_drop(struct relay_flow *f)
{
    free(f->rest);
    f->rest = NULL;
    if (f->pipe)
        give_back_pipe(f);
}

static bool is_pending(const struct relay_flow *f)
{
    return f->rest || f->piped > 0;
}

/* A write that took nothing. EAGAIN: the kernel tells by an edge when there is room again. */
static bool note_full(struct relay_flow *f)
{
    if (errno == EAGAIN)
        f->to->writable = false;
    return errno == EAGAIN || errno == EINTR;
}

/* Sends of what is pending as much as `to` takes. */
static bool flush(struct relay_flow *f)
{
    while (is_pending(f) && f->to->writable) {
        ssize_t sent = f->rest ? send(f->to->io.fd, f->rest + f->rest_at, f->rest_length, MSG_NOSIGNAL | MSG_DONTWAIT)
                               : splice(f->pipe->out, NULL, f->to->io.fd, NULL, f->piped, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (sent < 0) {
            if (!note_full(f))
                return false;
        } else if (!f->rest) {
            f->piped -= (size_t)sent;
        } else {
            f->rest_at += (size_t)sent;
            f->rest_length -= (size_t)sent;
            if (f->rest_length == 0) {
                free(f->rest);
                f->rest = NULL;
            }
        }
    }
    return true;
}

/* A read that brought nothing: the end, nothing more for now, or a failure. */
static bool note_empty(struct relay_flow *f, ssize_t count)
{
    if (count == 0) {
        f->ended = true;
        f->from->readable = false;
    } else if (errno == EAGAIN) {
        f->from->readable = false;
    } else if (errno != EINTR) {
        return false;
    }
    return true;
}

static bool copy_piece(struct relay_flow *f, size_t *budget)
{
    char piece[PIECE];
    ssize_t count = sys.read(f->from->io.fd, piece, sizeof piece);
    if (count <= 0)
        return note_empty(f, count);
    size_t length = (size_t)count;
    f->any = true;
    *budget -= length < *budget ? length : *budget;
    f->bulk = length == sizeof piece;
    /* Less than was asked for: the socket is empty, and what comes from now on is a new edge (epoll(7)). A FIN that came before has had
     * its edge. */
    if (!f->bulk && !f->from->fin)
        f->from->readable = false;
    ssize_t sent = f->to->writable ? send(f->to->io.fd, piece, length, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
    if (sent < 0) {
        if (!note_full(f))
            return false;
        sent = 0;
    }
    if ((size_t)sent == length)
        return true;
    f->rest_at = 0;
    f->rest_length = length - (size_t)sent;
    f->rest = malloc(f->rest_length);
    if (!f->rest)
        return false;
    memcpy(f->rest, piece + sent, f->rest_length);
    return true;
}

/* Only into an empty pipe, so EAGAIN always speaks of the socket. */
static bool splice_in(struct relay_flow *f, size_t *budget)
{
    ssize_t count = splice(f->from->io.fd, NULL, f->pipe->in, NULL, PIPE_SIZE, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (count <= 0)
        return note_empty(f, count);
    f->piped = (size_t)count;
    f->any = true;
    f->bulk = count >= THIN;
    *budget -= f->piped < *budget ? f->piped : *budget;
    return true;
}

static bool fill(struct relay_flow *f, size_t *budget)
{
    if (f->bulk && !f->pipe)
        f->pipe = borrow_pipe();
    if (f->bulk && f->pipe)
        return splice_in(f, budget);
    return copy_piece(f, budget);
}

bool flow_move(struct relay_flow *f, size_t *budget)
{
    while (!f->finished) {
        if (!flush(f))
            return false;
        if (is_pending(f))
            return true;
        if (f->ended) {
            f->finished = true;
            shutdown(f->to->io.fd, SHUT_WR); /* fails only where the peer is gone, which its own direction will say */
            break;
        }
        if (!f->from->readable || *budget == 0)
            break;
        if (!fill(f, budget))
            return false;
    }
    /* Nothing is pending. A pipe is kept only for what is to follow at once. */
    if (f->pipe && (f->finished || !f->from->readable))
        give_back_pipe(f);
    return true;
}
