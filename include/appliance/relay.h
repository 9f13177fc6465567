/* relay.h - a TCP port of this node that always leads to the present target: where clients of the SQL service or of ZooKeeper connect,
 * wherever that runs at the moment. Bytes only: it knows no protocol, no name server and no Lua.
 * - A connection is accepted at once. While there is no target, or none answers, it waits, for at most hold_ms; then it is closed. While
 *   no target answers one connection looks for one and the others wait for what it finds, so a thousand of them make no storm.
 * - Of several targets the one that answered last is tried first, then the next ones in their order. One whose connection was given up
 *   by its client, or ended before the target had said a word, is tried last: it may accept and be of no use.
 * - An end of sending (FIN) is passed on, each direction by itself; so is a reset, behind what had arrived before it. A peer that is
 *   gone without a word is found by keepalive after about 90 s. There is no other limit of time: who reads slowly may do so for ever.
 * - What one side sends faster than the other takes stays in the kernel: the relay holds at most one piece (16 KiB, or one
 *   of few pipes of 512 KiB) a direction. An idle connection holds two descriptors and no buffer.
 * - Sessions to a target that is no longer named are reset, so that clients connect anew (keep = false), or live on (keep = true).
 * What it has to say of connections it says once and counts the rest: nobody fills a log by connecting.
 * Everything runs in the loop and nothing waits. SIGPIPE must be ignored, as it is in the program: relay_open sees to that. */
#ifndef APPLIANCE_RELAY_H
#define APPLIANCE_RELAY_H

#include "appliance/err.h"
#include "appliance/loop.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RELAY_MOST = 1024, /* connections, unless said otherwise */
    RELAY_MOST_CEILING = 65536,
    RELAY_TARGETS = 64,      /* of one relay */
    RELAY_HOLD_MS = 60000,   /* unless said otherwise */
    RELAY_CONNECT_MS = 5000, /* unless said otherwise: one target's time to answer */
};

struct relay_address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } sock;
    socklen_t length;
    char text[INET6_ADDRSTRLEN + 8]; /* "10.0.0.2:10000" or "[::1]:10000" */
};

/* "10.0.0.2:10010" or "[::1]:10010": numbers only, for names are looked up elsewhere (resolve.h). */
bool relay_address_parse(struct relay_address *, const char *text, struct err *);
/* The other way round, for an address of one of these two families. */
void relay_address_print(struct relay_address *);

struct relay_spec {
    const char *bind;   /* an address of this machine; "::" takes IPv4, too; NULL: 0.0.0.0 */
    uint16_t port;      /* 0: the kernel chooses */
    const char *name;   /* what the log calls it; copied; NULL: "relay" */
    int64_t hold_ms;    /* 0: nobody waits for a target */
    int64_t connect_ms; /* 0: RELAY_CONNECT_MS */
    bool keep;
    int most; /* 0: RELAY_MOST; fewer where the limit of open files leaves no room (two a connection), which is logged */
};

struct relay_counts {
    int established, held; /* now: connected through; still on their way there */
    uint64_t served;       /* connected through so far */
    uint64_t refused;      /* reset when they came: `most` were there already */
    uint64_t expired;      /* closed at the end of their waiting */
    uint64_t cut;          /* reset because their target is no longer one */
};

struct relay;

/* Listens from now on. The relay has no target yet. */
struct relay *relay_open(struct loop *, const struct relay_spec *, struct err *);
/* Stops listening and resets every connection. */
void relay_close(struct relay *);
/* Replaces the targets; none is fine. False: one of them is no address (none was replaced). */
bool relay_target(struct relay *, const char *const *addresses, size_t count, struct err *);
uint16_t relay_port(const struct relay *);
struct relay_counts relay_count(const struct relay *);

#endif
