#include "appliance/resolve.h"
#include "appliance/offload.h"
#include "appliance/sys.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the helper thread works on. */
struct job {
    char name[RESOLVE_NAME];
    struct resolve_answer answer;
};

/* One that is under way. It lives until its thread has ended, whether somebody still waits for it or not. */
struct lookup {
    char name[RESOLVE_NAME];
    struct resolve *askers;
    struct lookup *next;
};

static struct {
    struct lookup *lookups;
    int count;
    struct resolve *queue; /* the longest waiting first */
} self;

/* --- on the helper thread --- */

static bool is_among(const struct resolve_answer *answer, const char *address)
{
    for (size_t i = 0; i < answer->count; i++)
        if (strcmp(answer->addresses[i], address) == 0)
            return true;
    return false;
}

static void explain(struct err *err, const char *name, int code)
{
    switch (code) {
    case EAI_NONAME:
#ifdef EAI_NODATA
    case EAI_NODATA:
#endif
        err_set(err, ERR_MISSING, "%s: there is no such name, or it has no address", name);
        return;
    case EAI_AGAIN: err_set(err, ERR_TIMEOUT, "%s: no name server answered; those asked are in /etc/resolv.conf", name); return;
    case EAI_SYSTEM: err_errno(err, "%s: can't be looked up", name); return;
    default: err_set(err, ERR_SYSTEM, "%s: can't be looked up: %s", name, gai_strerror(code)); return;
    }
}

static void look_up(void *argument)
{
    struct job *job = argument;
    struct resolve_answer *answer = &job->answer;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *all = NULL;
    errno = 0;
    int code = sys.getaddrinfo(job->name, NULL, &hints, &all);
    for (struct addrinfo *a = code == 0 ? all : NULL; a && answer->count < RESOLVE_ADDRESSES; a = a->ai_next) {
        char *text = answer->addresses[answer->count];
        if (getnameinfo(a->ai_addr, a->ai_addrlen, text, RESOLVE_ADDRESS, NULL, 0, NI_NUMERICHOST) == 0 && !is_among(answer, text))
            answer->count++;
    }
    if (all)
        freeaddrinfo(all);
    answer->ok = answer->count > 0;
    if (!answer->ok)
        explain(&answer->err, job->name, code ? code : EAI_NONAME);
}

/* --- in the loop --- */

static void start_queued(void);

static void forget(struct lookup *lookup)
{
    for (struct lookup **at = &self.lookups; *at; at = &(*at)->next)
        if (*at == lookup) {
            *at = lookup->next;
            break;
        }
    self.count--;
    free(lookup);
}

static void answer_one(struct resolve *r, const struct resolve_answer *answer)
{
    r->lookup = NULL;
    r->next = NULL;
    r->done = true;
    r->answer = *answer;
    r->ended(r);
}

static void looked_up(void *argument, void *owner)
{
    const struct job *job = argument;
    struct lookup *lookup = owner;
    for (struct resolve *r; (r = lookup->askers);) { /* one at a time: being told, an asker may stop another */
        lookup->askers = r->next;
        answer_one(r, &job->answer);
    }
    forget(lookup);
    start_queued();
}

static bool start_lookup(struct resolve *r, struct err *err)
{
    struct lookup *lookup = calloc(1, sizeof *lookup);
    struct job *job = calloc(1, sizeof *job);
    if (!lookup || !job) {
        free(lookup);
        free(job);
        return err_errno(err, "%s", r->name);
    }
    memcpy(job->name, r->name, sizeof job->name);
    memcpy(lookup->name, r->name, sizeof lookup->name);
    if (!offload_start(r->loop, job, look_up, looked_up, free, lookup, err)) {
        free(lookup);
        free(job);
        return false;
    }
    lookup->next = self.lookups;
    self.lookups = lookup;
    self.count++;
    r->lookup = lookup;
    r->next = NULL;
    lookup->askers = r;
    return true;
}

static bool join_lookup(struct resolve *r)
{
    for (struct lookup *lookup = self.lookups; lookup; lookup = lookup->next)
        if (strcmp(lookup->name, r->name) == 0) {
            r->lookup = lookup;
            r->next = lookup->askers;
            lookup->askers = r;
            return true;
        }
    return false;
}

/* Whoever waits for its turn with a name that is now being looked up has it. */
static void join_queued(void)
{
    for (struct resolve **at = &self.queue; *at;) {
        struct resolve *r = *at, *next = r->next;
        if (join_lookup(r))
            *at = next;
        else
            at = &r->next;
    }
}

static void start_queued(void)
{
    while (self.queue && self.count < RESOLVE_AT_ONCE) {
        struct resolve *r = self.queue;
        struct resolve_answer failed = {0};
        self.queue = r->next;
        if (start_lookup(r, &failed.err))
            join_queued();
        else
            answer_one(r, &failed);
    }
}

static bool is_address(const char *name, struct resolve_answer *answer)
{
    char bare[RESOLVE_ADDRESS];
    size_t length = strlen(name);
    bool in_brackets = length > 2 && name[0] == '[' && name[length - 1] == ']';
    unsigned char raw[sizeof(struct in6_addr)];
    snprintf(bare, sizeof bare, "%.*s", (int)(in_brackets ? length - 2 : length), name + in_brackets);
    if (length >= sizeof bare || (inet_pton(AF_INET, bare, raw) != 1 && inet_pton(AF_INET6, bare, raw) != 1))
        return false;
    answer->ok = true;
    answer->count = 1;
    memcpy(answer->addresses[0], bare, sizeof bare);
    return true;
}

bool resolve_start(struct resolve *r, struct loop *loop, const char *name, void (*ended)(struct resolve *), struct err *err)
{
    *r = (struct resolve){.loop = loop, .ended = ended};
    size_t length = strlen(name);
    if (length == 0 || length >= sizeof r->name)
        return err_set(err, ERR_INVALID, "'%.60s%s': a name has from 1 to %d characters", name, length > 60 ? "..." : "", RESOLVE_NAME - 1);
    memcpy(r->name, name, length);
    r->done = is_address(name, &r->answer);
    if (r->done || join_lookup(r))
        return true;
    if (self.count < RESOLVE_AT_ONCE)
        return start_lookup(r, err);
    struct resolve **at = &self.queue;
    while (*at)
        at = &(*at)->next;
    *at = r;
    return true;
}

void resolve_stop(struct resolve *r)
{
    for (struct resolve **at = r->lookup ? &r->lookup->askers : &self.queue; *at; at = &(*at)->next)
        if (*at == r) {
            *at = r->next;
            break;
        }
    r->lookup = NULL;
    r->next = NULL;
}
