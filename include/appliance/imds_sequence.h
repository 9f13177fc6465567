/* imds_sequence.h - the requests that lead to the instance's credentials, or to any other path of its metadata service: a state machine
 * that says what to send, how long to wait, and at the end what came of it, in words. It sends nothing itself.
 * A driver turns it:
 *     for (;;) switch (imds_next(&s, now)) {
 *     case IMDS_SEND: send s.request, never through a proxy and following no redirect; imds_replied(&s, now, random, &reply); break;
 *     case IMDS_PAUSE: sleep until s.wake_ms; break;
 *     case IMDS_DONE: take s.keys and s.role, or s.text; return;
 *     case IMDS_FAILED: tell s.err; return;
 *     }
 * Version 2 (with a token) is used, version 1 only when the settings allow it and the service answers the token request with 403, 404 or
 * 405: a token that does not come back is never a reason, for that is what a hop limit looks like. */
#ifndef APPLIANCE_IMDS_SEQUENCE_H
#define APPLIANCE_IMDS_SEQUENCE_H

#include "appliance/buf.h"
#include "appliance/credentials_keys.h"
#include "appliance/imds_settings.h"

enum { IMDS_TOKEN_SIZE = 1024, IMDS_ROLE_SIZE = 129, IMDS_URL_SIZE = 1024, IMDS_TOKEN_TTL_S = 21600, IMDS_TEXT_LIMIT = 64 * 1024 };

/* Shared by all sequences of one endpoint; zeroed = none yet. Its owner wipes it at the end. */
struct imds_token {
    char text[IMDS_TOKEN_SIZE]; /* "": none */
    int64_t until_ms;
    bool not_known; /* the service knows no tokens, and we may do without */
};

struct imds_request {
    const char *method; /* "PUT" or "GET" */
    char url[IMDS_URL_SIZE];
    const char *token; /* for the header X-aws-ec2-metadata-token; NULL: none */
    int token_ttl_s;   /* for X-aws-ec2-metadata-token-ttl-seconds; 0: none */
    int connect_ms, first_byte_ms;
};

/* What became of a request. The difference between CONNECT_TIMEOUT and SILENT is what tells a hop limit from a blocked address. */
enum imds_fate {
    IMDS_ANSWERED,
    IMDS_NOBODY,          /* connection refused */
    IMDS_UNREACHABLE,     /* no route, network or host unreachable, or the name is not known */
    IMDS_CONNECT_TIMEOUT, /* no connection in connect_ms */
    IMDS_SILENT,          /* connected and sent, and no byte came back in first_byte_ms */
    IMDS_BROKEN_OFF,      /* the answer began and did not end, or was no HTTP */
};

struct imds_reply {
    enum imds_fate fate;
    int status;        /* of ANSWERED */
    struct bytes body; /* at most IMDS_TEXT_LIMIT bytes */
    int token_ttl_s;   /* of X-aws-ec2-metadata-token-ttl-seconds; 0: none */
    bool via;          /* a header says that a proxy was there: Via, X-Cache, Proxy-... */
};

enum imds_todo { IMDS_SEND, IMDS_PAUSE, IMDS_DONE, IMDS_FAILED };

struct imds_sequence {
    const struct imds_settings *settings;
    struct imds_token *token;
    struct imds_request request;
    int64_t wake_ms;
    /* The result: */
    struct credentials keys; /* of a sequence for credentials; taken over by the caller, or freed by imds_end */
    char role[IMDS_ROLE_SIZE];
    struct buf text; /* of a sequence for a path */
    struct err err;  /* DENIED and MISSING, INVALID: asking again soon is of no use */
    /* The rest is its own. */
    char path[IMDS_URL_SIZE / 2];
    int state;
    int64_t started_ms;
    int tries;       /* of the present request */
    int roles_lost;  /* a role's document was not there though its name was */
    bool renewed;    /* the token was thrown away once, after a 401 */
    struct err last; /* what the present request died of last */
};

/* For the credentials of the instance's role. Settings and token must outlive it. */
void imds_begin_credentials(struct imds_sequence *, const struct imds_settings *, struct imds_token *, int64_t now_ms);
/* For one path, "/latest/meta-data/placement/region"; 404 is IMDS_FAILED with ERR_MISSING. */
void imds_begin_path(struct imds_sequence *, const struct imds_settings *, struct imds_token *, const char *path, int64_t now_ms);
enum imds_todo imds_next(struct imds_sequence *, int64_t now_ms);
/* After IMDS_SEND, once. `random` is any 32 bits, for the pause before another try. */
void imds_replied(struct imds_sequence *, int64_t now_ms, uint32_t random, const struct imds_reply *);
void imds_end(struct imds_sequence *); /* wipes and frees the result; harmless twice */

#endif
