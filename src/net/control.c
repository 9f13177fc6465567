#include "appliance/control.h"
#include "appliance/sys.h"
#include "control_inner.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

enum { ACCEPT_AGAIN_MS = 200, ACCEPTS_A_TURN = 16 };

static struct control_client *longest_idle(struct control *control)
{
    struct control_client *oldest = NULL;
    for (struct control_client *c = control->clients; c; c = c->next)
        if (client_is_idle(c) && (!oldest || c->idle_since < oldest->idle_since))
            oldest = c;
    return oldest;
}

static bool is_ours(int fd)
{
    struct ucred peer = {0};
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && (peer.uid == 0 || peer.uid == geteuid());
}

static void welcome(struct control *control, int fd)
{
    struct control_client *idle = control->count >= CONTROL_CLIENTS ? longest_idle(control) : NULL;
    if (idle)
        client_drop(idle);
    bool full = control->count >= CONTROL_CLIENTS;
    bool ours = is_ours(fd);
    struct control_client *c = client_open(control, fd);
    if (c && full)
        client_refuse(c, 503, "all 64 connections are busy: end one of the followers");
    else if (c && !ours)
        client_refuse(c, 403, "only root and the user this node runs as may talk to it");
}

static void accept_clients(struct watch *w, uint32_t events);

static void accept_anew(struct timer *timer)
{
    struct control *control = OWNER(timer, struct control, accept_again);
    struct err err;
    if (!watch_start(&control->incoming, control->loop, control->listener.fd, EPOLLIN, accept_clients, &err))
        timer_start(timer, control->loop, ACCEPT_AGAIN_MS, accept_anew);
}

static void accept_clients(struct watch *w, uint32_t events)
{
    (void)events;
    struct control *control = OWNER(w, struct control, incoming);
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        int fd = sys.accept4(control->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            welcome(control, fd);
            continue;
        }
        if (errno == EAGAIN)
            return;
        if (errno == EINTR || errno == ECONNABORTED)
            continue;
        /* No descriptor or no memory. Who waits keeps the socket readable, so go on only when something may have changed. */
        struct control_client *idle = longest_idle(control);
        if (idle)
            client_drop(idle);
        watch_stop(&control->incoming);
        timer_start(&control->accept_again, control->loop, idle ? 0 : ACCEPT_AGAIN_MS, accept_anew);
        return;
    }
}

struct control *control_new(struct loop *loop, const char *path, const struct control_handler *handler, struct err *err)
{
    struct control *control = calloc(1, sizeof *control);
    if (!control) {
        err_errno(err, "%s", path);
        return NULL;
    }
    control->loop = loop;
    control->handler = *handler;
    control->last_arrived = &control->arrived;
    if (!http_listen(&control->listener, path, err)) {
        free(control);
        return NULL;
    }
    if (!watch_start(&control->incoming, loop, control->listener.fd, EPOLLIN, accept_clients, err)) {
        http_listener_close(&control->listener);
        free(control);
        return NULL;
    }
    return control;
}

void control_free(struct control *control)
{
    if (!control)
        return;
    while (control->clients)
        client_drop(control->clients);
    timer_stop(&control->accept_again);
    watch_stop(&control->incoming);
    http_listener_close(&control->listener);
    free(control);
}

int control_client_count(const struct control *control)
{
    return control->count;
}

bool control_has_arrived(const struct control *control)
{
    return control->arrived != NULL;
}

struct control_client *control_take(struct control *control)
{
    struct control_client *c = control->arrived;
    if (!c)
        return NULL;
    control->arrived = c->next_arrived;
    if (!control->arrived)
        control->last_arrived = &control->arrived;
    c->state = TAKEN;
    return c;
}
