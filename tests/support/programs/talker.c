/* talker NAME FILE LINES PAUSE-MS - prints LINES numbered lines, pauses, and so on for ever: "NAME NUMBER xxx." with more x and fewer.
 * The number goes on where the run before has left it: FILE is mapped and counts what has been printed. So whoever reads the lines of
 * all runs can tell each one that is missing. Killed between a line and its count, the next run prints that number once more. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

int main(int count, char **arguments)
{
    if (count < 5)
        return 64;
    int fd = open(arguments[2], O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0 || ftruncate(fd, sizeof(uint64_t)) < 0)
        return 99;
    volatile uint64_t *said = mmap(NULL, sizeof *said, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (said == MAP_FAILED)
        return 99;
    long lines = atol(arguments[3]), pause_ms = atol(arguments[4]);
    char filling[80], line[256];
    memset(filling, 'x', sizeof filling);
    for (;;) {
        for (long i = 0; i < lines; i++) {
            unsigned long long number = *said + 1;
            int length = snprintf(line, sizeof line, "%s %llu %.*s.\n", arguments[1], number, (int)(number % sizeof filling), filling);
            if (write(1, line, (size_t)length) != length) /* shorter than PIPE_BUF: whole or not at all */
                return 1;
            *said = number;
        }
        struct timespec pause = {.tv_sec = pause_ms / 1000, .tv_nsec = pause_ms % 1000 * 1000000};
        nanosleep(&pause, NULL);
    }
}
