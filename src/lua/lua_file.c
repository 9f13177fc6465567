/* lua_file.c - appliance.core.file: local files. Reading is done at once; what may wait for a disk goes to a helper thread. */
#include "appliance/bind.h"
#include "appliance/file.h"
#include "appliance/offload.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_OP   "appliance.file.op"
#define FILE_LOCK "appliance.file.lock"

enum { READ_CEILING = 16 << 20 };

/* file.read(path [, ceiling]) -> text | nil, err */
static int read_file(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    lua_Integer ceiling = luaL_optinteger(L, 2, READ_CEILING);
    struct err err;
    struct buf text;
    buf_init(&text, (size_t)ceiling);
    if (!file_read(path, &text, &err)) {
        buf_free(&text);
        return bind_fail(L, &err);
    }
    /* lua_pushlstring can raise for lack of memory; a userdata box would cost more than that leak at the end of all things */
    lua_pushlstring(L, text.length ? text.data : "", text.length);
    buf_free(&text);
    return 1;
}

/* What a helper thread works on; freed by offload.c, so the task that waits may be cancelled at any time. */
struct file_job {
    enum { JOB_REPLACE, JOB_REMOVE_TREE } kind;
    mode_t mode;
    bool ok;
    struct err err;
    size_t length;
    char *text;
    char path[PATH_MAX];
};

struct file_op {
    struct wait wait;
    struct offload *offload;
    bool ok;
    struct err err;
};

static void job_work(void *argument)
{
    struct file_job *job = argument;
    if (job->kind == JOB_REPLACE)
        job->ok = file_replace(job->path, (struct bytes){job->text, job->length}, job->mode, true, &job->err);
    else
        job->ok = file_remove_tree(job->path, &job->err);
}

static void job_finish(void *argument, void *owner)
{
    struct file_job *job = argument;
    struct file_op *op = owner;
    op->offload = NULL;
    op->ok = job->ok;
    op->err = job->err;
    wait_finish(&op->wait);
}

static void job_drop(void *argument)
{
    struct file_job *job = argument;
    free(job->text);
    free(job);
}

static int op_close(lua_State *L)
{
    struct file_op *op = luaL_checkudata(L, 1, FILE_OP);
    offload_abandon(op->offload);
    op->offload = NULL;
    return 0;
}

static int op_done(lua_State *L, int status, lua_KContext context)
{
    (void)status, (void)context;
    struct file_op *op = luaL_checkudata(L, -1, FILE_OP); /* where start_job left it */
    if (!op->ok)
        return bind_fail(L, &op->err);
    lua_pushboolean(L, true);
    return 1;
}

static int start_job(lua_State *L, struct file_job shape, const char *path, const char *text)
{
    struct loop *loop = bind_loop(L);
    struct file_op *op = bind_op(L, sizeof *op, FILE_OP);
    struct file_job *job = malloc(sizeof *job);
    if (job) {
        *job = shape;
        job->text = malloc(shape.length + 1);
    }
    if (!job || !job->text || strlen(path) >= sizeof job->path) {
        if (job)
            job_drop(job);
        err_set(&op->err, ERR_SYSTEM, "%s: %s", path, strlen(path) >= PATH_MAX ? "path too long" : "no memory");
        return bind_fail(L, &op->err);
    }
    memcpy(job->text, text, shape.length);
    strcpy(job->path, path);
    op->offload = offload_start(loop, job, job_work, job_finish, job_drop, op, &op->err);
    if (!op->offload) {
        job_drop(job);
        return bind_fail(L, &op->err);
    }
    return task_await(L, &op->wait, op_done);
}

/* file.replace(path, text [, mode [, durable]]) -> true | nil, err
 * Readers see the old text or the new one. durable (the default): waits until the disk has it; else at once, for what is made
 * anew at each start. */
static int replace(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    size_t length;
    const char *text = luaL_checklstring(L, 2, &length);
    mode_t mode = (mode_t)luaL_optinteger(L, 3, 0644);
    if (lua_isnoneornil(L, 4) || lua_toboolean(L, 4))
        return start_job(L, (struct file_job){.kind = JOB_REPLACE, .mode = mode, .length = length}, path, text);
    struct err err;
    if (!file_replace(path, (struct bytes){text, length}, mode, false, &err))
        return bind_fail(L, &err);
    lua_pushboolean(L, true);
    return 1;
}

/* file.remove_tree(path) -> true | nil, err; true when nothing was there */
static int remove_tree(lua_State *L)
{
    return start_job(L, (struct file_job){.kind = JOB_REMOVE_TREE}, luaL_checkstring(L, 1), "");
}

static int fail_errno(lua_State *L, const char *path)
{
    struct err err;
    err_errno(&err, "%s", path);
    return bind_fail(L, &err);
}

/* file.remove(path) -> true | nil, err */
static int remove_file(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    if (remove(path) < 0)
        return fail_errno(L, path);
    lua_pushboolean(L, true);
    return 1;
}

/* file.rename(from, to) -> true | nil, err */
static int rename_file(lua_State *L)
{
    const char *from = luaL_checkstring(L, 1);
    if (rename(from, luaL_checkstring(L, 2)) < 0)
        return fail_errno(L, from);
    lua_pushboolean(L, true);
    return 1;
}

/* file.make_dirs(path [, mode]) -> true | nil, err */
static int make_dirs(lua_State *L)
{
    struct err err;
    if (!file_make_dirs(luaL_checkstring(L, 1), (mode_t)luaL_optinteger(L, 2, 0755), &err))
        return bind_fail(L, &err);
    lua_pushboolean(L, true);
    return 1;
}

static int compare_names(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_real_entry(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

/* file.list(directory) -> names, sorted bytewise | nil, err */
static int list(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct dirent **entries;
    int count = scandir(path, &entries, is_real_entry, compare_names);
    if (count < 0)
        return fail_errno(L, path);
    lua_createtable(L, count, 0);
    for (int i = 0; i < count; i++) {
        lua_pushstring(L, entries[i]->d_name);
        lua_rawseti(L, -2, i + 1);
        free(entries[i]);
    }
    free(entries);
    return 1;
}

static const char *kind_name(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG: return "file";
    case S_IFDIR: return "dir";
    case S_IFLNK: return "link";
    case S_IFSOCK: return "socket";
    default: return "other";
    }
}

/* file.stat(path) -> { kind, size, mtime (seconds), mode, uid, writable, executable } | nil, err; follows links */
static int stat_file(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct stat there;
    if (stat(path, &there) < 0)
        return fail_errno(L, path);
    lua_createtable(L, 0, 7);
    lua_pushstring(L, kind_name(there.st_mode));
    lua_setfield(L, -2, "kind");
    lua_pushinteger(L, there.st_size);
    lua_setfield(L, -2, "size");
    lua_pushnumber(L, (lua_Number)there.st_mtim.tv_sec + (lua_Number)there.st_mtim.tv_nsec / 1e9);
    lua_setfield(L, -2, "mtime");
    lua_pushinteger(L, there.st_mode & 07777);
    lua_setfield(L, -2, "mode");
    lua_pushinteger(L, there.st_uid);
    lua_setfield(L, -2, "uid");
    lua_pushboolean(L, access(path, W_OK) == 0);
    lua_setfield(L, -2, "writable");
    lua_pushboolean(L, access(path, X_OK) == 0);
    lua_setfield(L, -2, "executable");
    return 1;
}

/* file.real(path) -> absolute path without links | nil, err */
static int real(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    char resolved[PATH_MAX];
    if (!realpath(path, resolved))
        return fail_errno(L, path);
    lua_pushstring(L, resolved);
    return 1;
}

static int lock_close(lua_State *L)
{
    int *fd = luaL_checkudata(L, 1, FILE_LOCK);
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    return 0;
}

/* file.lock(path) -> lock (closable; held until closed or the process ends) | nil, err (kind conflict: somebody holds it) */
static int lock(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    int *fd = lua_newuserdatauv(L, sizeof *fd, 0);
    *fd = -1;
    luaL_setmetatable(L, FILE_LOCK);
    *fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0)
        *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*fd < 0)
        return fail_errno(L, path);
    if (flock(*fd, LOCK_EX | LOCK_NB) < 0) {
        struct err err;
        if (errno == EWOULDBLOCK)
            err_set(&err, ERR_CONFLICT, "%s: locked by another process", path);
        else
            err_errno(&err, "lock %s", path);
        return bind_fail(L, &err);
    }
    return 1;
}

/* file.fingerprint(text) -> 16 hex digits (FNV-1a, 64 bits): tells changes, proves nothing */
static int fingerprint(lua_State *L)
{
    size_t length;
    const char *text = luaL_checklstring(L, 1, &length);
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)text[i]) * UINT64_C(1099511628211);
    char out[17];
    snprintf(out, sizeof out, "%016llx", (unsigned long long)hash);
    lua_pushstring(L, out);
    return 1;
}

int luaopen_appliance_core_file(lua_State *L);

int luaopen_appliance_core_file(lua_State *L)
{
    static const luaL_Reg functions[] = {{"read", read_file},
                                         {"replace", replace},
                                         {"remove", remove_file},
                                         {"remove_tree", remove_tree},
                                         {"rename", rename_file},
                                         {"make_dirs", make_dirs},
                                         {"list", list},
                                         {"stat", stat_file},
                                         {"real", real},
                                         {"lock", lock},
                                         {"fingerprint", fingerprint},
                                         {NULL, NULL}};
    bind_type(L, FILE_OP, op_close, NULL);
    static const luaL_Reg lock_methods[] = {{"close", lock_close}, {NULL, NULL}};
    bind_type(L, FILE_LOCK, lock_close, lock_methods);
    luaL_newlib(L, functions);
    return 1;
}
