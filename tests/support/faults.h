/* faults.h - tests/support/fault_server.py as a child of the test: an HTTP server that misbehaves as the path of a request says. */
#ifndef TEST_FAULTS_H
#define TEST_FAULTS_H

#include <sys/types.h>

struct faults {
    pid_t pid;
    int input; /* its standard input; closing it ends the server */
    char ports[200];
};

/* arguments: those of fault_server.py, ended by NULL. Waits until it listens; fails the test when it does not. */
void faults_start(struct faults *, const char *const arguments[]);
/* The same with another program that prints its ports so: tests/support/fake_imds.py. */
void faults_start_program(struct faults *, const char *path, const char *const arguments[]);
void faults_stop(struct faults *);
/* The port of "plain", or of a name given with --tls. */
int faults_port(const struct faults *, const char *name);

#endif
