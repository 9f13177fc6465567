/* fence.h: the kernel alone ends a process at its deadline. Nothing of ours runs meanwhile: no loop, and no deadline thread. */
#include "appliance/clock.h"
#include "appliance/deadline.h"
#include "appliance/fence.h"

#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* A process with a group of its own, and with another in that group, which `second` (unless NULL) is told. */
static pid_t start(pid_t *second)
{
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        pid_t other = second ? fork() : getpid();
        if (second && other == 0)
            for (;;)
                pause();
        if (write(ready[1], &other, sizeof other) != sizeof other)
            _exit(1);
        for (;;)
            pause();
    }
    pid_t other = 0;
    assert_int_equal(read(ready[0], &other, sizeof other), sizeof other);
    close(ready[0]);
    close(ready[1]);
    if (second)
        *second = other;
    return pid;
}

static int64_t in_ms(int64_t ms)
{
    return clock_boot_ns() + ms * NS_PER_MS;
}

static char state_of(pid_t pid)
{
    char path[64], state = 'X';
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *in = fopen(path, "re");
    if (!in)
        return state;
    if (fscanf(in, "%*d (%*[^)]) %c", &state) != 1)
        state = 'X';
    fclose(in);
    return state;
}

static void is_killed(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static int descriptors(void)
{
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

/* As the reaper does it. */
static pid_t keeper_ends(void)
{
    int status;
    pid_t pid = waitpid(-1, &status, __WALL);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    return pid;
}

static void kills_a_stopped_process_and_its_group_when_it_is_time(void **state)
{
    (void)state;
    pid_t other, pid = start(&other);
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1L), 0); /* the other one is ours to reap then */
    kill(-pid, SIGSTOP);
    int before = descriptors();
    int64_t due = in_ms(60);
    struct fence *f = fence_make(pid, due);
    assert_non_null(f);
    is_killed(pid);
    int64_t late = clock_boot_ns() - due;
    assert_true(late >= 0 && late < 5 * NS_PER_S);
    is_killed(other);
    struct fence *of;
    assert_true(fence_reaped(keeper_ends(), &of));
    assert_ptr_equal(of, f);
    assert_int_equal(descriptors(), before);
    prctl(PR_SET_CHILD_SUBREAPER, 0L);
}

static void follows_its_deadline(void **state)
{
    (void)state;
    pid_t pid = start(NULL);
    struct fence *f = fence_make(pid, INT64_MAX);
    assert_non_null(f);
    fence_set(f, in_ms(400));
    for (int i = 0; i < 50; i++) {
        usleep(10000);
        fence_set(f, in_ms(400));
    }
    assert_int_equal(state_of(pid), 'S');
    fence_set(f, INT64_MAX);
    usleep(500000);
    assert_int_equal(state_of(pid), 'S');
    fence_set(f, 0); /* over: now */
    is_killed(pid);
    assert_true(fence_reaped(keeper_ends(), NULL));
}

static void lets_go_of_a_process(void **state)
{
    (void)state;
    int before = descriptors();
    pid_t pid = start(NULL);
    struct fence *f = fence_make(pid, in_ms(100));
    assert_non_null(f);
    fence_end(f);
    fence_reap_all();
    int status;
    assert_int_equal(waitpid(-1, &status, WNOHANG | __WALL), 0); /* one child is left, and it lives */
    usleep(200000);
    assert_int_equal(state_of(pid), 'S');
    assert_int_equal(descriptors(), before);
    kill(pid, SIGKILL);
    is_killed(pid);
}

/* Who ends a keeper ends what it keeps: too early is no harm. */
static void kills_when_its_keeper_is_killed(void **state)
{
    (void)state;
    pid_t pid = start(NULL);
    struct fence *f = fence_make(pid, in_ms(600000));
    assert_non_null(f);
    char children[200] = "", path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    FILE *in = fopen(path, "re");
    assert_non_null(fgets(children, sizeof children, in));
    fclose(in);
    int keeper = 0;
    for (char *at = children; *at;) {
        int each = (int)strtol(at, &at, 10);
        if (each != pid && fence_is_keeper(each))
            keeper = each;
        while (*at == ' ')
            at++;
    }
    assert_true(keeper > 0);
    assert_false(fence_is_keeper(pid));
    kill(keeper, SIGSTOP); /* as if the whole container had been stopped */
    kill(keeper, SIGKILL);
    is_killed(pid);
    assert_int_equal(keeper_ends(), keeper);
    assert_true(fence_reaped(keeper, NULL));
    assert_false(fence_is_keeper(keeper));
}

/* The whole of a program that has the deadline thread, too, stands still. */
static void is_there_for_every_lease(void **state)
{
    (void)state;
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1L), 0);
    int told[2];
    assert_int_equal(pipe(told), 0);
    pid_t program = fork();
    if (program == 0) {
        pid_t pid = start(NULL);
        if (!deadline_start(0, NULL) || !deadline_guard(pid, -1, in_ms(300), NULL) || write(told[1], &pid, sizeof pid) != sizeof pid)
            _exit(1);
        raise(SIGSTOP);
        _exit(deadline_set(pid, in_ms(60000)) ? 2 : 0); /* killed: no later deadline brings it back */
    }
    pid_t pid;
    assert_int_equal(read(told[0], &pid, sizeof pid), sizeof pid);
    int status;
    assert_int_equal(waitpid(program, &status, WUNTRACED), program);
    assert_true(WIFSTOPPED(status));
    for (int64_t limit = clock_ns() + 20 * NS_PER_S; state_of(pid) != 'Z' && clock_ns() < limit;)
        usleep(1000);
    assert_int_equal(state_of(pid), 'Z');
    assert_int_equal(state_of(program), 'T');
    kill(program, SIGCONT);
    assert_int_equal(waitpid(program, &status, 0), program);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    is_killed(pid);
    close(told[0]);
    close(told[1]);
    prctl(PR_SET_CHILD_SUBREAPER, 0L);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kills_a_stopped_process_and_its_group_when_it_is_time),
        cmocka_unit_test(follows_its_deadline),
        cmocka_unit_test(lets_go_of_a_process),
        cmocka_unit_test(kills_when_its_keeper_is_killed),
        cmocka_unit_test(is_there_for_every_lease),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
