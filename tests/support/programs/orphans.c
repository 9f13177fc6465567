/* orphans N chain|burst|stay|vanish - makes N processes whose parent has ended, prints "done N" when they are made (chain: and have
 * ended), and waits for TERM.
 *   chain   one after the other, each ends at once     burst  all wait, and end at the same moment
 *   stay    they live on until they are killed         */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t asked;

static void on_term(int number)
{
    asked = number;
}

int main(int count, char **arguments)
{
    if (count < 3)
        return 64;
    long wanted = atol(arguments[1]);
    int burst = strcmp(arguments[2], "burst") == 0, stay = strcmp(arguments[2], "stay") == 0;
    signal(SIGTERM, on_term);
    int gate[2];
    if (pipe(gate) < 0)
        return 1;
    /* The middle process forks a thousand each time and ends, so the parents are gone before the children are. */
    for (long made = 0; made < wanted && !asked;) {
        long batch = wanted - made < 1000 ? wanted - made : 1000;
        if (!burst && !stay)
            batch = 1;
        pid_t middle = fork();
        if (middle < 0)
            return 1;
        if (middle == 0) {
            signal(SIGTERM, SIG_DFL); /* here already: a child may be asked before it has run */
            for (long i = 0; i < batch; i++) {
                pid_t pid = fork();
                if (pid < 0)
                    _exit(1);
                if (pid == 0) {
                    char end;
                    if (burst) {
                        close(gate[1]);
                        while (read(gate[0], &end, 1) > 0) {}
                    } else if (stay) {
                        for (;;)
                            pause();
                    }
                    _exit(0);
                }
            }
            _exit(0);
        }
        int status;
        waitpid(middle, &status, 0);
        if (status != 0)
            return 1;
        made += batch;
    }
    close(gate[0]);
    close(gate[1]);
    printf("done %ld\n", wanted);
    fflush(stdout);
    sigset_t term, before;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, &before);
    while (!asked)
        sigsuspend(&before);
    return 0;
}
