/* aws_settings.h - what the environment and the shared files (~/.aws/config, ~/.aws/credentials) say of requests to AWS, but for credentials:
 * region, endpoints, retries, checksums, addressing. Read once, then only looked at: nothing here is parsed again for a request.
 * aws_settings_read is pure; aws_settings_load reads the files for it. A blank variable or property is the same as none. A setting that can't
 * be understood is a fault, never passed over: a request that goes elsewhere than meant is worse than none. */
#ifndef APPLIANCE_AWS_SETTINGS_H
#define APPLIANCE_AWS_SETTINGS_H

#include "appliance/aws_uri.h"
#include "appliance/credentials_profile.h"
#include "appliance/s3_address.h"

enum { AWS_REGION_SIZE = 64, AWS_ENDPOINT_LIMIT = 32, AWS_ATTEMPTS_LIMIT = 100 };

enum aws_retry_mode { AWS_RETRY_STANDARD, AWS_RETRY_ADAPTIVE, AWS_RETRY_LEGACY }; /* adaptive is taken for standard; legacy: 5 attempts */

struct aws_settings {
    char region[AWS_REGION_SIZE]; /* AWS_REGION, AWS_DEFAULT_REGION, the profile's; "": not said. Checked by aws_region_check */
    bool region_is_given;         /* by a variable, not by a profile */
    int attempts;                 /* AWS_MAX_ATTEMPTS: the first one included; 3 (legacy: 5) when not said */
    enum aws_retry_mode retry_mode;
    /* AWS_REQUEST_CHECKSUM_CALCULATION, AWS_RESPONSE_CHECKSUM_VALIDATION: when_supported (true) or when_required. */
    bool checksum_requests, checksum_answers;
    bool dualstack, fips;   /* AWS_USE_DUALSTACK_ENDPOINT, AWS_USE_FIPS_ENDPOINT; only for AWS's own endpoints */
    bool sign_payload;      /* the profile's s3: payload_signing_enabled. Else bodies above 64 KiB go out unsigned, over http, too */
    bool ignore_endpoints;  /* AWS_IGNORE_CONFIGURED_ENDPOINT_URLS: then there are none below */
    enum s3_style s3_style; /* the profile's s3: addressing_style = path | virtual | auto */
    const char *ca_file;    /* AWS_CA_BUNDLE, or NULL */
    const char *profile;    /* whose properties count; NULL: there is none of that name */
    struct aws_settings_endpoint {
        const char *service; /* "s3", "elastic_load_balancing": as in the variables' names, in small letters; NULL: for all */
        const char *from;    /* "AWS_ENDPOINT_URL_S3" or "FILE:LINE", for sentences */
        struct aws_endpoint endpoint;
    } endpoints[AWS_ENDPOINT_LIMIT]; /* the first that fits a service is its */
    int endpoint_count;
    struct buf texts; /* the memory of all of these; reserved at once, so that nothing in it moves */
};

struct aws_settings_given {
    char *const *environment;           /* as environ(7) */
    const struct profile_set *profiles; /* NULL: neither file is there */
    const char *profile;                /* AWS_PROFILE and the like, or "default" */
};

/* False with ERR_INVALID: the sentence names variable or file and line, what it should be, and how many more faults there are. Nothing
 * of what was given is needed afterwards. To be freed in either case. */
bool aws_settings_read(struct aws_settings *, const struct aws_settings_given *, struct err *);
/* The same from the files that the environment names: reads them now (two small files; it may wait for the disk), and wants a file to be
 * there that a variable names. */
bool aws_settings_load(struct aws_settings *, char *const *environment, struct err *);
void aws_settings_free(struct aws_settings *); /* harmless twice, and on a zeroed one */

/* The endpoint somebody configured for a service by its signing name ("s3", "elasticloadbalancing", "route53"); NULL: AWS's own.
 * In this order: AWS_ENDPOINT_URL_<SERVICE>, AWS_ENDPOINT_URL, the profile's services section, its endpoint_url. */
const struct aws_settings_endpoint *aws_settings_endpoint(const struct aws_settings *, const char *service);

#endif
