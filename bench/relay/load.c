/* load.c - both ends of what the bench sends through relays; a thread a connection, so that it is never the one that is measured.
 *   serve PORT            a connection says in its first 16 bytes what it wants, then gets it, again and again: see struct wish
 *   get PORT N BYTES      N connections at once fetch BYTES each           -> seconds
 *   put PORT N BYTES      ... send BYTES each, until all is taken          -> seconds
 *   ping PORT N ROUNDS    ... ask and wait for the answer, 64 bytes each, ROUNDS times -> median and 99th percentile in us, questions a second
 *   connect PORT ROUNDS   connects, asks once and closes, ROUNDS times     -> median in us
 *   idle PORT N           N connections, each asked once; says "ready" and holds them until its input ends */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE = 64, PIECE = 256 * 1024 };

struct wish {
    uint64_t kind; /* 'g', 'p' or 'e' (one echo of MESSAGE bytes) */
    uint64_t bytes;
};

static uint16_t port;
static uint64_t bytes, rounds;
static pthread_barrier_t all_there;
static uint32_t *times_us; /* of every round of every connection */

static void fail(const char *what)
{
    perror(what);
    _exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int dial(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) < 0)
        fail("connect");
    return fd;
}

static int receive(int fd, void *data, size_t length) /* 0: the end came first */
{
    for (size_t have = 0; have < length;) {
        ssize_t count = recv(fd, (char *)data + have, length - have, 0);
        if (count <= 0)
            return 0;
        have += (size_t)count;
    }
    return 1;
}

static int transmit(int fd, const void *data, size_t length)
{
    for (size_t sent = 0; sent < length;) {
        ssize_t count = send(fd, (const char *)data + sent, length - sent, MSG_NOSIGNAL);
        if (count <= 0)
            return 0;
        sent += (size_t)count;
    }
    return 1;
}

static int transmit_many(int fd, char *piece, uint64_t length)
{
    for (; length > 0; length -= length < PIECE ? length : PIECE)
        if (!transmit(fd, piece, length < PIECE ? length : PIECE))
            return 0;
    return 1;
}

static int receive_many(int fd, char *piece, uint64_t length)
{
    while (length > 0) {
        ssize_t count = recv(fd, piece, length < PIECE ? length : PIECE, 0);
        if (count <= 0)
            return 0;
        length -= (uint64_t)count;
    }
    return 1;
}

static void *serve_one(void *argument)
{
    int fd = (int)(intptr_t)argument;
    char *piece = NULL, message[MESSAGE];
    struct wish wish;
    while (receive(fd, &wish, sizeof wish)) {
        if (wish.kind == 'e') {
            if (!receive(fd, message, MESSAGE) || !transmit(fd, message, MESSAGE))
                break;
            continue;
        }
        if (!piece && !(piece = calloc(1, PIECE)))
            fail("memory");
        if (!(wish.kind == 'g' ? transmit_many : receive_many)(fd, piece, wish.bytes) || (wish.kind == 'p' && !transmit(fd, "", 1)))
            break;
    }
    free(piece);
    close(fd);
    return NULL;
}

static void start_thread(void *(*run)(void *), intptr_t argument, pthread_t *thread)
{
    pthread_attr_t small;
    pthread_t detached;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 * 1024);
    if (!thread)
        pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
    if (pthread_create(thread ? thread : &detached, &small, run, (void *)argument) != 0)
        fail("thread");
}

static void serve(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) < 0 || listen(listener, 4096) < 0)
        fail("listen");
    puts("ready");
    fflush(stdout);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0)
            fail("accept");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        start_thread(serve_one, fd, NULL);
    }
}

static void echo_once(int fd)
{
    struct {
        struct wish wish;
        char message[MESSAGE];
    } question = {.wish = {.kind = 'e'}};
    char answer[MESSAGE];
    if (!transmit(fd, &question, sizeof question) || !receive(fd, answer, MESSAGE))
        fail("echo");
}

static void *get_one(void *argument)
{
    (void)argument;
    struct wish wish = {.kind = 'g', .bytes = bytes};
    char *piece = malloc(PIECE);
    int fd = dial();
    echo_once(fd);
    pthread_barrier_wait(&all_there);
    if (!transmit(fd, &wish, sizeof wish) || !receive_many(fd, piece, bytes))
        fail("get");
    close(fd);
    return NULL;
}

static void *put_one(void *argument)
{
    (void)argument;
    struct wish wish = {.kind = 'p', .bytes = bytes};
    char *piece = calloc(1, PIECE), taken;
    int fd = dial();
    echo_once(fd);
    pthread_barrier_wait(&all_there);
    if (!transmit(fd, &wish, sizeof wish) || !transmit_many(fd, piece, bytes) || !receive(fd, &taken, 1))
        fail("put");
    close(fd);
    return NULL;
}

static void *ping_one(void *argument)
{
    uint32_t *own = times_us + (uint64_t)(intptr_t)argument * rounds;
    int fd = dial();
    echo_once(fd);
    pthread_barrier_wait(&all_there);
    for (uint64_t i = 0; i < rounds; i++) {
        double begun = now();
        echo_once(fd);
        own[i] = (uint32_t)((now() - begun) * 1e7); /* tenths */
    }
    close(fd);
    return NULL;
}

static int by_time(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static double at_once(void *(*run)(void *), int count)
{
    pthread_t threads[count];
    pthread_barrier_init(&all_there, NULL, (unsigned)count + 1);
    for (int i = 0; i < count; i++)
        start_thread(run, i, &threads[i]);
    pthread_barrier_wait(&all_there);
    double begun = now();
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    return now() - begun;
}

static void print_times(uint64_t count, double seconds)
{
    qsort(times_us, count, sizeof *times_us, by_time);
    printf("%.1f %.1f %.0f\n", times_us[count / 2] / 10.0, times_us[count * 99 / 100] / 10.0, (double)count / seconds);
}

int main(int argc, char **argv)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    const char *mode = argc > 2 ? argv[1] : "";
    port = (uint16_t)(argc > 2 ? atoi(argv[2]) : 0);
    int count = argc > 3 ? atoi(argv[3]) : 0;
    bytes = rounds = argc > 4 ? strtoull(argv[4], NULL, 10) : (uint64_t)count;
    times_us = calloc(rounds * (uint64_t)(count > 0 ? count : 1) + 1, sizeof *times_us);
    if (strcmp(mode, "serve") == 0) {
        serve();
    } else if (strcmp(mode, "get") == 0) {
        printf("%.4f\n", at_once(get_one, count));
    } else if (strcmp(mode, "put") == 0) {
        printf("%.4f\n", at_once(put_one, count));
    } else if (strcmp(mode, "ping") == 0) {
        double seconds = at_once(ping_one, count);
        print_times(rounds * (uint64_t)count, seconds);
    } else if (strcmp(mode, "connect") == 0) {
        double all = now();
        for (uint64_t i = 0; i < rounds; i++) {
            double begun = now();
            int fd = dial();
            echo_once(fd);
            close(fd);
            times_us[i] = (uint32_t)((now() - begun) * 1e7);
        }
        print_times(rounds, now() - all);
    } else if (strcmp(mode, "idle") == 0) {
        for (int i = 0; i < count; i++)
            echo_once(dial());
        puts("ready");
        fflush(stdout);
        getchar();
    } else {
        fprintf(stderr, "usage: see the head of load.c\n");
        return 64;
    }
    return 0;
}
