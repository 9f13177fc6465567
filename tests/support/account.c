#include "account.h"
#include "turning.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES_MOST = 1024, LINE_MOST = 256, LIMIT_S = 20 };

/* "12,345 lines (1 KiB) dropped": the number that ends before " line". */
void account_dropped(struct account *a, const char *sentence)
{
    uint64_t count = 0;
    const char *end = strstr(sentence, " line"), *at = end;
    while (at && at > sentence && (isdigit((unsigned char)at[-1]) || at[-1] == ','))
        at--;
    for (; at < end; at++)
        if (*at != ',')
            count = count * 10 + (uint64_t)(*at - '0');
    if (!end || count == 0)
        fail_msg("%s in %s: no number of dropped lines in \"%s\"", a->name, a->place, sentence);
    if (a->whole)
        fail_msg("%s in %s: dropped what may not be dropped: %s", a->name, a->place, sentence);
    a->told += count;
}

static uint64_t number_of(const char *name, const char *line)
{
    size_t length = strlen(name);
    return strncmp(line, name, length) == 0 && line[length] == ' ' ? strtoull(line + length, NULL, 10) : 0;
}

void account_line(struct account *a, const char *start, size_t length)
{
    char line[LINE_MOST] = "", expected[LINE_MOST], filling[80];
    memset(filling, 'x', sizeof filling);
    snprintf(line, sizeof line, "%.*s", (int)length, start);
    if (strncmp(line, "[spark-appliance] ", 18) == 0) {
        account_dropped(a, line);
        return;
    }
    uint64_t number = number_of(a->name, line);
    snprintf(expected, sizeof expected, "%s %llu %.*s.", a->name, (unsigned long long)number, (int)(number % sizeof filling), filling);
    if (strcmp(line, expected) != 0)
        fail_msg("%s in %s, after line %llu: damaged: \"%s\"", a->name, a->place, (unsigned long long)a->last, line);
    if (number > a->last + 1 + a->told)
        fail_msg("%s in %s: %llu follows %llu, and %llu lines are told as dropped", a->name, a->place, (unsigned long long)number,
                 (unsigned long long)a->last, (unsigned long long)a->told);
    if (number < a->last || (number == a->last && a->told > 0))
        fail_msg("%s in %s: %llu comes after %llu", a->name, a->place, (unsigned long long)number, (unsigned long long)a->last);
    if (number == a->last)
        a->repeated++;
    else
        a->missing += number - a->last - 1;
    a->lines++;
    a->last = number;
    a->told = 0;
}

/* --- log files --- */

struct part {
    char *text;
    size_t length;
    ino_t inode;
};

static bool read_part(const char *path, struct part *part)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    assert_int_equal(fstat(fd, &status), 0);
    *part = (struct part){.text = malloc((size_t)status.st_size + 1), .inode = status.st_ino};
    ssize_t size = read(fd, part->text, (size_t)status.st_size);
    close(fd);
    part->length = size > 0 ? (size_t)size : 0;
    part->text[part->length] = 0;
    return true;
}

/* Its first numbered line; 0: none yet. */
static uint64_t first_number(const struct account *a, const struct part *part)
{
    for (const char *line = part->text; line; line = (line = strchr(line, '\n')) ? line + 1 : NULL)
        if (number_of(a->name, line))
            return number_of(a->name, line);
    return 0;
}

/* From the newest back to where the last reading ended. False: there was a rotation meanwhile, or is one now. */
static bool read_parts(const struct account *a, const char *path, struct part *parts, int *count)
{
    for (*count = 0; *count < FILES_MOST;) {
        char name[PATH_MAX + 16];
        snprintf(name, sizeof name, *count ? "%s.%d" : "%s", path, *count);
        struct part *part = &parts[*count];
        if (!read_part(name, part))
            return false;
        *count += 1;
        for (int i = 0; i < *count - 1; i++)
            if (parts[i].inode == part->inode)
                return false;
        uint64_t first = first_number(a, part);
        if (first > 0 && first <= a->last + 1)
            break;
    }
    struct stat status;
    return stat(path, &status) == 0 && status.st_ino == parts[0].inode;
}

static void free_parts(struct part *parts, int count)
{
    for (int i = 0; i < count; i++)
        free(parts[i].text);
}

static void account_part(struct account *a, const struct part *part)
{
    bool is_new = a->last == 0 || first_number(a, part) > a->last;
    for (char *line = part->text, *end; (end = strchr(line, '\n')); line = end + 1) {
        uint64_t number = number_of(a->name, line);
        if (is_new) {
            account_line(a, line, (size_t)(end - line));
        } else if (number == a->last) { /* read up to here the last time; what a killed run repeats comes behind it */
            is_new = true;
            a->told = 0;
        }
    }
}

void account_files(struct account *a, const char *path, int64_t limit)
{
    static struct part parts[FILES_MOST];
    int count = 0;
    for (int64_t deadline = clock_ns() + LIMIT_S * NS_PER_S; !read_parts(a, path, parts, &count); free_parts(parts, count))
        if (clock_ns() > deadline)
            fail_msg("%s: line %llu and what followed it are not there (any more), in %d files", path, (unsigned long long)a->last + 1,
                     count);
    for (int i = count - 1; i >= 0; i--) {
        struct part *part = &parts[i];
        if ((int64_t)part->length > limit)
            fail_msg("%s.%d: %zu bytes, more than %lld", path, i, part->length, (long long)limit);
        if (i > 0 && (part->length == 0 || part->text[part->length - 1] != '\n'))
            fail_msg("%s.%d: does not end with a line", path, i);
        account_part(a, part);
    }
    free_parts(parts, count);
}

uint64_t account_said(const char *path)
{
    uint64_t said = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && read(fd, &said, sizeof said) < 0)
        said = 0;
    if (fd >= 0)
        close(fd);
    return said;
}

void account_close(const struct account *a, uint64_t said)
{
    if (a->last + a->told < said || a->last > said + 1) /* one more: killed between the line and its count */
        fail_msg("%s in %s: ends with %llu and %llu told as dropped, but %llu were printed", a->name, a->place, (unsigned long long)a->last,
                 (unsigned long long)a->told, (unsigned long long)said);
}
