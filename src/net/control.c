#include "appliance/control.h"
#include "appliance/http_tcp.h"
#include "appliance/sys.h"
#include "control_inner.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ACCEPT_AGAIN_MS = 200, ACCEPTS_A_TURN = 16, BACKLOG = 512 };

/* Where anybody may come, somebody who says half a request at all connections must not keep the others out. */
static bool makes_room(const struct control *control, const struct control_client *c)
{
    return client_is_idle(c) || (control->open_to_all && c->state == READING);
}

static struct control_client *longest_idle(struct control *control)
{
    struct control_client *oldest = NULL;
    for (struct control_client *c = control->clients; c; c = c->next)
        if (makes_room(control, c) && (!oldest || c->idle_since < oldest->idle_since))
            oldest = c;
    return oldest;
}

static bool is_ours(const struct control *control, int fd)
{
    if (!control->place.path)
        return control->open_to_all || http_peer_is_loopback(fd);
    struct ucred peer = {0};
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && (peer.uid == 0 || peer.uid == geteuid());
}

static void refuse(struct control *control, struct control_client *c, bool full)
{
    char why[100];
    bool by_tcp = !control->place.path;
    snprintf(why, sizeof why, "all %d connections are busy: %s", control->place.clients, by_tcp ? "try again" : "end one of the followers");
    if (full)
        client_refuse(c, 503, why);
    else
        client_refuse(c, 403,
                      by_tcp ? "only who connects from 127.0.0.1 is answered" : "only root and the user this node runs as may talk to it");
}

static void welcome(struct control *control, int fd)
{
    struct control_client *idle = control->count >= control->place.clients ? longest_idle(control) : NULL;
    if (idle)
        client_drop(idle);
    bool full = control->count >= control->place.clients;
    bool ours = is_ours(control, fd);
    struct control_client *c = client_open(control, fd);
    if (c && (full || !ours))
        refuse(control, c, full);
}

static void accept_clients(struct watch *w, uint32_t events);

static void accept_anew(struct timer *timer)
{
    struct control *control = OWNER(timer, struct control, accept_again);
    struct err err;
    if (!watch_start(&control->incoming, control->loop, control->fd, EPOLLIN, accept_clients, &err))
        timer_start(timer, control->loop, ACCEPT_AGAIN_MS, accept_anew);
}

static void accept_clients(struct watch *w, uint32_t events)
{
    (void)events;
    struct control *control = OWNER(w, struct control, incoming);
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        int fd = sys.accept4(control->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
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

static bool open_socket(struct control *control, struct err *err)
{
    struct control_place *place = &control->place;
    control->listener = (struct http_listener){.fd = -1, .lock = -1};
    if (!place->path) {
        control->fd = http_listen_tcp(place->address, &place->port, BACKLOG, err);
        return control->fd >= 0;
    }
    if (!http_listen(&control->listener, place->path, err))
        return false;
    place->path = control->listener.path; /* the caller's own need not last */
    control->fd = control->listener.fd;
    return true;
}

static void close_socket(struct control *control)
{
    if (control->place.path)
        http_listener_close(&control->listener);
    else
        sys.close(control->fd);
}

struct control *control_open(struct loop *loop, const struct control_place *place, const struct control_handler *handler, struct err *err)
{
    struct control *control = calloc(1, sizeof *control);
    if (!control) {
        err_errno(err, "%s", place->path ? place->path : "127.0.0.1");
        return NULL;
    }
    control->loop = loop;
    control->handler = *handler;
    control->place = *place;
    control->place.name = place->name ? place->name : "control socket";
    control->place.clients = place->clients ? place->clients : CONTROL_CLIENTS;
    control->place.idle_ms = place->idle_ms ? place->idle_ms : CONTROL_IDLE_MS;
    control->open_to_all = !place->path && place->address;
    control->last_arrived = &control->arrived;
    if (!open_socket(control, err)) {
        free(control);
        return NULL;
    }
    control->place.address = NULL; /* the caller's, who need not keep it */
    if (!watch_start(&control->incoming, loop, control->fd, EPOLLIN, accept_clients, err)) {
        close_socket(control);
        free(control);
        return NULL;
    }
    return control;
}

struct control *control_new(struct loop *loop, const char *path, const struct control_handler *handler, struct err *err)
{
    return control_open(loop, &(struct control_place){.path = path}, handler, err);
}

void control_free(struct control *control)
{
    if (!control)
        return;
    while (control->clients)
        client_drop(control->clients);
    timer_stop(&control->accept_again);
    watch_stop(&control->incoming);
    close_socket(control);
    free(control);
}

uint16_t control_port(const struct control *control)
{
    return control->place.path ? 0 : control->place.port;
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
