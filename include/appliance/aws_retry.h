/* aws_retry.h - what follows from the way a try ended: the rules of the SDKs' standard mode and of what can be put right, as pure functions
 * with clock and dice given from outside. aws_request.c carries out. */
#ifndef APPLIANCE_AWS_RETRY_H
#define APPLIANCE_AWS_RETRY_H

#include "appliance/aws_fault.h"

/* --- the bucket of tokens that all requests of a client share --- */

enum { AWS_TOKENS = 500, AWS_RETRY_COST = 5, AWS_TIMEOUT_COST = 10 };
struct aws_tokens {
    int used; /* zeroed: full */
};
/* What a retry takes: 0 when there are too few left. */
int aws_tokens_take(struct aws_tokens *, bool after_timeout);
/* A request went well: what its last retry took comes back, or one token when it needed none. */
void aws_tokens_return(struct aws_tokens *, int taken);

/* --- what to do next --- */

enum aws_next {
    AWS_NEXT_DONE,
    AWS_NEXT_FAIL,
    AWS_NEXT_RETRY, /* after a while; costs tokens and an attempt. All below are done at once, and once for a request each */
    AWS_NEXT_RENEW, /* with other credentials, if the store says that asking is worth it */
    AWS_NEXT_CLOCK, /* with the time of the answer's Date */
    AWS_NEXT_MOVE,  /* in the region, or at the place, that the answer names */
    AWS_NEXT_FIND,  /* HEAD the bucket: its answer names the region */
    AWS_NEXT_PLAIN, /* without the checksum that nobody asked for */
};

struct aws_outcome {
    enum http_failure failure;
    int status; /* with an error inside a 200: that of the error */
    enum aws_class class;
    bool ok;              /* the answer is good, the body included */
    bool is_told;         /* the error has a name of its own */
    bool is_head, of_key; /* HEAD; S3 and about a key, or with a query: so that HEAD of the bucket is another question */
    bool names_place;     /* a region other than that it was signed for, or a Location that may be followed */
    int64_t skew_ms;      /* by how much the answer's Date is ahead of the time that was signed; 0: not told */
    bool by_default;      /* a checksum went along that nobody asked for, to an endpoint that is not AWS's own */
    bool can_repeat;      /* the body can be sent again, and what was pushed can be taken back */
    int attempts_left;
    bool renewed, clocked, moved, found, plain; /* done before */
};
enum aws_next aws_next(const struct aws_outcome *);

/* Below this a signature's time is not what is wrong: AWS takes 5 minutes (S3: 15). */
enum { AWS_SKEW_MS = 4 * 60 * 1000 };
/* By how much the Date of an answer is ahead of `wall_ms`; 0 without one. */
int64_t aws_skew_ms(const struct headers *, int64_t wall_ms);

/* Before the next try. `retries`: how many there were. 50 ms doubled each time, 1 s for a throttle, 20 s at most, and of that a random
 * share; what the service asks for (x-amz-retry-after in ms, Retry-After in s) is kept to, but for at most 5 s and 20 s. */
int64_t aws_retry_delay_ms(int retries, bool throttled, const struct headers *, uint32_t random);
bool aws_retry_is_timeout(enum http_failure, const char *name);

/* --- where else --- */

/* Whether the answer names another region for a bucket than `region`: by x-amz-bucket-region, then <Region>, then the host in Location. */
bool aws_region_elsewhere(const struct headers *, const struct aws_fault *, const char *region, char found[AWS_REGION_SIZE]);
/* "https://host:port" of a Location that may be followed: from https to https only, and from AWS's own domain only to it. */
enum { AWS_ORIGIN_SIZE = 320 };
bool aws_location(const struct headers *, const struct aws_endpoint *now, bool aws_own, char origin[AWS_ORIGIN_SIZE]);

#endif
