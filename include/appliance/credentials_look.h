/* credentials_look.h - the chain of credentials as it is configured at this moment: reads the shared files that the environment names and
 * asks credentials_chain.h. Nothing is contacted, nothing is run; local files are read, which is all that may wait. */
#ifndef APPLIANCE_CREDENTIALS_LOOK_H
#define APPLIANCE_CREDENTIALS_LOOK_H

#include "appliance/credentials_chain.h"

struct credentials_look {
    char *const *environment;
    struct credentials_paths paths;
    struct profile_set profiles; /* empty when there are no files, or they can't be used */
    struct err profiles_fault;
    const struct profile *profile; /* the one that is meant; NULL: there is none */
    struct credentials_chain chain;
    enum credentials_answer answer;
    struct err err; /* unless READY */
};

/* Some 15 KiB: on the heap. The environment must outlive it. */
void credentials_look(struct credentials_look *, char *const *environment, bool not_ec2);
void credentials_look_end(struct credentials_look *);  /* wipes what the files held; harmless twice */
void credentials_look_free(struct credentials_look *); /* the same, of one on the heap; NULL is fine */

/* AWS_REGION, AWS_DEFAULT_REGION, the profile's region; NULL: none says it. Blanks around it are still there. */
const char *credentials_look_region(const struct credentials_look *);
/* Where STS is when somebody configured it: AWS_ENDPOINT_URL_STS, AWS_ENDPOINT_URL, the same in the profile (its services section goes
 * first); NULL: at the region's own host. AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true switches them all off. `out` is for a value that must be
 * copied. */
const char *credentials_look_sts(const struct credentials_look *, char *out, size_t size);
/* AWS_USE_FIPS_ENDPOINT, the profile's use_fips_endpoint. */
bool credentials_look_fips(const struct credentials_look *);
/* AWS_CA_BUNDLE, the profile's ca_bundle; NULL: none. */
const char *credentials_look_ca_file(const struct credentials_look *);

#endif
