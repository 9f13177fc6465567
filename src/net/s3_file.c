#include "appliance/clock.h"
#include "appliance/file.h"
#include "appliance/offload.h"
#include "appliance/sys.h"
#include "s3_inner.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Where a link leads, so that the link stays one. */
static char *target_of(const char *path)
{
    struct stat status;
    char *real = lstat(path, &status) == 0 && S_ISLNK(status.st_mode) ? realpath(path, NULL) : NULL;
    return real ? real : strdup(path);
}

/* Of a process that ended without a word: an hour is more than any transfer waits. */
static bool is_left_over(const char *path)
{
    enum { LONG_S = 3600 };
    struct stat status;
    return lstat(path, &status) == 0 && S_ISREG(status.st_mode) && clock_wall_ms() / 1000 - status.st_mtim.tv_sec > LONG_S;
}

/* A pid alone is no name: containers that share a directory have the same few, and would write to each other's files. */
static bool create_temp(struct s3_file *file, mode_t mode, struct err *err)
{
    enum { AT_MOST = 1000 };
    for (unsigned i = 0; i < AT_MOST; i++) {
        char temp[PATH_MAX], suffix[40];
        snprintf(suffix, sizeof suffix, ".%d.%u.part", (int)getpid(), i);
        if (!file_temp_name(file->path, suffix, temp, sizeof temp))
            return err_set(err, ERR_INVALID, "%s: path too long", file->path);
        file->temp = strdup(temp);
        if (!file->temp)
            return err_set(err, ERR_SYSTEM, "%s: no memory", file->path);
        file->fd = sys.open(file->temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (file->fd < 0 && errno == EEXIST && is_left_over(file->temp)) {
            sys.unlink(file->temp);
            file->fd = sys.open(file->temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        }
        if (file->fd >= 0)
            return true;
        bool taken = errno == EEXIST;
        if (!taken)
            err_errno(err, "create %s", file->temp);
        free(file->temp);
        file->temp = NULL;
        if (!taken)
            return false;
    }
    return err_set(err, ERR_CONFLICT, "%s: %d others are on their way to this place: remove what is left of them (%s.*.part)", file->path,
                   AT_MOST, file->path);
}

bool s3_file_open(struct s3_file *file, const char *path, mode_t mode, struct err *err)
{
    struct stat status;
    *file = (struct s3_file){.fd = -1};
    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        return err_set(err, ERR_CONFLICT, "%s: is a directory: name the file in it", path);
    file->path = target_of(path);
    if (file->path ? create_temp(file, mode, err) : err_set(err, ERR_SYSTEM, "%s: no memory", path))
        return true;
    s3_file_drop(file);
    return false;
}

static bool write_failed(const struct s3_file *file, struct err *err)
{
    if (errno == ENOSPC || errno == EDQUOT)
        return err_errno(err, "%s: its %lld bytes do not fit", file->path, (long long)file->size);
    return err_errno(err, "write %s", file->temp);
}

/* tmpfs reserves by taking every page there and then, some 0.4 s for a GiB in which nothing is fetched: whether there is room has to do. */
static bool reserve(int fd, int64_t size)
{
    struct statfs system;
    if (fstatfs(fd, &system) < 0 || system.f_type != TMPFS_MAGIC || system.f_blocks == 0)
        return fallocate(fd, 0, 0, size) == 0;
    errno = ENOSPC;
    return (int64_t)system.f_bavail >= size / system.f_bsize;
}

bool s3_file_reserve(struct s3_file *file, int64_t size, struct err *err)
{
    file->size = size;
    if (size < S3_MIB || reserve(file->fd, size))
        return true;
    if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)
        return write_failed(file, err);
    return true; /* not every file system can */
}

bool s3_file_write(struct s3_file *file, int64_t offset, const char *data, size_t length, struct err *err)
{
    while (length > 0) {
        ssize_t count = pwrite(file->fd, data, length, offset);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return write_failed(file, err);
        offset += count;
        data += count;
        length -= (size_t)count;
    }
    return true;
}

bool s3_file_read(const struct s3_file *file, int64_t offset, char *data, size_t length, struct err *err)
{
    while (length > 0) {
        ssize_t count = pread(file->fd, data, length, offset);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return err_errno(err, "read %s", file->temp);
        if (count == 0)
            return err_set(err, ERR_SYSTEM, "read %s: it ends at byte %lld: somebody else has changed it", file->temp, (long long)offset);
        offset += count;
        data += count;
        length -= (size_t)count;
    }
    return true;
}

void s3_file_drop(struct s3_file *file)
{
    offload_abandon(file->sync); /* it has a descriptor of its own */
    file->sync = NULL;
    if (file->temp) {
        sys.close(file->fd);
        sys.unlink(file->temp);
    }
    free(file->temp);
    free(file->path);
    file->temp = file->path = NULL;
    file->fd = -1;
}

static bool put_in_place(struct s3_file *file, struct err *err)
{
    int fd = file->fd;
    file->fd = -1;
    bool ok = sys.close(fd) == 0 || errno == EINTR || write_failed(file, err); /* where a network or a quota has its say last */
    if (ok && sys.rename(file->temp, file->path) < 0)
        ok = err_errno(err, "rename %s to %s", file->temp, file->path);
    if (!ok)
        sys.unlink(file->temp);
    free(file->temp);
    file->temp = NULL;
    return ok;
}

/* On the helper thread: first the bytes, and, when they have their name, the name. */
struct sync_job {
    int fd, error; /* -1: the name */
    struct err err;
    char path[];
};

static void sync_work(void *argument)
{
    struct sync_job *job = argument;
    if (job->fd < 0)
        file_sync_name(job->path, &job->err);
    else
        job->error = sys.fsync(job->fd) < 0 ? errno : 0;
}

static void sync_drop(void *argument)
{
    struct sync_job *job = argument;
    if (job->fd >= 0)
        sys.close(job->fd);
    free(job);
}

static bool start_sync(struct s3_file *, int fd, struct err *);

static void sync_finish(void *argument, void *owner)
{
    const struct sync_job *job = argument;
    struct s3_file *file = owner;
    struct err err = job->err;
    bool is_name = job->fd < 0;
    file->sync = NULL;
    errno = job->error;
    if (job->error)
        write_failed(file, &err);
    else if (!is_name && put_in_place(file, &err) && start_sync(file, -1, &err))
        return;
    s3_file_drop(file);
    file->landed(file, &err);
}

/* fd: a descriptor of the file, which this takes; -1: its name is to be synced. */
static bool start_sync(struct s3_file *file, int fd, struct err *err)
{
    size_t length = strlen(file->path) + 1;
    struct sync_job *job = calloc(1, sizeof *job + length);
    if (!job) {
        if (fd >= 0)
            sys.close(fd);
        return err_set(err, ERR_SYSTEM, "%s: no memory", file->path);
    }
    job->fd = fd;
    memcpy(job->path, file->path, length);
    file->sync = offload_start(file->loop, job, sync_work, sync_finish, sync_drop, file, err);
    if (!file->sync)
        sync_drop(job);
    return file->sync != NULL;
}

bool s3_file_land(struct s3_file *file, struct loop *loop, int64_t changed_wall_ms, bool durable,
                  void (*landed)(struct s3_file *, const struct err *), struct err *err)
{
    if (changed_wall_ms >= 0) {
        struct timespec time = {.tv_sec = changed_wall_ms / 1000, .tv_nsec = changed_wall_ms % 1000 * 1000000};
        futimens(file->fd, (struct timespec[2]){time, time}); /* some file systems can't: no reason to fail */
    }
    if (!durable) {
        bool ok = put_in_place(file, err);
        s3_file_drop(file);
        return ok;
    }
    file->loop = loop;
    file->landed = landed;
    int fd = sys.fcntl(file->fd, F_DUPFD_CLOEXEC, 3);
    return fd >= 0 ? start_sync(file, fd, err) : err_errno(err, "sync %s", file->temp);
}
