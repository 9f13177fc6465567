/* aws_fault.h - what an answer of AWS says went wrong: its name, what that means, what helps, and a sentence. Pure.
 * Reads the XML of S3 and of Query services, EC2's own form of it and JSON; what is neither (HTML of a proxy, nothing at all, as to HEAD) is
 * known by its status alone. Sentences hold no secrets: of the answer they show Code and Message, printable and cut. Fuzzed by
 * tests/fuzz/fuzz_aws_fault.c. */
#ifndef APPLIANCE_AWS_FAULT_H
#define APPLIANCE_AWS_FAULT_H

#include "appliance/aws_request.h"

enum { AWS_FAULT_LIMIT = 256 * 1024, AWS_MESSAGE_SIZE = 256 };

struct aws_fault {
    char name[AWS_NAME_SIZE];             /* "NoSuchKey"; of the status ("NotFound") when nobody says */
    bool told;                            /* the answer had a name */
    char message[AWS_MESSAGE_SIZE];       /* "" when there is none */
    char request_id[AWS_REQUEST_ID_SIZE]; /* of the headers, or else of the body */
    char region[AWS_REGION_SIZE];         /* <Region>, when it could be one */
};
/* Never fails: what can't be read says nothing. */
void aws_fault_read(struct aws_fault *, int status, const struct headers *, struct bytes body);
/* Whether the body of a 200 tells an error (<Error>, after any blanks), or is blank, so that it tells nothing: cut off after keep-alives. */
enum aws_inside { AWS_INSIDE_FINE, AWS_INSIDE_FAULT, AWS_INSIDE_NOTHING };
enum aws_inside aws_fault_inside(struct bytes body);

/* What a name or status calls for. */
enum aws_class {
    AWS_FINAL,       /* it stands */
    AWS_TRANSIENT,   /* may pass */
    AWS_THROTTLED,   /* may pass, slowly */
    AWS_EXPIRED,     /* other credentials */
    AWS_CLOCK,       /* the time in the signature was wrong */
    AWS_ELSEWHERE,   /* another region */
    AWS_UNSUPPORTED, /* what newer clients send by default may be too new for this server */
};
enum aws_class aws_fault_class(int status, const char *name);
enum err_kind aws_fault_kind(int status, const char *name);
/* The status that the same error has when it is not inside a 200. */
int aws_fault_status(const char *name);

/* What the sentence is about. */
struct aws_scene {
    const char *subject; /* "s3://b/k" */
    const char *action;  /* "s3:GetObject": what the role may lack; NULL: not known */
    bool is_anonymous;
    int64_t skew_ms;           /* of our clock against the answer's Date, when that is known and large; else 0 */
    const char *region;        /* it was signed for */
    const char *bucket_region; /* where the bucket was said to be; NULL */
};
/* "s3://b/k: access denied (403 AccessDenied): ..." */
void aws_fault_describe(const struct aws_fault *, int status, const struct aws_scene *, struct err *);
/* "s3:GetObject" by method, key and query; NULL when it is none of the usual ones. */
const char *aws_s3_action(const struct aws_spec *);

#endif
