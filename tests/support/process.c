#include "process.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The number behind `field` in /proc/PID/FILE. */
static long long number_in(pid_t pid, const char *file, const char *field, int base)
{
    char path[64], line[256];
    long long number = -1;
    size_t length = strlen(field);
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    FILE *lines = fopen(path, "r");
    while (lines && number < 0 && fgets(line, sizeof line, lines))
        if (strncmp(line, field, length) == 0 && line[length] == ':')
            number = (long long)strtoull(line + length + 1, NULL, base);
    if (lines)
        fclose(lines);
    return number;
}

long long process_number(pid_t pid, const char *field, int base)
{
    return number_in(pid, "status", field, base);
}

struct process_cost process_cost(pid_t pid)
{
    struct process_cost cost = {number_in(pid, "smaps_rollup", "Pss", 10), number_in(pid, "status", "VmRSS", 10), -1};
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *folder = opendir(path);
    if (!folder)
        return cost;
    cost.descriptors = 0;
    for (struct dirent *entry; (entry = readdir(folder));)
        cost.descriptors += entry->d_name[0] != '.';
    closedir(folder);
    return cost;
}
