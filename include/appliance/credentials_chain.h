/* credentials_chain.h - which source of credentials counts, decided from settings alone: nothing is contacted, run or read.
 * The order is that of the SDKs: environment, profile, web identity, container, instance. The first one that is configured is the
 * source; when it is configured and broken, that is the answer, and the next ones are not tried: they would be somebody else.
 * All of them are looked at, so that a person can be shown what each one says. */
#ifndef APPLIANCE_CREDENTIALS_CHAIN_H
#define APPLIANCE_CREDENTIALS_CHAIN_H

#include "appliance/credentials_container.h"
#include "appliance/credentials_recipe.h"
#include "appliance/imds_settings.h"

#include <limits.h>

enum credentials_source { SOURCE_ENVIRONMENT, SOURCE_PROFILE, SOURCE_WEB_IDENTITY, SOURCE_CONTAINER, SOURCE_IMDS, SOURCE_COUNT };

/* Where the shared files are, and which profile is meant. */
struct credentials_paths {
    char file[PROFILE_FILES][PATH_MAX];
    bool named[PROFILE_FILES]; /* by a variable: then the file must be there */
    const char *profile;       /* AWS_PROFILE, AWS_DEFAULT_PROFILE, or "default" */
    bool asked;                /* somebody named it */
};
/* False: a path is too long, or there is neither a variable nor HOME, so that there can't be a file: then file[..] is empty and err
 * untouched for the latter, which is no fault. "~/" at the front of a variable is HOME. */
bool credentials_paths(char *const *environment, struct credentials_paths *, struct err *);

struct credentials_given {
    char *const *environment;
    const struct profile_set *profiles; /* NULL: neither file is there */
    const struct err *profiles_fault;   /* NULL, or why a file that is there can't be used */
    int64_t now_wall_ms;
    bool not_ec2; /* DMI says so: then the instance's metadata count only when their endpoint is configured */
};

struct credentials_chain {
    struct {
        enum credentials_answer answer;
        char text[240]; /* a sentence for people, without secrets: what it would do, why not, or what is wrong and the cure */
    } steps[SOURCE_COUNT];
    int chosen;                             /* an enum credentials_source; -1: none is configured */
    struct credentials_recipe recipe;       /* of the chosen one; never with RECIPE_ENVIRONMENT, whose keys are in it already */
    struct credentials_container container; /* for RECIPE_CONTAINER */
    struct imds_settings imds;              /* for RECIPE_IMDS, and for whoever wants other metadata */
};

/* READY: the chain says what to do. BROKEN: the chosen source is, err->text says how. UNSET: none is configured; err is filled, too.
 * All texts of the result belong to what was given. */
enum credentials_answer credentials_chain(const struct credentials_given *, struct credentials_chain *, struct err *);

const char *credentials_source_name(enum credentials_source); /* "environment", "profile", ... */

#endif
