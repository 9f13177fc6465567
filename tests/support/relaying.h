/* relaying.h - tests of the relay: it, its clients and its targets in one process and one loop, over real sockets of this machine.
 * Clients and targets never wait: what isn't there yet is waited for by turning the loop. */
#ifndef TEST_RELAYING_H
#define TEST_RELAYING_H

#include "turning.h"

#include "appliance/log.h"
#include "appliance/relay.h"
#include "fault.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static struct loop *loop;
static struct relay *relay;
static struct relay_spec spec;
static char said[8192]; /* what the log got */
static int descriptors_before;

static void keep_log(enum log_level level, const char *text, size_t length)
{
    (void)level;
    size_t have = strlen(said);
    snprintf(said + have, sizeof said - have, "%.*s\n", (int)length, text);
}

static inline int lines_said(const char *word)
{
    int count = 0;
    for (const char *at = said; (at = strstr(at, word)); at += strlen(word))
        count++;
    return count;
}

static inline int begin(void **state)
{
    (void)state;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    descriptors_before = open_descriptors();
    loop = loop_new(NULL);
    assert_non_null(loop);
    said[0] = 0;
    log_set_sink(keep_log);
    spec = (struct relay_spec){.bind = "127.0.0.1", .name = "test", .hold_ms = 20000};
    return 0;
}

static inline int end(void **state)
{
    (void)state;
    fault_clear();
    relay_close(relay);
    relay = NULL;
    assert_int_equal(loop_watch_count(loop), 0);
    assert_int_equal(loop_timer_count(loop), 0);
    loop_free(loop);
    log_set_sink(NULL);
    assert_int_equal(open_descriptors(), descriptors_before);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

static inline void open_relay(void)
{
    struct err err;
    relay = relay_open(loop, &spec, &err);
    if (!relay)
        fail_msg("%s", err.text);
}

/* --- servers: what the relay leads to --- */

struct server {
    int fd;
    char address[64];
};

static inline struct server server_on(const char *host, uint16_t port, int backlog)
{
    struct server s = {0};
    bool v6 = strchr(host, ':') != NULL;
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    inet_pton(v6 ? AF_INET6 : AF_INET, host, v6 ? (void *)&six.sin6_addr : (void *)&v4.sin_addr);
    struct sockaddr *address = v6 ? (struct sockaddr *)&six : (struct sockaddr *)&v4;
    socklen_t size = v6 ? sizeof six : sizeof v4;
    int yes = 1;
    s.fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    setsockopt(s.fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(s.fd, address, size) < 0 || listen(s.fd, backlog) < 0 || getsockname(s.fd, address, &size) < 0)
        fail_msg("listen on %s: %s", host, strerror(errno));
    snprintf(s.address, sizeof s.address, v6 ? "[%s]:%u" : "%s:%u", host, (unsigned)ntohs(v6 ? six.sin6_port : v4.sin_port));
    return s;
}

static inline struct server server_new(void)
{
    return server_on("127.0.0.1", 0, 4096);
}

/* A place where nobody listens: one that was just given up. */
static inline struct server server_gone(void)
{
    struct server s = server_new();
    close(s.fd);
    s.fd = -1;
    return s;
}

static inline uint16_t server_port(const struct server *s)
{
    return (uint16_t)atoi(strrchr(s->address, ':') + 1);
}

static inline void lead_to(const struct server *first, const struct server *second)
{
    const char *addresses[] = {first ? first->address : NULL, second ? second->address : NULL};
    struct err err;
    if (!relay_target(relay, addresses, (size_t)(first != NULL) + (second != NULL), &err))
        fail_msg("%s", err.text);
}

/* The usual beginning: a relay, and a server that it leads to. */
static inline struct server open_to_server(void)
{
    struct server s = server_new();
    open_relay();
    lead_to(&s, NULL);
    return s;
}

static inline bool taken(const struct server *s, int *fd)
{
    *fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    return *fd >= 0;
}

/* The next connection that reaches this server. */
static inline int take(const struct server *s)
{
    int fd;
    TURN_UNTIL(loop, taken(s, &fd));
    return fd;
}

/* --- clients, and what goes between both --- */

static inline int dial(const char *host, uint16_t port)
{
    bool v6 = strchr(host, ':') != NULL;
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    inet_pton(v6 ? AF_INET6 : AF_INET, host, v6 ? (void *)&six.sin6_addr : (void *)&v4.sin_addr);
    int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (connect(fd, v6 ? (struct sockaddr *)&six : (struct sockaddr *)&v4, v6 ? sizeof six : sizeof v4) < 0 && errno != EINPROGRESS)
        fail_msg("connect to %s:%u: %s", host, (unsigned)port, strerror(errno));
    return fd;
}

static inline int client_new(void)
{
    return dial("127.0.0.1", relay_port(relay));
}

static inline void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static inline bool got(int fd, char *text, size_t length, size_t *have)
{
    ssize_t count = recv(fd, text + *have, length - *have, 0);
    if (count == 0)
        fail_msg("the end came after %zu bytes: %.*s", *have, (int)*have, text);
    if (count < 0 && errno != EAGAIN)
        fail_msg("recv: %s", strerror(errno));
    *have += count > 0 ? (size_t)count : 0;
    return *have == length;
}

static inline void hears(int fd, const char *expected)
{
    char text[256] = "";
    size_t have = 0, length = strlen(expected);
    TURN_UNTIL(loop, got(fd, text, length, &have));
    assert_string_equal(text, expected);
}

/* What reading says of a socket that has no more bytes: 0 the end, -EAGAIN nothing yet, -ECONNRESET ... */
static inline int ending(int fd)
{
    char byte;
    ssize_t count = recv(fd, &byte, 1, 0);
    if (count > 0)
        fail_msg("there are bytes: '%c'", byte);
    return count == 0 ? 0 : -errno;
}

static inline void hears_end(int fd)
{
    int how = -EAGAIN;
    TURN_UNTIL(loop, (how = ending(fd)) != -EAGAIN);
    assert_int_equal(how, 0);
}

static inline void is_reset(int fd)
{
    int how = -EAGAIN;
    TURN_UNTIL(loop, (how = ending(fd)) != -EAGAIN);
    assert_int_equal(how, -ECONNRESET);
}

static inline void reset(int fd)
{
    struct linger now = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
}

/* A client, and the other end of its connection at the server. */
struct pair {
    int client, target;
};

static inline struct pair connected(const struct server *s)
{
    struct pair p = {.client = client_new()};
    p.target = take(s);
    TURN_UNTIL(loop, relay_count(relay).held == 0);
    return p;
}

static inline void talk(struct pair p)
{
    say(p.client, "question");
    hears(p.target, "question");
    say(p.target, "answer");
    hears(p.client, "answer");
}

static inline void pair_close(struct pair p)
{
    close(p.client);
    close(p.target);
}

/* The loop has nothing more to do for the moment. */
static inline void settle(void)
{
    for (int i = 0; i < 50; i++)
        loop_turn(loop, 0, NULL);
}

#endif
