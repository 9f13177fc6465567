/* probe.h - finds out whether a service answers: a connection to its port, a small HTTP GET, or a line it printed.
 * One try at a time, bounded in time and bytes, on a numeric address (loopback in practice); allocates nothing after needle_new.
 * Until it is ready a try follows each period, and soon after each line the service prints (probe_line).
 * As a health probe it goes on at a slower pace and says when so many tries in a row have missed; one that could not be made, for want of
 * descriptors or memory of our own, is no miss. */
#ifndef APPLIANCE_PROBE_H
#define APPLIANCE_PROBE_H

#include "appliance/loop.h"
#include "appliance/service.h"

#include <stdbool.h>
#include <stddef.h>

/* A text that is searched for in a stream that comes in pieces, white space ignored on both sides (Knuth-Morris-Pratt). */
struct needle;
struct needle *needle_new(const char *text); /* NULL: no memory */
void needle_free(struct needle *);
/* `matched` is the search's state, 0 at first. True as soon as the text has been seen; an empty text is seen at once. */
bool needle_scan(const struct needle *, size_t *matched, const char *data, size_t length);

enum probe_goal { PROBE_READY, PROBE_HEALTH };
enum probe_phase { PROBE_IDLE, PROBE_CONNECTING, PROBE_ANSWERING };

enum {
    PROBE_TRY_MS = 5000,     /* a peer that says nothing for so long has missed this try */
    PROBE_DEBOUNCE_MS = 5,   /* a burst of lines prompts one try */
    PROBE_CEILING = 1 << 20, /* bytes of an answer that are looked at */
};

struct probe {
    /* Set by probe_start. Both run in the loop; they may call probe_stop. */
    void (*ready)(struct probe *);                    /* once, for PROBE_READY */
    void (*failing)(struct probe *, const char *why); /* once, for PROBE_HEALTH */
    const struct ready_spec *spec;
    const struct needle *needle; /* of spec->has; NULL: any answer will do */
    struct loop *loop;           /* NULL: not started */
    enum probe_goal goal;
    enum probe_phase phase;
    struct timer timer; /* idle: the next try; else: the end of this one */
    struct watch io;
    int64_t pace_ms; /* until the next try; grows up to the period */
    bool prompted;   /* a line came while a try was under way */
    int misses;      /* in a row */
    char why[96];    /* the last miss: "127.0.0.1:8080: connection refused" */
    /* the answer, as far as it was read */
    size_t taken, matched, line_length;
    long body_left; /* -1: until the peer closes */
    int status;
    bool in_body;
    char line[64]; /* the beginning of the current line of the head */
};

void probe_start(struct probe *, struct loop *, const struct ready_spec *, const struct needle *, enum probe_goal,
                 void (*ready)(struct probe *), void (*failing)(struct probe *, const char *why));
void probe_stop(struct probe *); /* fine when stopped already or zeroed */
/* The service has printed a line. READY_LINE looks at it; the others try soon. */
void probe_line(struct probe *, const char *text, size_t length);
static inline bool probe_is_started(const struct probe *p)
{
    return p->loop != NULL;
}

#endif
