#include "appliance/logfile.h"
#include "appliance/clock.h"
#include "appliance/lines.h"
#include "appliance/log.h"
#include "appliance/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    RETRY_MIN_MS = 250,
    RETRY_MAX_MS = 2000,
    CALM_MS = 10000, /* so long without a failure: the next one is news, and is tried again soon. A disk at its brim fails for ever */
    CHECK_MS = 1000, /* how long a moved file may still be written to */
    PATH_SIZE = PATH_MAX + 16,
};

static void retry(struct timer *);

static struct logfile *of_retry(struct timer *t)
{
    return (struct logfile *)((char *)t - offsetof(struct logfile, retry));
}

void logfile_init(struct logfile *f, struct loop *loop, void (*room)(struct logfile *))
{
    *f = (struct logfile){.fd = -1, .loop = loop, .room = room, .delay_ms = RETRY_MIN_MS};
}

static void close_file(struct logfile *f)
{
    if (f->fd >= 0)
        sys.close(f->fd);
    f->fd = -1;
}

static void set_rotation(struct logfile *f)
{
    f->rotate_at = f->regular && f->limit > 0 ? f->limit : INT64_MAX;
}

/* --- opening, moved files, rotation --- */

static void make_parents(const char *path)
{
    char folder[PATH_SIZE];
    snprintf(folder, sizeof folder, "%s", path);
    for (char *slash = strchr(folder + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(folder, 0755); /* open says what is wrong, if anything is */
        *slash = '/';
    }
}

static bool open_file(struct logfile *f)
{
    if (f->fd >= 0)
        return true;
    /* O_NONBLOCK means nothing to a file, and keeps a FIFO without a reader from stopping us here. */
    enum { FLAGS = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, MODE = 0640 };
    int fd = sys.open(f->path, FLAGS, MODE);
    if (fd < 0 && errno == ENOENT) {
        make_parents(f->path);
        fd = sys.open(f->path, FLAGS, MODE);
    }
    if (fd < 0)
        return false;
    struct stat status;
    if (fstat(fd, &status) < 0) {
        int why = errno;
        sys.close(fd);
        errno = why;
        return false;
    }
    f->fd = fd;
    f->regular = S_ISREG(status.st_mode);
    f->device = status.st_dev;
    f->inode = status.st_ino;
    f->size = status.st_size;
    f->checked_ns = clock_ns();
    set_rotation(f);
    return true;
}

/* Somebody else's rotation (mv, rm, logrotate) must not leave us writing to a file that nobody finds. The rest of a line
 * goes where its beginning went. */
static void look_for_move(struct logfile *f)
{
    if (f->fd < 0 || !f->regular || f->mid_line)
        return;
    int64_t now = clock_ns();
    if (now - f->checked_ns < CHECK_MS * NS_PER_MS)
        return;
    f->checked_ns = now;
    struct stat status;
    if (stat(f->path, &status) < 0 || status.st_dev != f->device || status.st_ino != f->inode)
        close_file(f);
    else
        f->size = status.st_size; /* also when it was emptied in place */
}

static bool move(struct logfile *f, int from, int to)
{
    char old[PATH_SIZE], new[PATH_SIZE];
    snprintf(old, sizeof old, from ? "%s.%d" : "%s", f->path, from);
    snprintf(new, sizeof new, "%s.%d", f->path, to);
    return sys.rename(old, new) == 0 || errno == ENOENT;
}

/* The one that falls out, and those beyond it: `keep` may have become less. Removed, not renamed over: ext4 writes a file that takes
 * another's name to the disk at once (auto_da_alloc), and here its last bytes are a whole file old. */
static void remove_beyond(struct logfile *f)
{
    const int falls_out = f->keep > 0 ? f->keep : 1; /* the file itself has no number */
    char oldest[PATH_SIZE];
    for (int i = falls_out;; i++) {
        snprintf(oldest, sizeof oldest, "%s.%d", f->path, i);
        if (sys.unlink(oldest) < 0 && i > falls_out) /* not there: so none is behind it. That this one can't go, the rename will tell */
            return;
    }
}

/* From the oldest on, and not one step behind a failure: it would overwrite a file that is still to be kept. */
static bool move_all(struct logfile *f)
{
    remove_beyond(f);
    if (f->keep <= 0)
        return sys.unlink(f->path) == 0 || errno == ENOENT;
    for (int i = f->keep - 1; i >= 0; i--)
        if (!move(f, i, i + 1))
            return false;
    return true;
}

static bool rotate(struct logfile *f)
{
    if (!move_all(f)) {
        /* Better a file that is too long than lines that are lost. */
        if (!f->rotation_said)
            log_warn("%s: can't rotate %s (%s): it goes on growing; let us rename files in its directory", f->name, f->path,
                     strerror(errno));
        f->rotation_said = true;
        f->rotate_at = f->size + f->limit;
        return true;
    }
    f->rotation_said = false;
    close_file(f);
    return open_file(f);
}

/* --- writing --- */

/* How much of `data` may go into this file; 0: it is time to rotate. A line that no file can hold gets one for itself. */
static size_t until_rotation(const struct logfile *f, const char *data, size_t length)
{
    if (f->size + (int64_t)length <= f->rotate_at)
        return length;
    int64_t room = f->rotate_at - f->size;
    const char *end = room > 0 ? memrchr(data, '\n', (size_t)room) : NULL;
    if (!end && (f->size == 0 || f->mid_line)) {
        end = memchr(data, '\n', length);
        if (!end)
            return length;
    }
    return end ? (size_t)(end - data) + 1 : 0;
}

/* Returns how much went in; when that is not all, errno says why. */
static size_t put(struct logfile *f, const char *data, size_t length)
{
    size_t done = 0;
    while (done < length) {
        if (!open_file(f))
            return done;
        size_t size = until_rotation(f, data + done, length - done);
        if (size == 0) {
            if (!rotate(f))
                return done;
            continue;
        }
        ssize_t written = sys.write(f->fd, data + done, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return done;
        done += (size_t)written;
        f->size += written;
        if (written > 0)
            f->mid_line = data[done - 1] != '\n';
    }
    return done;
}

/* As put, but leaves only whole lines behind: `data` begins a line, and a line that went in half is taken back out. */
static size_t put_lines(struct logfile *f, const char *data, size_t length)
{
    size_t done = put(f, data, length);
    if (done == length || !f->mid_line)
        return done;
    int why = errno;
    const char *end = memrchr(data, '\n', done);
    size_t whole = end ? (size_t)(end - data) + 1 : 0;
    struct stat status;
    /* Not if somebody else has written behind us. */
    if (f->fd >= 0 && f->regular && fstat(f->fd, &status) == 0 && status.st_size == f->size &&
        ftruncate(f->fd, f->size - (off_t)(done - whole)) == 0) {
        f->size -= (int64_t)(done - whole);
        f->mid_line = false;
    }
    errno = why;
    return whole;
}

/* --- blocked, and out of it --- */

static const char *cure(int code)
{
    switch (code) {
    case ENOSPC:
    case EDQUOT: return "free space there";
    case EFBIG: return "raise the file size limit (ulimit -f) or rotate at a smaller size";
    case EACCES:
    case EPERM: return "let us write there, or set another log file";
    case EROFS: return "mount it writable, or set another log file";
    case EMFILE:
    case ENFILE: return "raise the limit of open files (ulimit -n)";
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case ENAMETOOLONG: return "set another log file";
    default: return "look at the disk or mount it is on";
    }
}

static void block(struct logfile *f, int code)
{
    int64_t now = clock_ns();
    bool calm = f->failed_ns == 0 || now - f->failed_ns > CALM_MS * NS_PER_MS;
    if (calm)
        f->delay_ms = RETRY_MIN_MS;
    f->failed_ns = now;
    snprintf(f->reason, sizeof f->reason, "%s", strerror(code));
    if (calm && !f->blocked) {
        f->said = true;
        log_warn("%s: can't write %s: %s: %s; until then %s", f->name, f->path, f->reason, cure(code),
                 f->block ? "its output waits, and so will the service once its pipe is full" : "its lines are dropped and counted");
    }
    f->blocked = true;
    timer_start(&f->retry, f->loop, f->delay_ms, retry);
}

static void drop(struct logfile *f, const char *data, size_t length)
{
    uint64_t lines = lines_count(data, length);
    f->gap_lines += lines;
    f->gap_bytes += length;
    f->dropped_lines += lines;
    f->dropped_bytes += length;
}

/* The place of what is missing, for who reads the file. */
static bool put_gap_line(struct logfile *f)
{
    if (f->gap_lines == 0)
        return true;
    char amount[64], line[256];
    lines_amount(amount, sizeof amount, f->gap_lines, f->gap_bytes);
    int length = snprintf(line, sizeof line, "%s[spark-appliance] %s dropped here: %s\n", f->mid_line ? "\n" : "", amount,
                          f->reason[0] ? f->reason : "no memory");
    if (put_lines(f, line, (size_t)length) < (size_t)length)
        return false;
    f->gap_lines = f->gap_bytes = 0;
    return true;
}

static void forget_kept(struct logfile *f)
{
    free(f->kept);
    f->kept = NULL;
    f->kept_length = 0;
}

/* `block` was taken away while something was kept: what is left of it is dropped like anything else. */
static void drop_kept(struct logfile *f)
{
    if (f->kept_length > 0)
        drop(f, f->kept, f->kept_length);
    forget_kept(f);
}

static bool put_kept(struct logfile *f)
{
    size_t done = put(f, f->kept, f->kept_length);
    f->kept_length -= done;
    if (f->kept_length > 0) {
        int why = errno;
        memmove(f->kept, f->kept + done, f->kept_length);
        errno = why;
        return false;
    }
    forget_kept(f);
    return true;
}

static void retry(struct timer *t)
{
    struct logfile *f = of_retry(t);
    uint64_t lines = f->gap_lines, bytes = f->gap_bytes;
    close_file(f); /* a stale handle or a directory that came back: the path decides */
    if (!f->block && f->kept) {
        drop_kept(f);
        f->room(f);
        lines = f->gap_lines;
        bytes = f->gap_bytes;
    }
    if (!put_kept(f) || !put_gap_line(f)) {
        int why = errno;
        f->delay_ms = f->delay_ms * 2 < RETRY_MAX_MS ? f->delay_ms * 2 : RETRY_MAX_MS;
        block(f, why);
        return;
    }
    f->blocked = false;
    f->reason[0] = '\0';
    char amount[64];
    lines_amount(amount, sizeof amount, lines, bytes);
    if (f->said && lines > 0)
        log_warn("%s: %s is written again; %s were dropped", f->name, f->path, amount);
    else if (f->said)
        log_info("%s: %s is written again; nothing was lost", f->name, f->path);
    f->said = false;
    f->room(f);
}

static void keep(struct logfile *f, const char *data, size_t length)
{
    char *kept = realloc(f->kept, f->kept_length + length);
    if (!kept) {
        drop(f, data, length);
        return;
    }
    memcpy(kept + f->kept_length, data, length);
    f->kept = kept;
    f->kept_length += length;
}

bool logfile_write(struct logfile *f, const char *data, size_t length)
{
    if (!f->path)
        return true;
    void (*refuse)(struct logfile *, const char *, size_t) = f->block ? keep : drop;
    if (f->blocked) {
        refuse(f, data, length);
        return !f->block;
    }
    look_for_move(f);
    size_t done = f->block ? put(f, data, length) : put_lines(f, data, length);
    if (done == length)
        return true;
    int why = errno;
    refuse(f, data + done, length - done);
    block(f, why);
    return !f->block;
}

bool logfile_configure(struct logfile *f, const char *name, const char *path, int64_t limit, int keep_count, bool blocking)
{
    char *own_path = path ? strdup(path) : NULL, *own_name = strdup(name);
    if (!own_name || (path && !own_path)) {
        free(own_path);
        free(own_name);
        return false;
    }
    bool same = f->path && path && strcmp(f->path, path) == 0;
    if (!same) {
        close_file(f);
        f->mid_line = false;
    }
    free(f->path);
    free(f->name);
    f->path = own_path;
    f->name = own_name;
    f->limit = limit;
    f->keep = keep_count;
    f->block = blocking;
    set_rotation(f);
    if (!f->blocked)
        return true;
    if (!path) { /* nowhere to go for what was kept */
        timer_stop(&f->retry);
        drop_kept(f);
        f->blocked = false;
        f->reason[0] = '\0';
        f->gap_lines = f->gap_bytes = 0;
        f->room(f);
    } else {
        timer_start(&f->retry, f->loop, 0, retry); /* a new file or policy may be the cure */
    }
    return true;
}

void logfile_free(struct logfile *f)
{
    timer_stop(&f->retry);
    if (f->path && f->blocked && !(put_kept(f) && put_gap_line(f))) {
        drop_kept(f);
        char amount[64];
        lines_amount(amount, sizeof amount, f->gap_lines, f->gap_bytes);
        log_warn("%s: %s of its last output could not be written to %s: %s", f->name, amount, f->path, f->reason);
    }
    forget_kept(f);
    close_file(f);
    free(f->path);
    free(f->name);
    logfile_init(f, f->loop, f->room);
}
