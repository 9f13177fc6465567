/* imds_settings.h - how the instance metadata service is reached and whether it may be, from the environment and a profile.
 * Pure: nothing is contacted. A variable wins over the profile's property of the same meaning; a blank one counts as not set. */
#ifndef APPLIANCE_IMDS_SETTINGS_H
#define APPLIANCE_IMDS_SETTINGS_H

#include "appliance/credentials_profile.h"

enum { IMDS_ENDPOINT_SIZE = 512 };

struct imds_settings {
    char endpoint[IMDS_ENDPOINT_SIZE]; /* "http://169.254.169.254", never with a slash at its end; a path in it stays */
    bool disabled;                     /* AWS_EC2_METADATA_DISABLED=true */
    /* Requests without a token, when the service does not know tokens. Only when somebody said so: AWS_EC2_METADATA_V1_DISABLED=false, or
     * ec2_metadata_v1_disabled = false. */
    bool v1_allowed;
    int connect_ms, first_byte_ms; /* of one try: 1000 and 2000, or AWS_METADATA_SERVICE_TIMEOUT for both */
    int tries;                     /* of one request: 4, or AWS_METADATA_SERVICE_NUM_ATTEMPTS */
    int budget_ms;                 /* of all together: 10,000, or what tries and time-outs of the environment need when that is more */
};

/* `profile` may be NULL. False with ERR_INVALID and a sentence that names the variable or the profile's property, and what it may be. */
bool imds_settings_read(struct imds_settings *, char *const *environment, const struct profile *profile, struct err *);

#endif
