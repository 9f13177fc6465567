/* measure.c - runs one program and says what it took: measure STDIN STDOUT SECONDS PROGRAM...
 * STDOUT -: read here, and the time of its first byte taken. Prints "FIRST-MS EXIT-MS CPU-S RSS-KIB STATUS BYTES".
 * It is small and static, as the peak memory of a child begins with what its parent had at the exec. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static pid_t child;

static void too_long(int signal_number)
{
    (void)signal_number;
    kill(-child, SIGKILL);
}

int main(int argc, char **argv)
{
    if (argc < 5)
        return 64;
    int in = open(argv[1], O_RDONLY | O_CLOEXEC), ends[2] = {-1, -1}, out;
    int piped = strcmp(argv[2], "-") == 0;
    if (piped && pipe2(ends, O_CLOEXEC) == 0)
        out = ends[1];
    else
        out = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (in < 0 || out < 0) {
        perror("measure");
        return 1;
    }
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* a bench that is interrupted leaves nobody behind */
    signal(SIGTERM, too_long);
    double start = now_ms(), first = 0;
    child = fork();
    if (child == 0) {
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(in, 0);
        dup2(out, 1);
        execvp(argv[4], argv + 4);
        perror(argv[4]);
        _exit(127);
    }
    setpgid(child, child);
    close(out);
    signal(SIGALRM, too_long);
    alarm((unsigned)atoi(argv[3]));
    unsigned long long bytes = 0;
    static char piece[1 << 16];
    for (ssize_t got; piped && (got = read(ends[0], piece, sizeof piece)) != 0;) {
        if (got > 0 && !bytes)
            first = now_ms() - start;
        bytes += got > 0 ? (unsigned long long)got : 0;
    }
    int status;
    struct rusage used;
    while (wait4(child, &status, 0, &used) < 0)
        ;
    double end = now_ms() - start;
    kill(-child, SIGKILL);
    double cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    printf("%.3f %.3f %.3f %ld %d %llu\n", first, end, cpu, used.ru_maxrss,
           WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), bytes);
    return 0;
}
