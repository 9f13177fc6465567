#include "turning.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *scratch_new(void)
{
    const char *base = getenv("TMPDIR");
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/appliance-test-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(path) || chmod(path, 0777) < 0) /* tests that run as another user write there, too */
        fail_msg("mkdtemp %s failed", path);
    return strdup(path);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *at)
{
    (void)status;
    (void)kind;
    (void)at;
    return remove(path);
}

void scratch_free(char *folder)
{
    if (folder)
        nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(folder);
}

const char *scratch_path(const char *folder, const char *name)
{
    static char paths[8][PATH_MAX];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, PATH_MAX, "%s/%s", folder, name);
    return path;
}

void scratch_write(const char *folder, const char *name, const char *text, int mode)
{
    const char *path = scratch_path(folder, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || fchmod(fd, (mode_t)mode) < 0)
        fail_msg("write %s failed", path);
    close(fd);
}

const char *scratch_read(const char *folder, const char *name)
{
    static char texts[4][65536];
    static unsigned next;
    char *text = texts[next++ % 4];
    int fd = open(scratch_path(folder, name), O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? 0 : read(fd, text, sizeof texts[0] - 1);
    if (fd >= 0)
        close(fd);
    text[size > 0 ? size : 0] = 0;
    return text;
}

bool scratch_has(const char *folder, const char *name)
{
    return access(scratch_path(folder, name), F_OK) == 0;
}

int open_descriptors(void)
{
    int count = 0;
    DIR *own = opendir("/proc/self/fd");
    for (struct dirent *entry; own && (entry = readdir(own));)
        count += entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(own);
    if (own)
        closedir(own);
    return count;
}

const char *test_program(const char *name)
{
    return scratch_path(TEST_BUILD "/tests/programs", name);
}
