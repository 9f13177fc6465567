#include "appliance/child.h"
#include "appliance/clock.h"
#include "appliance/reaper.h"
#include "appliance/sys.h"
#include "spawn.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static struct rlimit nofile;
static bool has_nofile;

void child_set_nofile(const struct rlimit *before)
{
    nofile = *before;
    has_nofile = true;
}

void child_take_nofile(void)
{
    if (has_nofile)
        setrlimit(RLIMIT_NOFILE, &nofile);
}

const char *child_instance(void)
{
    static char text[CHILD_INSTANCE_SIZE];
    if (text[0])
        return text;
    uint64_t value;
    /* Early at boot, or in a sandbox, there may be no random yet: then a pid and a moment have to do. */
    if (getrandom(&value, sizeof value, GRND_NONBLOCK) != sizeof value)
        value = ((uint64_t)clock_boot_ns() << 16) ^ (uint64_t)getpid() ^ ((uint64_t)clock_wall_ms() << 40);
    snprintf(text, sizeof text, "%016llx", (unsigned long long)value);
    return text;
}

bool child_marker(const char *name, char out[CHILD_MARKER_SIZE])
{
    return snprintf(out, CHILD_MARKER_SIZE, CHILD_MARKER "%s@%s", name, child_instance()) < CHILD_MARKER_SIZE;
}

/* --- what is made ready before the clone --- */

/* The marker comes first, so that a sweep over /proc mostly finds it in the first bytes. One of an outer program is replaced. */
static char **with_marker(char *const *envp, char *marker)
{
    size_t count = 0;
    while (envp[count])
        count++;
    char **whole = malloc((count + 2) * sizeof *whole);
    if (!whole)
        return NULL;
    size_t length = 0;
    whole[length++] = marker;
    for (size_t i = 0; i < count; i++)
        if (strncmp(envp[i], CHILD_MARKER, strlen(CHILD_MARKER)) != 0)
            whole[length++] = envp[i];
    whole[length] = NULL;
    return whole;
}

static const char *path_of(char *const *envp)
{
    for (; *envp; envp++)
        if (strncmp(*envp, "PATH=", 5) == 0)
            return *envp + 5;
    return "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
}

/* `denied` is set when it is there but may not be run. A folder that we may not look into tells nothing. */
static bool is_program(const char *path, bool *denied)
{
    struct stat status;
    if (stat(path, &status) < 0)
        return false;
    bool runs = !S_ISDIR(status.st_mode) && access(path, X_OK) == 0;
    *denied |= !runs;
    return runs;
}

/* Like execvp, but seen with our eyes and in the child's PATH. Relative folders in PATH are passed over: they would mean another
 * place before and after the change of directory. */
static bool find_program(const struct child_spec *spec, char out[PATH_MAX], struct err *err)
{
    const char *name = spec->argv[0];
    if (strchr(name, '/')) {
        if (strlen(name) >= PATH_MAX)
            return err_set(err, ERR_INVALID, "%s: the path of its program is too long: %.60s...", spec->name, name);
        strcpy(out, name);
        return true;
    }
    if (!*name)
        return err_set(err, ERR_INVALID, "%s: the command is empty, name a program", spec->name);
    bool denied = false;
    const char *path = path_of(spec->envp), *folder = path;
    for (;;) {
        size_t length = strcspn(folder, ":");
        if (*folder == '/' && length + strlen(name) + 2 <= PATH_MAX) {
            snprintf(out, PATH_MAX, "%.*s/%s", (int)length, folder, name);
            if (is_program(out, &denied))
                return true;
        }
        if (!folder[length])
            break;
        folder += length + 1;
    }
    if (denied)
        return err_set(err, ERR_DENIED, "%s: %s is in PATH=%.120s but may not be run", spec->name, name, path);
    err_set(err, ERR_MISSING, "%s: there is no %s in PATH=%.120s: give its full path, or set PATH", spec->name, name, path);
    if (err)
        err->code = ENOENT;
    return false;
}

/* --- what went wrong --- */

static enum err_kind kind_of(int error)
{
    switch (error) {
    case ENOENT:
    case ENOTDIR: return ERR_MISSING;
    case EACCES:
    case EPERM:
    case EROFS: return ERR_DENIED;
    case ENOEXEC:
    case E2BIG:
    case EINVAL:
    case EISDIR:
    case ELOOP:
    case ENAMETOOLONG:
    case ELIBBAD: return ERR_INVALID;
    default: return ERR_SYSTEM;
    }
}

static bool spawn_failed(struct err *err, const struct child_spec *spec, const struct spawn *s)
{
    int error = s->error;
    errno = error;
    switch (s->stage) {
    case SPAWN_CLONE: err_errno(err, "%s: fork", spec->name); break;
    case SPAWN_PARENT: err_errno(err, "%s: set the parent-death signal", spec->name); break;
    case SPAWN_LIMIT: err_errno(err, "%s: restore the limit of open files", spec->name); break;
    case SPAWN_OUTPUT: err_errno(err, "%s: connect the output", spec->name); break;
    case SPAWN_INPUT: err_errno(err, "%s: open /dev/null", spec->name); break;
    case SPAWN_DIR: err_errno(err, "%s: change to the directory %s", spec->name, spec->dir); break;
    case SPAWN_USER: err_errno(err, "%s: become user %u, group %u", spec->name, spec->uid, spec->gid); break;
    case SPAWN_NICE: err_errno(err, "%s: change the priority by %d", spec->name, spec->nice); break;
    case SPAWN_EXEC:
        if (error == ENOENT && access(s->path, F_OK) == 0)
            err_set(err, ERR_MISSING, "%s: exec %s: it is there, but its interpreter is not (its #! line, or its loader)", spec->name,
                    s->path);
        else if (error == ENOEXEC)
            err_set(err, ERR_INVALID, "%s: exec %s: not a program of this machine; a script needs a #! line", spec->name, s->path);
        else
            err_errno(err, "%s: exec %s", spec->name, s->path);
        break;
    }
    if (err) {
        err->kind = kind_of(error);
        err->code = error;
    }
    return false;
}

/* --- start, signal, end --- */

bool child_start(struct child *child, struct loop *loop, const struct child_spec *spec, void (*ended)(struct child *, struct child_end),
                 struct err *err)
{
    char path[PATH_MAX], marker[CHILD_MARKER_SIZE];
    if (!child_marker(spec->name, marker))
        return err_set(err, ERR_INVALID, "%.60s...: the name of the service is too long", spec->name);
    if (!find_program(spec, path, err))
        return false;
    char **envp = with_marker(spec->envp, marker);
    if (!envp) {
        errno = ENOMEM;
        return err_errno(err, "%s: make the environment", spec->name);
    }
    pid_t us = getpid();
    struct spawn s = {
        .path = path,
        .argv = spec->argv,
        .envp = envp,
        .dir = spec->dir,
        .output = spec->output,
        /* An ordinary user may name itself; the kernel would refuse it to empty its groups. */
        .set_user = spec->set_user && (geteuid() == 0 || spec->uid != geteuid() || spec->gid != getegid()),
        .uid = spec->uid,
        .gid = spec->gid,
        .nice = spec->nice,
        .nofile = has_nofile ? &nofile : NULL,
        .die_with_us = spec->die_with_us || us != 1,
        .us = us,
    };
    pid_t pid = spawn(&s);
    free(envp);
    if (pid < 0)
        return spawn_failed(err, spec, &s);
    *child = (struct child){.pid = pid, .pidfd = s.pidfd, .started_ns = clock_ns(), .loop = loop, .ended = ended};
    reaper_add(child);
    return true;
}

bool child_signal(const struct child *child, int signal, enum child_reach reach)
{
    if (child->pid == 0)
        return false;
    if (reach == REACH_GROUP) /* the number of a group is not given out again while its unreaped leader has it */
        return sys.kill(-child->pid, signal) == 0;
    if (child->pidfd >= 0) {
        if (sys.pidfd_send_signal(child->pidfd, signal, NULL, 0) == 0)
            return true;
        if (errno != ENOSYS && errno != EPERM)
            return false;
    }
    return sys.kill(child->pid, signal) == 0;
}

void child_end_text(struct child_end how, char *out, size_t size)
{
    if (how.signal == 0) {
        snprintf(out, size, "exited with %d", how.status);
        return;
    }
    const char *name = sigabbrev_np(how.signal);
    if (name)
        snprintf(out, size, "killed by SIG%s%s", name, how.core ? " (core dumped)" : "");
    else
        snprintf(out, size, "killed by signal %d%s", how.signal, how.core ? " (core dumped)" : "");
}
