/* stub.c - the server of ./dev bench s3: see stub.h.
 *   stub [--latency MILLISECONDS] [--rate MEGABYTES-A-SECOND] [--keep] [--tls CERTIFICATE KEY]
 * Prints "ready PORT PID" (127.0.0.1, a port the kernel chose) and serves until it is killed or its parent dies. */
#define _GNU_SOURCE
#include "stub.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

struct shape shape;
static SSL_CTX *tls;

static void *serve(void *argument)
{
    struct wire *wire = argument;
    bool open = true;
    if (tls) {
        wire->tls = SSL_new(tls);
        SSL_set_fd(wire->tls, wire->fd);
        open = SSL_accept(wire->tls) == 1;
    }
    while (open && wire_head(wire))
        open = answer(wire);
    SSL_free(wire->tls);
    close(wire->fd);
    free(wire);
    return NULL;
}

static void options(char **argv)
{
    for (; *argv; argv++) {
        if (strcmp(*argv, "--keep") == 0) {
            shape.keep = true;
        } else if (strcmp(*argv, "--latency") == 0 && argv[1]) {
            shape.latency_us = (unsigned)(atof(*++argv) * 1000);
        } else if (strcmp(*argv, "--rate") == 0 && argv[1]) {
            shape.rate = (uint64_t)(atof(*++argv) * 1e6);
        } else if (strcmp(*argv, "--tls") == 0 && argv[1] && argv[2]) {
            tls = SSL_CTX_new(TLS_server_method());
            if (SSL_CTX_use_certificate_chain_file(tls, argv[1]) != 1 || SSL_CTX_use_PrivateKey_file(tls, argv[2], SSL_FILETYPE_PEM) != 1) {
                fprintf(stderr, "stub: no certificate and key in %s, %s\n", argv[1], argv[2]);
                exit(64);
            }
            argv += 2;
        } else {
            fprintf(stderr, "stub: what is %s?\n", *argv);
            exit(64);
        }
    }
}

int main(int argc, char **argv)
{
    (void)argc;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    options(argv + 1);
    content_make();
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1, buffer = 1 << 20;
    /* A shaped connection must not take in megabytes at once: what waits in buffers is not paced. */
    if (shape.rate) {
        setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
        setsockopt(listener, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    }
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 1024) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) < 0) {
        perror("stub: no port");
        return 1;
    }
    printf("ready %d %d\n", ntohs(address.sin_port), getpid());
    fflush(stdout);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, 262144);
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct wire *wire = calloc(1, sizeof *wire);
        pthread_t thread;
        wire->fd = fd;
        if (pthread_create(&thread, &attributes, serve, wire) != 0) {
            close(fd);
            free(wire);
        }
    }
}
