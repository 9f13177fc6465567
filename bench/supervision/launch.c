/* launch.c - `launch [-p] [-u UID] [-g CGROUP] STAMP PROGRAM ARGS...`: stamps the clock, then becomes PROGRAM.
 * -p: PROGRAM is PID 1 of a new PID namespace with a /proc of its own (and launch waits for it); -u: as that user; -g: in that cgroup. */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int option, as_pid1 = 0, uid = 0;
    const char *cgroup = NULL;
    while ((option = getopt(argc, argv, "+pu:g:")) != -1) {
        if (option == 'p')
            as_pid1 = 1;
        else if (option == 'u')
            uid = atoi(optarg);
        else if (option == 'g')
            cgroup = optarg;
        else
            return 64;
    }
    if (as_pid1) {
        if (unshare(CLONE_NEWPID | CLONE_NEWNS) < 0)
            return 111;
        pid_t child = fork();
        if (child > 0) {
            int status;
            while (waitpid(child, &status, 0) < 0)
                ;
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || mount("proc", "/proc", "proc", 0, NULL) < 0)
            return 111;
    }
    if (cgroup) {
        char path[4096];
        snprintf(path, sizeof path, "%s/cgroup.procs", cgroup);
        int procs = open(path, O_WRONLY | O_CLOEXEC);
        if (procs < 0 || write(procs, "0", 1) < 0)
            return 111;
        close(procs);
    }
    umask(0); /* the children may be another user's */
    int file = open(argv[optind], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (uid && (setgid((gid_t)uid) < 0 || setuid((uid_t)uid) < 0))
        return 111;
    umask(022);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    dprintf(file, "launch %lld %d\n", (long long)now.tv_sec * 1000000000 + now.tv_nsec, (int)getpid());
    execvp(argv[optind + 1], argv + optind + 1);
    return 127;
}
