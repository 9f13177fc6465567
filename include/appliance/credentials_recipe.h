/* credentials_recipe.h - what a profile says about getting credentials, as a recipe: a base, then roles to assume one after another.
 * Pure: nothing is fetched, run or read. Whether a base of the environment, a container or the instance is there is for the chain
 * (credentials_chain.h) to say.
 * Within one profile the order is botocore's: role with a source, web identity, keys of the credentials file, process, keys of the
 * config file; from the second profile of a chain on, keys go before all (as in all SDKs). */
#ifndef APPLIANCE_CREDENTIALS_RECIPE_H
#define APPLIANCE_CREDENTIALS_RECIPE_H

#include "appliance/credentials_keys.h"
#include "appliance/credentials_profile.h"

enum recipe_base {
    RECIPE_NOTHING,
    RECIPE_KEYS,         /* access_key_id, secret_access_key, session_token */
    RECIPE_WEB_IDENTITY, /* role, token_file: AssumeRoleWithWebIdentity; the file is read again for each exchange */
    RECIPE_PROCESS,      /* command, for /bin/sh; its stdout is the document, its stderr is not */
    RECIPE_ENVIRONMENT,  /* credential_source = Environment */
    RECIPE_CONTAINER,    /* credential_source = EcsContainer */
    RECIPE_IMDS,         /* credential_source = Ec2InstanceMetadata */
};

enum { RECIPE_ROLE_LIMIT = 16, RECIPE_DURATION_MIN = 900, RECIPE_DURATION_MAX = 43200, RECIPE_CHAINED_MAX = 3600 };

struct recipe_role {
    const char *role_arn;
    const char *external_id;  /* NULL: none */
    const char *session_name; /* NULL: the caller makes one */
    int duration_s;           /* 0: not said. STS gives a role that is assumed with another role's credentials an hour at most */
    const char *profile;      /* whose line it is; NULL: the environment's */
};

/* Texts belong to the profile set (or the environment), which must live longer. */
struct credentials_recipe {
    enum recipe_base base;
    const char *profile; /* that holds the base; NULL: the environment */
    const char *access_key_id, *secret_access_key, *session_token, *account_id;
    int64_t expires_wall_ms; /* of these keys: CREDENTIALS_NEVER, but for the environment's that say so */
    struct recipe_role web;  /* of RECIPE_WEB_IDENTITY */
    const char *token_file;
    const char *command;
    struct recipe_role roles[RECIPE_ROLE_LIMIT]; /* in the order of assuming: roles[0] with the base's credentials */
    int role_count;
};

/* CREDENTIALS_UNSET: the profile says nothing about credentials (a region, say), or there is none and it was not asked for by name.
 * CREDENTIALS_BROKEN: err->text says what is wrong, with file and line where there is one, and the cure. `asked`: somebody named the
 * profile (AWS_PROFILE), so it must be there. */
enum credentials_answer credentials_recipe(const struct profile_set *, const char *profile, bool asked, struct credentials_recipe *,
                                           struct err *);
/* Of RECIPE_KEYS: checked copies. */
bool credentials_recipe_keys(const struct credentials_recipe *, struct credentials *, struct err *);
/* Letters, digits and =,.@-_+ only, 2 to 64 of them: what STS takes for a RoleSessionName. */
bool recipe_session_name_check(const char *name);
/* Whether STS can take this ARN and session name; `place` begins the sentence. For those who make a recipe from other than profiles. */
bool recipe_role_check(const struct recipe_role *, const char *place, struct err *);
/* Cuts durations to what STS grants (RECIPE_CHAINED_MAX); true when that changed one. */
bool recipe_cap_durations(struct credentials_recipe *);

#endif
