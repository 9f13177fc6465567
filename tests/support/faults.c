#include "faults.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
/* cmocka.h wants these before it */
#include <cmocka.h>

enum { ARGUMENTS = 20 };

void faults_start(struct faults *f, const char *const arguments[])
{
    faults_start_program(f, TEST_SOURCE "/tests/support/fault_server.py", arguments);
}

void faults_start_program(struct faults *f, const char *path, const char *const arguments[])
{
    int input[2], output[2];
    const char *line[ARGUMENTS + 4] = {"python3", "-IS", path};
    for (int i = 0; arguments && arguments[i] && i < ARGUMENTS; i++)
        line[3 + i] = arguments[i];
    *f = (struct faults){0};
    assert_int_equal(pipe2(input, O_CLOEXEC), 0);
    assert_int_equal(pipe2(output, O_CLOEXEC), 0);
    f->pid = fork();
    if (f->pid == 0) {
        dup2(input[0], 0);
        dup2(output[1], 1);
        execvp(line[0], (char *const *)(uintptr_t)line);
        _exit(127);
    }
    close(input[0]);
    close(output[1]);
    f->input = input[1];
    size_t length = 0;
    ssize_t count;
    while (length < sizeof f->ports - 1 && !memchr(f->ports, '\n', length) &&
           (count = read(output[0], f->ports + length, sizeof f->ports - 1 - length)) > 0)
        length += (size_t)count;
    close(output[0]);
    if (strncmp(f->ports, "plain ", 6) != 0) {
        faults_stop(f);
        fail_msg("python3 %s did not start", path);
    }
}

void faults_stop(struct faults *f)
{
    if (f->pid <= 0)
        return;
    close(f->input);
    kill(f->pid, SIGKILL);
    waitpid(f->pid, NULL, 0);
    f->pid = 0;
}

int faults_port(const struct faults *f, const char *name)
{
    char word[40];
    int port, used;
    for (const char *at = f->ports; sscanf(at, "%39s %d%n", word, &port, &used) == 2; at += used)
        if (strcmp(word, name) == 0)
            return port;
    fail_msg("the fault server has no port %s", name);
    return 0;
}
