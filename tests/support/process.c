#include "process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

long long process_number(pid_t pid, const char *field, int base)
{
    char path[64], line[256];
    long long number = -1;
    size_t length = strlen(field);
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *status = fopen(path, "r");
    while (status && number < 0 && fgets(line, sizeof line, status))
        if (strncmp(line, field, length) == 0 && line[length] == ':')
            number = (long long)strtoull(line + length + 1, NULL, base);
    if (status)
        fclose(status);
    return number;
}
