/* appliance.native.aws.digest - what a file holds, and to have it safely on the disk: work for a helper thread.
 *
 *   local seen, err = digest.file { path = "/state/x.jar.new", from = "/mnt/x.jar", mode = 420, sync = true }
 *   seen.size, seen.sha256 (64 hex digits)
 *
 * Fields: path; from: first copied to `path`, made anew; mode: given to `path`; sync: waits until the disk has it. After a failure a part
 * of the copy may lie there: it is the caller's to remove. */
#include "appliance/aws_checksum.h"
#include "appliance/bind.h"
#include "appliance/offload.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DIGEST "appliance.digest"

enum { PIECE = 256 * 1024, HEX_SIZE = 2 * AWS_CHECKSUM_RAW_SIZE + 1 };

/* What the helper thread works on; dropped by offload.c, so that the task which waits may be cancelled at any time. */
struct digest_job {
    char path[PATH_MAX], from[PATH_MAX]; /* from: empty when there is nothing to copy */
    int mode;                            /* -1: left as it is */
    bool sync, ok;
    int64_t size;
    char sha256[HEX_SIZE];
    struct err err;
};

struct digest {
    struct wait wait;
    struct offload *offload;
    struct digest_job result;
};

static bool write_all(int fd, const char *data, size_t length, const char *path, struct err *err)
{
    while (length > 0) {
        ssize_t count = write(fd, data, length);
        if (count < 0 && errno != EINTR)
            return err_errno(err, "write %s", path);
        if (count > 0) {
            data += count;
            length -= (size_t)count;
        }
    }
    return true;
}

/* Reads `in` to its end; what is read goes to `out`, too, unless that is -1. */
static bool read_through(struct digest_job *job, int in, int out, struct aws_checksum *sum)
{
    const char *source = out < 0 ? job->path : job->from;
    char *piece = malloc(PIECE);
    if (!piece)
        return err_set(&job->err, ERR_SYSTEM, "%s: no memory to read it", source);
    bool ok = true;
    for (ssize_t count = 1; ok && count > 0;) {
        count = read(in, piece, PIECE);
        if (count < 0 && errno == EINTR) {
            count = 1;
            continue;
        }
        if (count < 0)
            ok = err_errno(&job->err, "read %s", source);
        if (count > 0 && out >= 0)
            ok = write_all(out, piece, (size_t)count, job->path, &job->err);
        if (count > 0 && ok && !aws_checksum_add(sum, piece, (size_t)count))
            ok = err_set(&job->err, ERR_SYSTEM, "%s: its SHA-256 can't be computed", source);
        if (count > 0)
            job->size += count;
    }
    free(piece);
    return ok;
}

static void finish_sum(struct digest_job *job, struct aws_checksum *sum)
{
    unsigned char raw[AWS_CHECKSUM_RAW_SIZE];
    size_t length = aws_checksum_finish(sum, raw);
    for (size_t i = 0; i < length; i++)
        snprintf(job->sha256 + 2 * i, 3, "%02x", raw[i]);
}

static bool complete(struct digest_job *job, int fd)
{
    if (job->mode >= 0 && fchmod(fd, (mode_t)job->mode) < 0)
        return err_errno(&job->err, "change the mode of %s", job->path);
    if (job->sync && fsync(fd) < 0)
        return err_errno(&job->err, "sync %s", job->path);
    return true;
}

static bool take(struct digest_job *job, int in, int out, struct aws_checksum *sum)
{
    struct stat there;
    if (fstat(in, &there) == 0 && !S_ISREG(there.st_mode))
        return err_set(&job->err, ERR_INVALID, "%s: not a file", *job->from ? job->from : job->path);
    return aws_checksum_start(sum, AWS_CHECKSUM_SHA256, &job->err) && read_through(job, in, out, sum);
}

static void work(void *argument)
{
    struct digest_job *job = argument;
    const char *source = *job->from ? job->from : job->path;
    int in = open(source, O_RDONLY | O_CLOEXEC | O_NONBLOCK), out = -1; /* a fifo must not keep the thread */
    if (in < 0) {
        err_errno(&job->err, "open %s", source);
        return;
    }
    if (*job->from) {
        out = open(job->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (out < 0) {
            err_errno(&job->err, "create %s", job->path);
            close(in);
            return;
        }
    }
    struct aws_checksum sum = {0};
    job->ok = take(job, in, out, &sum);
    if (job->ok)
        finish_sum(job, &sum);
    job->ok = job->ok && complete(job, out < 0 ? in : out);
    aws_checksum_end(&sum);
    if (out >= 0 && close(out) < 0 && job->ok) /* where a network or a quota has its say last */
        job->ok = err_errno(&job->err, "write %s", job->path);
    close(in);
}

static void finish(void *argument, void *owner)
{
    struct digest *d = owner;
    d->offload = NULL;
    d->result = *(struct digest_job *)argument;
    wait_finish(&d->wait);
}

static int digest_close(lua_State *L)
{
    struct digest *d = luaL_checkudata(L, 1, DIGEST);
    offload_abandon(d->offload);
    d->offload = NULL;
    return 0;
}

/* Stack: options, digest. */
static int digest_done(lua_State *L, int status, lua_KContext context)
{
    (void)status, (void)context;
    const struct digest *d = luaL_checkudata(L, 2, DIGEST);
    if (!d->result.ok)
        return bind_fail(L, &d->result.err);
    lua_createtable(L, 0, 2);
    lua_pushinteger(L, d->result.size);
    lua_setfield(L, -2, "size");
    lua_pushstring(L, d->result.sha256);
    lua_setfield(L, -2, "sha256");
    return 1;
}

static void check_path(lua_State *L, const char *field, char room[PATH_MAX])
{
    const char *path = bind_field_string(L, 1, field, "");
    if (strlen(path) >= PATH_MAX)
        luaL_error(L, "%s: too long for a path", field);
    strcpy(room, path);
}

/* digest.file{...} -> { size, sha256 } | nil, err */
static int file(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    struct loop *loop = bind_loop(L);
    struct digest *d = bind_op(L, sizeof *d, DIGEST);
    struct digest_job *shape = &d->result; /* filled here, where a wrong field may raise */
    check_path(L, "path", shape->path);
    check_path(L, "from", shape->from);
    if (!*shape->path)
        luaL_error(L, "path: a string is needed");
    shape->mode = (int)bind_field_number(L, 1, "mode", -1);
    shape->sync = bind_field_boolean(L, 1, "sync", false);
    struct err err;
    struct digest_job *job = malloc(sizeof *job);
    if (!job) {
        err_set(&err, ERR_SYSTEM, "%s: no memory", shape->path);
        return bind_fail(L, &err);
    }
    *job = *shape;
    d->offload = offload_start(loop, job, work, finish, free, d, &err);
    if (!d->offload) {
        free(job);
        return bind_fail(L, &err);
    }
    return task_await(L, &d->wait, digest_done);
}

int aws_open_digest(lua_State *L);
int aws_open_digest(lua_State *L)
{
    static const luaL_Reg functions[] = {{"file", file}, {NULL, NULL}};
    bind_type(L, DIGEST, digest_close, NULL);
    luaL_newlib(L, functions);
    return 1;
}
