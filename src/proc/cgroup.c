#include "appliance/cgroup.h"
#include "appliance/buf.h"
#include "appliance/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* PLACE_MAX: of a path. Longer ones are not met, and a stack that was deep once counts as our memory for ever. */
enum { FILE_CEILING = 4 * 1024 * 1024, PLACE_MAX = 1024 };

/* Larger than any machine: v1 says "no limit" as the largest multiple of a page below 2^63. */
#define NO_LIMIT (INT64_C(1) << 60)

/* Where one controller of ours is: the folder of our own cgroup, and the uppermost one we can see. */
struct place {
    int version; /* 0: nowhere */
    char top[PLACE_MAX], own[PLACE_MAX];
};

/* --- files --- */

/* The whole file, with a zero behind it. */
static bool read_file(const char *path, struct buf *out)
{
    buf_init(out, FILE_CEILING);
    int fd = sys.open(path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return false;
    ssize_t size = -1;
    while (buf_reserve(out, 4096) && (size = sys.read(fd, out->data + out->length, 4096)) > 0)
        out->length += (size_t)size;
    sys.close(fd);
    if (size == 0 && buf_append(out, "", 1))
        return true;
    buf_free(out);
    return false;
}

static bool read_below(const char *folder, const char *name, char *out, size_t size)
{
    char path[PLACE_MAX];
    if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, name) >= sizeof path)
        return false;
    int fd = sys.open(path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return false;
    ssize_t length = sys.read(fd, out, size - 1);
    sys.close(fd);
    out[length > 0 ? length : 0] = 0;
    return length > 0;
}

/* -1: no such file, "max", or no number. */
static int64_t number_below(const char *folder, const char *name)
{
    char text[64], *end;
    if (!read_below(folder, name, text, sizeof text))
        return -1;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    return end == text || errno ? -1 : value;
}

/* The number behind `key` in a file of "key number" lines; -1 where there is none. */
static int64_t keyed_below(const char *folder, const char *name, const char *key)
{
    char path[PLACE_MAX];
    struct buf text;
    if ((size_t)snprintf(path, sizeof path, "%s/%s", folder, name) >= sizeof path || !read_file(path, &text))
        return -1;
    int64_t value = -1;
    size_t length = strlen(key);
    for (const char *line = text.data; *line; line += strcspn(line, "\n"), line += *line == '\n')
        if (strncmp(line, key, length) == 0 && line[length] == ' ')
            value = strtoll(line + length, NULL, 10);
    buf_free(&text);
    return value;
}

/* --- where we are --- */

/* Is `word` one of the comma-separated ones of list[0..length)? */
static bool has_word(const char *list, size_t length, const char *word)
{
    size_t word_length = strlen(word);
    for (size_t at = 0; at < length;) {
        size_t end = at;
        while (end < length && list[end] != ',')
            end++;
        if (end - at == word_length && memcmp(list + at, word, word_length) == 0)
            return true;
        at = end + 1;
    }
    return false;
}

/* Our path in the hierarchy of a v1 controller, or in the v2 one (NULL). Lines are "5:cpu,cpuacct:/path" and "0::/path". */
static bool path_in(const char *lines, const char *controller, char out[PLACE_MAX])
{
    for (const char *line = lines; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        const char *names = strchr(line, ':'), *path = names ? strchr(names + 1, ':') : NULL;
        if (!path)
            return false;
        size_t length = (size_t)(path - names - 1);
        if (controller ? !has_word(names + 1, length, controller) : length != 0)
            continue;
        snprintf(out, PLACE_MAX, "%.*s", (int)strcspn(path + 1, "\n"), path + 1);
        return true;
    }
    return false;
}

/* mountinfo writes blanks in paths as \040. */
static void unescape(const char *from, size_t length, char out[PLACE_MAX])
{
    size_t written = 0;
    for (size_t i = 0; i < length && written < PLACE_MAX - 1; i++) {
        if (from[i] == '\\' && i + 3 < length && from[i + 1] >= '0' && from[i + 1] <= '3') {
            out[written++] = (char)((from[i + 1] - '0') * 64 + (from[i + 2] - '0') * 8 + (from[i + 3] - '0'));
            i += 3;
        } else {
            out[written++] = from[i];
        }
    }
    out[written] = 0;
}

struct mount {
    char root[PLACE_MAX], point[PLACE_MAX];
};

/* "31 23 0:28 /root /point rw,relatime shared:4 - cgroup cgroup rw,memory": proc(5) */
static bool parse_mount(const char *line, const char *controller, struct mount *m)
{
    const char *end = line + strcspn(line, "\n"), *field[6] = {line};
    for (int i = 1; i < 6; i++) {
        const char *blank = memchr(field[i - 1], ' ', (size_t)(end - field[i - 1]));
        if (!blank)
            return false;
        field[i] = blank + 1;
    }
    const char *kind = memmem(field[5], (size_t)(end - field[5]), " - ", 3);
    if (!kind)
        return false;
    kind += 3;
    const char *source = memchr(kind, ' ', (size_t)(end - kind)),
               *options = source ? memchr(source + 1, ' ', (size_t)(end - source - 1)) : NULL;
    const char *wanted = controller ? "cgroup" : "cgroup2";
    if (!options || (size_t)(source - kind) != strlen(wanted) || memcmp(kind, wanted, strlen(wanted)) != 0)
        return false;
    if (controller && !has_word(options + 1, (size_t)(end - options - 1), controller))
        return false;
    unescape(field[3], (size_t)(field[4] - field[3] - 1), m->root);
    unescape(field[4], (size_t)(field[5] - field[4] - 1), m->point);
    return true;
}

/* What of `path` is below the folder that is mounted. Without a cgroup namespace a container sees its full path of the host, and
 * mounted just its own folder: nothing remains. */
static const char *below(const char *path, const char *mounted)
{
    size_t length = strcmp(mounted, "/") == 0 ? 0 : strlen(mounted);
    if (strncmp(path, mounted, length) != 0 || (path[length] != '/' && path[length] != 0) || strstr(path, "/.."))
        return "";
    return strcmp(path + length, "/") == 0 ? "" : path + length;
}

static bool find_in(const char *root, const char *groups, const char *mounts, const char *controller, struct place *place)
{
    char path[PLACE_MAX];
    if (!path_in(groups, controller, path))
        return false;
    for (const char *line = mounts; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        struct mount m;
        if (!parse_mount(line, controller, &m))
            continue;
        if ((size_t)snprintf(place->top, PLACE_MAX, "%s%s", root, m.point) >= PLACE_MAX ||
            (size_t)snprintf(place->own, PLACE_MAX, "%s%s", place->top, below(path, m.root)) >= PLACE_MAX)
            return false;
        if (access(place->own, F_OK) < 0)
            strcpy(place->own, place->top);
        place->version = controller ? 1 : 2;
        return true;
    }
    return false;
}

/* A controller is in v1 or in v2, never in both: a hybrid machine has memory in the one and nothing in the other. */
static struct place find(const char *root, const char *controller)
{
    struct place place = {0};
    char path[PLACE_MAX];
    struct buf groups, mounts;
    if (strcmp(root, "/") == 0)
        root = "";
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    if (!read_file(path, &groups))
        return place;
    snprintf(path, sizeof path, "%s/proc/self/mountinfo", root);
    if (read_file(path, &mounts)) {
        if (!find_in(root, groups.data, mounts.data, controller, &place))
            find_in(root, groups.data, mounts.data, NULL, &place);
        buf_free(&mounts);
    }
    buf_free(&groups);
    return place;
}

/* To the cgroup above; false at the top. */
static bool step_up(struct place *place)
{
    char *last = strrchr(place->own, '/');
    if (!last || strlen(place->own) <= strlen(place->top))
        return false;
    *last = 0;
    return true;
}

/* --- limits --- */

static void least(int64_t *limit, int64_t other)
{
    if (other >= 0 && other < NO_LIMIT && (*limit < 0 || other < *limit))
        *limit = other;
}

static int64_t memory_limit(const char *root, int *version)
{
    struct place place = find(root, "memory");
    *version = place.version;
    int64_t limit = -1;
    if (place.version == 0)
        return limit;
    if (place.version == 1) /* also tells of levels above what is mounted */
        least(&limit, keyed_below(place.own, "memory.stat", "hierarchical_memory_limit"));
    do
        least(&limit, number_below(place.own, place.version == 2 ? "memory.max" : "memory.limit_in_bytes"));
    while (step_up(&place));
    return limit;
}

/* 0: no quota */
static double quota_of(const struct place *place)
{
    double quota, period;
    char text[64];
    if (place->version == 2) { /* "150000 100000" or "max 100000" */
        if (!read_below(place->own, "cpu.max", text, sizeof text) || sscanf(text, "%lf %lf", &quota, &period) != 2)
            return 0;
    } else {
        quota = (double)number_below(place->own, "cpu.cfs_quota_us");
        period = (double)number_below(place->own, "cpu.cfs_period_us");
    }
    return quota > 0 && period > 0 ? quota / period : 0;
}

/* "0-3,7" -> 5; 0 where it makes no sense */
static int count_cpus(const char *list)
{
    int count = 0;
    for (const char *at = list; *at >= '0' && *at <= '9';) {
        char *end;
        long first = strtol(at, &end, 10), last = *end == '-' ? strtol(end + 1, &end, 10) : first;
        if (last < first || last - first > 65536)
            return 0;
        count += (int)(last - first + 1);
        at = *end == ',' ? end + 1 : end;
    }
    return count;
}

static int allowed_cpus(const char *root)
{
    char path[PLACE_MAX];
    struct buf status;
    int count = 0;
    snprintf(path, sizeof path, "%s/proc/self/status", strcmp(root, "/") == 0 ? "" : root);
    if (read_file(path, &status)) {
        const char *line = strstr(status.data, "Cpus_allowed_list:\t");
        count = line ? count_cpus(line + strlen("Cpus_allowed_list:\t")) : 0;
        buf_free(&status);
    }
    cpu_set_t set;
    if (count == 0 && sched_getaffinity(0, sizeof set, &set) == 0)
        count = CPU_COUNT(&set);
    return count > 0 ? count : 1;
}

static double cpu_limit(const char *root)
{
    double cpus = allowed_cpus(root);
    struct place place = find(root, "cpuset");
    char list[4096];
    if (place.version &&
        (read_below(place.own, place.version == 2 ? "cpuset.cpus.effective" : "cpuset.effective_cpus", list, sizeof list) ||
         read_below(place.own, "cpuset.cpus", list, sizeof list))) {
        int count = count_cpus(list);
        if (count > 0 && count < cpus)
            cpus = count;
    }
    place = find(root, "cpu");
    if (place.version)
        do {
            double quota = quota_of(&place);
            if (quota > 0 && quota < cpus)
                cpus = quota;
        } while (step_up(&place));
    return cpus;
}

bool cgroup_read(const char *root, struct cgroup_limits *limits, struct err *err)
{
    if (strlen(root) > PLACE_MAX / 2)
        return err_set(err, ERR_INVALID, "%.60s...: the path is too long", root);
    limits->memory_bytes = memory_limit(root, &limits->version);
    limits->cpus = cpu_limit(root);
    return true;
}

int64_t cgroup_oom_kills(const char *root)
{
    struct place place = find(root, "memory");
    if (place.version == 0)
        return -1;
    return keyed_below(place.own, place.version == 2 ? "memory.events" : "memory.oom_control", "oom_kill");
}

int64_t cgroup_memory_used(const char *root)
{
    struct place place = find(root, "memory");
    if (place.version == 0)
        return -1;
    return number_below(place.own, place.version == 2 ? "memory.current" : "memory.usage_in_bytes");
}
