#include "appliance/file.h"
#include "appliance/sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool file_read(const char *path, struct buf *out, struct err *err)
{
    int fd = sys.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
    if (fd < 0)
        return err_errno(err, "%s", path);
    bool ok = true;
    for (;;) {
        char block[8192]; /* also for /proc, whose files claim to be empty */
        ssize_t size = sys.read(fd, block, sizeof block);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0)
            ok = err_errno(err, "%s", path);
        else if (size > 0 && !buf_append(out, block, (size_t)size))
            ok = err_set(err, ERR_INVALID, "%s: larger than %zu bytes", path, out->ceiling);
        if (size <= 0 || !ok)
            break;
    }
    sys.close(fd);
    return ok;
}

static bool write_all(int fd, struct bytes text, const char *path, struct err *err)
{
    while (text.length > 0) {
        ssize_t size = sys.write(fd, text.data, text.length);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0)
            return err_errno(err, "write %s", path);
        text.data += size;
        text.length -= (size_t)size;
    }
    return true;
}

bool file_temp_name(const char *path, const char *suffix, char *out, size_t size)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t length = strlen(name), room = NAME_MAX - strlen(suffix);
    if (length > room) {
        length = room;
        while (length > 0 && ((unsigned char)name[length] & 0xC0) == 0x80) /* no half of a letter: some file systems take UTF-8 only */
            length--;
    }
    return (size_t)snprintf(out, size, "%.*s%s", (int)(name - path + (ptrdiff_t)length), path, suffix) < size;
}

bool file_sync_name(const char *path, struct err *err)
{
    char directory[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t length = slash == path ? 1 : slash ? (size_t)(slash - path) : 1;
    if (length >= sizeof directory)
        return err_set(err, ERR_INVALID, "%s: path too long", path);
    memcpy(directory, slash ? path : ".", length);
    directory[length] = '\0';
    int fd = sys.open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0 && errno == EACCES)
        return true; /* one may make files in a directory and not read it: there the file's own fsync is all there is */
    if (fd < 0)
        return err_errno(err, "open %s", directory);
    bool ok = sys.fsync(fd) == 0 || errno == EINVAL || errno == EROFS || errno == ENOTSUP || err_errno(err, "sync %s", directory);
    sys.close(fd);
    return ok;
}

bool file_replace(const char *path, struct bytes text, mode_t mode, bool durable, struct err *err)
{
    /* Two threads may replace the same file: each has a name of its own, so that neither puts the other's half in place. */
    static atomic_uint count;
    char temp[PATH_MAX], suffix[40];
    snprintf(suffix, sizeof suffix, ".%d.%u.new", (int)getpid(), count++);
    if (!file_temp_name(path, suffix, temp, sizeof temp))
        return err_set(err, ERR_INVALID, "%s: path too long", path);
    /* O_EXCL: never through a link that somebody put there. A leftover of an earlier process with our pid goes first. */
    sys.unlink(temp);
    int fd = sys.open(temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0)
        return err_errno(err, "create %s", temp);
    bool ok = write_all(fd, text, temp, err);
    if (ok && fchmod(fd, mode) < 0) /* whatever the umask says */
        ok = err_errno(err, "set the mode of %s", temp);
    if (ok && durable && sys.fsync(fd) < 0)
        ok = err_errno(err, "sync %s", temp);
    if (sys.close(fd) < 0 && ok && errno != EINTR) /* where a network or a quota has its say last */
        ok = err_errno(err, "write %s", temp);
    if (ok && sys.rename(temp, path) < 0)
        ok = err_errno(err, "rename %s to %s", temp, path);
    if (!ok)
        sys.unlink(temp);
    return ok && (!durable || file_sync_name(path, err));
}

bool file_make_dirs(const char *path, mode_t mode, struct err *err)
{
    char part[PATH_MAX];
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof part)
        return err_set(err, ERR_INVALID, "%s: not a usable path", path);
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, mode) < 0 && errno != EEXIST) {
            int code = errno;
            struct stat there;
            if (stat(part, &there) == 0 && S_ISDIR(there.st_mode))
                continue; /* a read-only parent says EROFS before EEXIST */
            errno = code;
            return err_errno(err, "create directory %s", part);
        }
    }
    struct stat there;
    if (stat(path, &there) < 0)
        return err_errno(err, "%s", path);
    if (!S_ISDIR(there.st_mode))
        return err_set(err, ERR_CONFLICT, "%s: is not a directory", path);
    return true;
}

enum { TREE_DEPTH = 64 };

/* `shown` is the path for messages, one buffer for all levels: a helper thread's stack is small. */
static bool remove_at(int parent, const char *name, char shown[PATH_MAX], int depth, struct err *err);

static bool remove_entries(DIR *dir, char shown[PATH_MAX], int depth, struct err *err)
{
    size_t length = strlen(shown);
    bool ok = true;
    for (struct dirent *entry; ok && (entry = readdir(dir));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            snprintf(shown + length, PATH_MAX - length, "/%s", entry->d_name);
            ok = remove_at(dirfd(dir), entry->d_name, shown, depth + 1, err);
            shown[length] = '\0';
        }
    return ok;
}

static bool remove_at(int parent, const char *name, char shown[PATH_MAX], int depth, struct err *err)
{
    if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
        return true;
    if (errno != EISDIR && errno != EPERM)
        return err_errno(err, "remove %s", shown);
    if (depth == TREE_DEPTH)
        return err_set(err, ERR_INVALID, "remove %.150s...: more than %d levels deep", shown, TREE_DEPTH);
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        err_errno(err, "remove %s", shown);
        if (fd >= 0)
            close(fd);
        return false;
    }
    bool ok = remove_entries(dir, shown, depth, err);
    closedir(dir);
    if (ok && unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        ok = err_errno(err, "remove %s", shown);
    return ok;
}

bool file_remove_tree(const char *path, struct err *err)
{
    char shown[PATH_MAX];
    snprintf(shown, sizeof shown, "%s", path);
    return remove_at(AT_FDCWD, path, shown, 0, err);
}
