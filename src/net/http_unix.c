#include "appliance/http_unix.h"
#include "appliance/log.h"
#include "appliance/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 64 };

/* Where the path is too long for the kernel its directory is opened, and the socket named through it. *dir is to be closed
 * (or -1) once the address was used. */
static bool address_of(const char *path, struct sockaddr_un *address, int *dir, struct err *err)
{
    *dir = -1;
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    size_t length = strlen(path);
    if (length == 0)
        return err_set(err, ERR_INVALID, "control socket: the path is empty");
    if (length < sizeof address->sun_path) {
        memcpy(address->sun_path, path, length);
        return true;
    }

    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path || length >= sizeof folder)
        return err_set(err, ERR_INVALID, "%.100s...: the path of a socket can't be that long", path);
    memcpy(folder, path, (size_t)(slash - path));
    folder[slash - path] = 0;
    *dir = sys.open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    if (*dir < 0)
        return err_errno(err, "%s", folder);
    int written = snprintf(address->sun_path, sizeof address->sun_path, "/proc/self/fd/%d/%s", *dir, slash + 1);
    if (written >= 0 && (size_t)written < sizeof address->sun_path)
        return true;
    sys.close(*dir);
    return err_set(err, ERR_INVALID, "%.100s...: the name of a socket can't be that long", slash + 1);
}

int http_connect_unix(const char *path, struct err *err)
{
    struct sockaddr_un address;
    int dir;
    if (!address_of(path, &address, &dir, err))
        return -1;
    int fd = sys.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || sys.connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        if (fd >= 0 && errno == EAGAIN)
            err_set(err, ERR_THROTTLED, "%s: too many clients wait there already", path);
        else
            err_errno(err, "%s", path);
        if (fd >= 0)
            sys.close(fd);
        fd = -1;
    }
    if (dir >= 0)
        sys.close(dir);
    return fd;
}

/* "another spark-appliance (pid 7) already runs here: STATE_DIR=/var/lib/..."; the kernel tells who listens. */
static bool refuse_living(const char *path, int connection, struct err *err)
{
    struct ucred peer = {0};
    socklen_t size = sizeof peer;
    char who[32] = "";
    if (connection >= 0 && getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid > 0)
        snprintf(who, sizeof who, " (pid %d)", (int)peer.pid);
    if (connection >= 0)
        sys.close(connection);
    const char *slash = strrchr(path, '/');
    return err_set(err, ERR_CONFLICT, "another spark-appliance%s already runs here: STATE_DIR=%.*s", who, slash ? (int)(slash - path) : 1,
                   slash ? path : ".");
}

/* Two programs that start at the same time would both find the old socket dead, and the second would remove the first one's new
 * one. So not the socket file but a lock beside it, which dies with its holder, decides. */
static bool take_lock(struct http_listener *l, struct err *err)
{
    char lock[PATH_MAX];
    int length = snprintf(lock, sizeof lock, "%s.lock", l->path);
    if (length < 0 || (size_t)length >= sizeof lock)
        return err_set(err, ERR_INVALID, "%.100s...: the path is too long", l->path);
    l->lock = sys.open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (l->lock < 0)
        return err_errno(err, "create %s", lock);
    if (flock(l->lock, LOCK_EX | LOCK_NB) == 0)
        return true;
    if (errno == EWOULDBLOCK)
        return refuse_living(l->path, http_connect_unix(l->path, NULL), err);
    log_debug("%s: no locks on this file system (%s), a living control socket is found by connecting alone", lock, strerror(errno));
    sys.close(l->lock);
    l->lock = -1;
    return true;
}

static bool clear_path(const char *path, struct err *err)
{
    struct stat found;
    if (lstat(path, &found) < 0)
        return errno == ENOENT ? true : err_errno(err, "%s", path);
    if (!S_ISSOCK(found.st_mode))
        return err_set(err, ERR_CONFLICT, "%s: a file that is no socket is in the way: remove it, or set STATE_DIR", path);
    struct err connect_err = {0};
    int connection = http_connect_unix(path, &connect_err);
    if (connection >= 0 || connect_err.kind == ERR_THROTTLED)
        return refuse_living(path, connection, err);
    if (sys.unlink(path) < 0 && errno != ENOENT)
        return err_errno(err, "remove the old socket %s", path);
    return true;
}

static bool bind_socket(struct http_listener *l, struct err *err)
{
    struct sockaddr_un address;
    int dir;
    if (!address_of(l->path, &address, &dir, err))
        return false;
    l->fd = sys.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* Linux makes the file with the socket's own mode (less umask), so there is no moment in which others could connect. */
    bool ok = l->fd >= 0 && fchmod(l->fd, 0600) == 0 && bind(l->fd, (struct sockaddr *)&address, sizeof address) == 0;
    if (!ok)
        err_errno(err, "bind %s", l->path);
    if (dir >= 0)
        sys.close(dir);
    struct stat made;
    if (!ok)
        return false;
    if (lstat(l->path, &made) < 0)
        return err_errno(err, "%s", l->path);
    l->device = made.st_dev;
    l->inode = made.st_ino;
    if (listen(l->fd, BACKLOG) < 0)
        return err_errno(err, "listen on %s", l->path);
    return true;
}

bool http_listen(struct http_listener *l, const char *path, struct err *err)
{
    *l = (struct http_listener){.fd = -1, .lock = -1, .path = strdup(path)};
    if (!l->path)
        return err_errno(err, "%s", path);
    if (take_lock(l, err) && clear_path(path, err) && bind_socket(l, err))
        return true;
    http_listener_close(l);
    return false;
}

void http_listener_close(struct http_listener *l)
{
    struct stat found;
    if (!l->path)
        return;
    if (l->inode && lstat(l->path, &found) == 0 && found.st_dev == l->device && found.st_ino == l->inode)
        sys.unlink(l->path);
    if (l->fd >= 0)
        sys.close(l->fd);
    if (l->lock >= 0)
        sys.close(l->lock); /* last: until here nobody else may bind */
    free(l->path);
    *l = (struct http_listener){.fd = -1, .lock = -1};
}
