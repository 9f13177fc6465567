#include "appliance/credentials_recipe.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

struct resolving {
    const struct profile_set *set;
    struct credentials_recipe *recipe;
    const char *visited[RECIPE_ROLE_LIMIT + 1];
    int visits;
    struct err *err;
};

enum { PLACE_SIZE = 160 };

static const char *place_of(const struct resolving *r, const struct profile *profile, const char *name, char out[PLACE_SIZE])
{
    const struct profile_property *property = profile_property(profile, name);
    if (property)
        return profile_place(r->set, property, out, PLACE_SIZE);
    snprintf(out, PLACE_SIZE, "profile %.100s", profile->name);
    return out;
}

bool recipe_session_name_check(const char *name)
{
    size_t length = 0;
    for (; name[length]; length++)
        if (!isalnum((unsigned char)name[length]) && !strchr("=,.@-_+", name[length]))
            return false;
    return length >= 2 && length <= 64;
}

bool recipe_role_check(const struct recipe_role *role, const char *place, struct err *err)
{
    size_t length = strlen(role->role_arn);
    bool fine = strncmp(role->role_arn, "arn:", 4) == 0 && length <= 2048;
    for (size_t i = 0; i < length; i++)
        fine = fine && role->role_arn[i] > 0x20 && role->role_arn[i] < 0x7f;
    if (!fine)
        return err_set(err, ERR_INVALID, "%s: the role must be an ARN, as in arn:aws:iam::123456789012:role/NAME", place);
    if (role->session_name && !recipe_session_name_check(role->session_name))
        return err_set(err, ERR_INVALID, "%s: the session name must have 2 to 64 of letters, digits and =,.@-_+", place);
    return true;
}

static bool read_duration(const struct resolving *r, const struct profile *profile, int *duration_s)
{
    const char *text = profile_value(profile, "duration_seconds");
    *duration_s = 0;
    if (!text)
        return true;
    char *end;
    long value = strtol(text, &end, 10);
    if (*end || !isdigit((unsigned char)*text) || value < RECIPE_DURATION_MIN || value > RECIPE_DURATION_MAX) {
        char place[PLACE_SIZE];
        return err_set(r->err, ERR_INVALID, "%s: duration_seconds must be a number from %d to %d",
                       place_of(r, profile, "duration_seconds", place), RECIPE_DURATION_MIN, RECIPE_DURATION_MAX);
    }
    *duration_s = (int)value;
    return true;
}

static bool read_role(const struct resolving *r, const struct profile *profile, struct recipe_role *role)
{
    char place[PLACE_SIZE];
    *role = (struct recipe_role){
        .role_arn = profile_value(profile, "role_arn"),
        .external_id = profile_value(profile, "external_id"),
        .session_name = profile_value(profile, "role_session_name"),
        .profile = profile->name,
    };
    if (profile_value(profile, "mfa_serial"))
        return err_set(r->err, ERR_INVALID, "%s: mfa_serial asks for a code from a person, and nobody is here: name a role without it",
                       place_of(r, profile, "mfa_serial", place));
    return recipe_role_check(role, place_of(r, profile, "role_arn", place), r->err) && read_duration(r, profile, &role->duration_s);
}

/* --- bases --- */

static bool has_keys(const struct profile *profile)
{
    return profile_value(profile, "aws_access_key_id") && profile_value(profile, "aws_secret_access_key");
}

static bool use_keys(const struct resolving *r, const struct profile *profile)
{
    struct credentials_recipe *recipe = r->recipe;
    recipe->base = RECIPE_KEYS;
    recipe->profile = profile->name;
    recipe->access_key_id = profile_value(profile, "aws_access_key_id");
    recipe->secret_access_key = profile_value(profile, "aws_secret_access_key");
    recipe->session_token = profile_value(profile, "aws_session_token");
    recipe->account_id = profile_value(profile, "aws_account_id");
    char place[PLACE_SIZE];
    if (!recipe->access_key_id) {
        const char *lonely = recipe->secret_access_key ? "aws_secret_access_key" : "aws_session_token";
        return err_set(r->err, ERR_INVALID, "%s: the profile %.60s has %s but no aws_access_key_id: give both",
                       place_of(r, profile, lonely, place), profile->name, lonely);
    }
    if (!recipe->secret_access_key)
        return err_set(r->err, ERR_INVALID, "%s: the profile %.60s has aws_access_key_id but no aws_secret_access_key: give both",
                       place_of(r, profile, "aws_access_key_id", place), profile->name);
    struct credentials probe = {0};
    struct err fault;
    if (!credentials_recipe_keys(recipe, &probe, &fault))
        return err_set(r->err, ERR_INVALID, "%s: %s", place_of(r, profile, "aws_access_key_id", place), fault.text);
    credentials_free(&probe);
    return true;
}

static bool use_web_identity(const struct resolving *r, const struct profile *profile)
{
    char place[PLACE_SIZE];
    r->recipe->base = RECIPE_WEB_IDENTITY;
    r->recipe->profile = profile->name;
    r->recipe->token_file = profile_value(profile, "web_identity_token_file");
    if (!profile_value(profile, "role_arn"))
        return err_set(r->err, ERR_INVALID, "%s: web_identity_token_file needs a role_arn in the same profile",
                       place_of(r, profile, "web_identity_token_file", place));
    return read_role(r, profile, &r->recipe->web);
}

static bool use_source(const struct resolving *r, const struct profile *profile)
{
    static const struct {
        const char *name;
        enum recipe_base base;
    } sources[] = {{"Environment", RECIPE_ENVIRONMENT}, {"EcsContainer", RECIPE_CONTAINER}, {"Ec2InstanceMetadata", RECIPE_IMDS}};
    const char *source = profile_value(profile, "credential_source");
    r->recipe->profile = profile->name;
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++)
        if (strcasecmp(source, sources[i].name) == 0) {
            r->recipe->base = sources[i].base;
            return true;
        }
    char place[PLACE_SIZE];
    return err_set(r->err, ERR_INVALID, "%s: credential_source must be Environment, EcsContainer or Ec2InstanceMetadata",
                   place_of(r, profile, "credential_source", place));
}

static bool is_sign_in(const struct profile *profile)
{
    return profile_value(profile, "sso_session") || profile_value(profile, "sso_start_url") || profile_value(profile, "sso_account_id") ||
           profile_value(profile, "login_session");
}

/* The keys of which file they are: botocore puts those of credentials before a process, and those of config behind it. */
static bool keys_go_first(const struct profile *profile)
{
    const struct profile_property *id = profile_property(profile, "aws_access_key_id");
    return has_keys(profile) && id->file == PROFILE_CREDENTIALS;
}

static bool mentions_keys(const struct profile *profile)
{
    return profile_value(profile, "aws_access_key_id") || profile_value(profile, "aws_secret_access_key") ||
           profile_value(profile, "aws_session_token");
}

/* A profile that is not taken for its role. UNSET: it says nothing about credentials. */
static enum credentials_answer base(const struct resolving *r, const struct profile *profile)
{
    bool ok;
    const char *command = profile_value(profile, "credential_process");
    if (profile_value(profile, "web_identity_token_file")) {
        ok = use_web_identity(r, profile);
    } else if (is_sign_in(profile)) {
        ok = err_set(r->err, ERR_INVALID,
                     "the profile %.60s signs in a person in a browser (sso_*, login_session), which can't be done here: use a role "
                     "of the instance, or role_arn with credential_source",
                     profile->name);
    } else if (command && !keys_go_first(profile)) {
        r->recipe->base = RECIPE_PROCESS;
        r->recipe->profile = profile->name;
        r->recipe->command = command;
        ok = true;
    } else if (mentions_keys(profile)) {
        ok = use_keys(r, profile);
    } else {
        return CREDENTIALS_UNSET;
    }
    return ok ? CREDENTIALS_READY : CREDENTIALS_BROKEN;
}

/* --- chains --- */

static enum credentials_answer answer_of(bool ok)
{
    return ok ? CREDENTIALS_READY : CREDENTIALS_BROKEN;
}

static bool fault(const struct resolving *r, const struct profile *profile, const char *property, const char *sentence)
{
    char place[PLACE_SIZE];
    return err_set(r->err, ERR_INVALID, "%s: %s", place_of(r, profile, property, place), sentence);
}

static enum credentials_answer base_must_be(const struct resolving *r, const struct profile *profile)
{
    enum credentials_answer answer = base(r, profile);
    if (answer != CREDENTIALS_UNSET)
        return answer;
    return answer_of(err_set(r->err, ERR_INVALID,
                             "the profile %.60s is the source of a role, and has no credentials: give it aws_access_key_id and "
                             "aws_secret_access_key, a credential_process or a web_identity_token_file",
                             profile->name));
}

/* Adds the role of `profile`, and says where the credentials for it come from: another profile, or NULL for its own base. */
static bool step(struct resolving *r, const struct profile *profile, const char **next)
{
    const char *source = profile_value(profile, "source_profile"), *named = profile_value(profile, "credential_source");
    if (source && named)
        return fault(r, profile, "credential_source", "the profile has both source_profile and credential_source: one of them must go");
    if (!source && !named)
        return fault(r, profile, "role_arn",
                     "the profile has a role_arn but neither source_profile nor credential_source, so who shall assume it?");
    if (r->recipe->role_count == RECIPE_ROLE_LIMIT)
        return err_set(r->err, ERR_INVALID, "the profile %.60s is the end of a chain of more than %d roles", profile->name,
                       RECIPE_ROLE_LIMIT);
    if (!read_role(r, profile, &r->recipe->roles[r->recipe->role_count]))
        return false;
    r->recipe->role_count++;
    *next = source;
    return true;
}

static bool was_visited(const struct resolving *r, const char *name)
{
    for (int i = 0; i < r->visits; i++)
        if (strcmp(r->visited[i], name) == 0)
            return true;
    return false;
}

static enum credentials_answer resolve(struct resolving *r, const struct profile *profile)
{
    for (;;) {
        r->visited[r->visits++] = profile->name;
        if (r->visits > 1 && has_keys(profile))
            return answer_of(use_keys(r, profile));
        if (!profile_value(profile, "role_arn") || profile_value(profile, "web_identity_token_file"))
            return r->visits > 1 ? base_must_be(r, profile) : base(r, profile);
        const char *next = NULL;
        if (!step(r, profile, &next))
            return CREDENTIALS_BROKEN;
        if (!next)
            return answer_of(use_source(r, profile));
        /* A profile may be its own source: then its keys, not its role, are meant. */
        if (strcmp(next, profile->name) == 0)
            return base_must_be(r, profile);
        if (was_visited(r, next))
            return answer_of(
                fault(r, profile, "source_profile", "the profiles go round in a circle: one must have credentials of its own"));
        const struct profile *source = profile_find(r->set, PROFILE_NORMAL, next);
        if (!source) {
            char place[PLACE_SIZE];
            return answer_of(err_set(r->err, ERR_INVALID, "%s: the source_profile %.60s is in neither file",
                                     place_of(r, profile, "source_profile", place), next));
        }
        profile = source;
    }
}

bool recipe_cap_durations(struct credentials_recipe *recipe)
{
    /* Credentials of a container or an instance are a role's; of keys and processes nobody knows, so STS shall say. */
    bool chained = recipe->base == RECIPE_WEB_IDENTITY || recipe->base == RECIPE_CONTAINER || recipe->base == RECIPE_IMDS;
    bool changed = false;
    for (int i = 0; i < recipe->role_count; i++) {
        if ((chained || i > 0) && recipe->roles[i].duration_s > RECIPE_CHAINED_MAX) {
            recipe->roles[i].duration_s = RECIPE_CHAINED_MAX;
            changed = true;
        }
    }
    return changed;
}

enum credentials_answer credentials_recipe(const struct profile_set *set, const char *name, bool asked, struct credentials_recipe *recipe,
                                           struct err *err)
{
    *recipe = (struct credentials_recipe){.expires_wall_ms = CREDENTIALS_NEVER};
    const struct profile *profile = profile_find(set, PROFILE_NORMAL, name);
    if (!profile && !asked)
        return CREDENTIALS_UNSET;
    if (!profile) {
        err_set(err, ERR_MISSING, "AWS_PROFILE names the profile %.60s, and neither %.60s nor %.60s has it", name,
                set->texts[PROFILE_CONFIG].path ? set->texts[PROFILE_CONFIG].path : "a config file",
                set->texts[PROFILE_CREDENTIALS].path ? set->texts[PROFILE_CREDENTIALS].path : "a credentials file");
        return CREDENTIALS_BROKEN;
    }
    struct resolving r = {.set = set, .recipe = recipe, .err = err};
    enum credentials_answer answer = resolve(&r, profile);
    if (answer != CREDENTIALS_READY)
        return answer;
    /* They were found from the last role to the first. */
    for (int i = 0, j = recipe->role_count - 1; i < j; i++, j--) {
        struct recipe_role role = recipe->roles[i];
        recipe->roles[i] = recipe->roles[j];
        recipe->roles[j] = role;
    }
    return CREDENTIALS_READY;
}

static struct bytes maybe(const char *text)
{
    return text ? bytes_of(text) : (struct bytes){"", 0};
}

bool credentials_recipe_keys(const struct credentials_recipe *recipe, struct credentials *keys, struct err *err)
{
    return credentials_set(keys, maybe(recipe->access_key_id), maybe(recipe->secret_access_key), maybe(recipe->session_token),
                           maybe(recipe->account_id), recipe->expires_wall_ms, err);
}
