#include "appliance/credentials_chain.h"

#include "appliance/aws_date.h"

#include <stdio.h>
#include <stdlib.h>

const char *credentials_source_name(enum credentials_source source)
{
    static const char *const names[SOURCE_COUNT] = {"environment", "profile", "web identity", "container", "instance metadata"};
    return source < SOURCE_COUNT ? names[source] : "unknown";
}

/* --- where the files are --- */

bool credentials_paths(char *const *environment, struct credentials_paths *paths, struct err *err)
{
    static const struct {
        const char *variable, *usual;
    } files[PROFILE_FILES] = {[PROFILE_CONFIG] = {"AWS_CONFIG_FILE", "~/.aws/config"},
                              [PROFILE_CREDENTIALS] = {"AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"}};
    const char *home = credentials_variable(environment, "HOME");
    bool ok = true;
    *paths = (struct credentials_paths){0};
    paths->profile = credentials_variable(environment, "AWS_PROFILE");
    if (!paths->profile)
        paths->profile = credentials_variable(environment, "AWS_DEFAULT_PROFILE");
    paths->asked = paths->profile != NULL;
    if (!paths->asked)
        paths->profile = "default";
    for (int i = 0; i < PROFILE_FILES; i++) {
        const char *path = credentials_variable(environment, files[i].variable);
        paths->named[i] = path != NULL;
        if (!path)
            path = files[i].usual;
        bool at_home = strncmp(path, "~/", 2) == 0;
        if (at_home && !home) {
            ok = false;
            continue;
        }
        int length = snprintf(paths->file[i], sizeof paths->file[i], "%s%s", at_home ? home : "", at_home ? path + 1 : path);
        if (length < 0 || (size_t)length >= sizeof paths->file[i]) {
            paths->file[i][0] = 0;
            ok = err_set(err, ERR_INVALID, "%s: the path is too long", files[i].variable);
        }
    }
    return ok;
}

/* --- one source each: fills the step, and the recipe when it is READY --- */

struct looking {
    const struct credentials_given *given;
    struct credentials_chain *chain;
    struct credentials_recipe recipe; /* of the source that is looked at */
    struct err err;
    struct credentials_paths paths;
    const struct profile *profile; /* NULL: there is none of that name */
};

static enum credentials_answer broken(struct looking *l, const char *format, ...) __attribute__((format(printf, 2, 3)));

static enum credentials_answer broken(struct looking *l, const char *format, ...)
{
    char text[sizeof l->err.text];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    err_set(&l->err, ERR_INVALID, "%s", text);
    return CREDENTIALS_BROKEN;
}

static enum credentials_answer unset(struct looking *l, const char *text)
{
    err_set(&l->err, ERR_MISSING, "%s", text);
    return CREDENTIALS_UNSET;
}

static enum credentials_answer ready(struct looking *l, const char *format, const char *detail)
{
    err_set(&l->err, ERR_NONE, format, detail);
    return CREDENTIALS_READY;
}

static enum credentials_answer look_environment(struct looking *l)
{
    char *const *environment = l->given->environment;
    const char *id = credentials_variable(environment, "AWS_ACCESS_KEY_ID");
    const char *secret = credentials_variable(environment, "AWS_SECRET_ACCESS_KEY");
    const char *until = credentials_variable(environment, "AWS_CREDENTIAL_EXPIRATION");
    if (!id && !secret)
        return unset(l, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set");
    if (!id || !secret)
        return broken(l, "%s is set without %s: set both, or neither, so that the next source is used",
                      id ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY", id ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID");
    l->recipe = (struct credentials_recipe){
        .base = RECIPE_KEYS,
        .access_key_id = id,
        .secret_access_key = secret,
        .session_token = credentials_variable(environment, "AWS_SESSION_TOKEN"),
        .account_id = credentials_variable(environment, "AWS_ACCOUNT_ID"),
        .expires_wall_ms = CREDENTIALS_NEVER,
    };
    struct err fault;
    if (until && !aws_date_read_iso(credentials_trim(bytes_of(until)), &l->recipe.expires_wall_ms, &fault))
        return broken(l, "AWS_CREDENTIAL_EXPIRATION: %s", fault.text);
    if (l->recipe.expires_wall_ms <= l->given->now_wall_ms)
        return broken(l,
                      "the keys in the environment expired at %.30s (AWS_CREDENTIAL_EXPIRATION), and nothing renews them: unset "
                      "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, so that the next source is used",
                      until);
    struct credentials probe;
    if (!credentials_recipe_keys(&l->recipe, &probe, &fault))
        return broken(l, "in the environment %s", fault.text);
    credentials_free(&probe);
    return ready(l, "keys from the environment%s", l->recipe.session_token ? ", with a session token, which nothing renews" : "");
}

static enum credentials_answer look_container(struct looking *l)
{
    enum credentials_answer answer = credentials_container(l->given->environment, &l->chain->container, &l->err);
    if (answer == CREDENTIALS_UNSET)
        return unset(l, "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and AWS_CONTAINER_CREDENTIALS_FULL_URI are not set");
    if (answer == CREDENTIALS_BROKEN)
        return answer;
    l->recipe = (struct credentials_recipe){.base = RECIPE_CONTAINER, .expires_wall_ms = CREDENTIALS_NEVER};
    return ready(l, "asks %s", l->chain->container.url);
}

static bool has_endpoint(const struct looking *l)
{
    static const char *const variables[] = {"AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"};
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
        if (credentials_variable(l->given->environment, variables[i]))
            return true;
    return l->profile &&
           (profile_value(l->profile, "ec2_metadata_service_endpoint") || profile_value(l->profile, "ec2_metadata_service_endpoint_mode"));
}

static enum credentials_answer look_imds(struct looking *l)
{
    if (!imds_settings_read(&l->chain->imds, l->given->environment, l->profile, &l->err))
        return CREDENTIALS_BROKEN;
    if (l->chain->imds.disabled)
        return unset(l, "switched off by AWS_EC2_METADATA_DISABLED");
    if (l->given->not_ec2 && !has_endpoint(l))
        return unset(l, "this machine is no EC2 instance by its DMI (if it is, set AWS_EC2_METADATA_SERVICE_ENDPOINT)");
    l->recipe = (struct credentials_recipe){.base = RECIPE_IMDS, .expires_wall_ms = CREDENTIALS_NEVER};
    return ready(l, "the role of this instance, from %s", l->chain->imds.endpoint);
}

static enum credentials_answer look_web_identity(struct looking *l)
{
    char *const *environment = l->given->environment;
    const char *file = credentials_variable(environment, "AWS_WEB_IDENTITY_TOKEN_FILE");
    l->recipe = (struct credentials_recipe){
        .base = RECIPE_WEB_IDENTITY,
        .token_file = file,
        .web = {.role_arn = credentials_variable(environment, "AWS_ROLE_ARN"),
                .session_name = credentials_variable(environment, "AWS_ROLE_SESSION_NAME")},
        .expires_wall_ms = CREDENTIALS_NEVER,
    };
    if (!file)
        return unset(l, "AWS_WEB_IDENTITY_TOKEN_FILE is not set");
    if (!l->recipe.web.role_arn)
        return broken(l, "AWS_WEB_IDENTITY_TOKEN_FILE is set without AWS_ROLE_ARN: set the ARN of the role, too");
    if (!recipe_role_check(&l->recipe.web, "AWS_ROLE_ARN", &l->err))
        return CREDENTIALS_BROKEN;
    return ready(l, "%s with a web identity", l->recipe.web.role_arn);
}

/* What a profile's credential_source stands for: the same looks as those of the chain, but what is not there is missed. */
static enum credentials_answer look_named_source(struct looking *l)
{
    struct credentials_recipe wanted = l->recipe;
    enum credentials_answer answer = wanted.base == RECIPE_ENVIRONMENT ? look_environment(l)
                                     : wanted.base == RECIPE_CONTAINER ? look_container(l)
                                                                       : look_imds(l);
    if (answer != CREDENTIALS_READY) {
        struct err why = l->err;
        return broken(l, "the profile %.60s has a credential_source that gives nothing: %s", wanted.profile, why.text);
    }
    if (wanted.base == RECIPE_ENVIRONMENT) {
        struct credentials_recipe keys = l->recipe;
        wanted.base = RECIPE_KEYS;
        wanted.profile = NULL;
        wanted.access_key_id = keys.access_key_id;
        wanted.secret_access_key = keys.secret_access_key;
        wanted.session_token = keys.session_token;
        wanted.account_id = keys.account_id;
        wanted.expires_wall_ms = keys.expires_wall_ms;
    }
    l->recipe = wanted;
    return CREDENTIALS_READY;
}

static void describe(struct looking *l)
{
    static const char *const bases[] = {
        [RECIPE_NOTHING] = "nothing",           [RECIPE_KEYS] = "keys",
        [RECIPE_WEB_IDENTITY] = "web identity", [RECIPE_PROCESS] = "the output of a process",
        [RECIPE_ENVIRONMENT] = "environment",   [RECIPE_CONTAINER] = "the container's credentials",
        [RECIPE_IMDS] = "the instance's role",
    };
    const struct credentials_recipe *recipe = &l->recipe;
    const char *last = recipe->role_count                    ? recipe->roles[recipe->role_count - 1].role_arn
                       : recipe->base == RECIPE_WEB_IDENTITY ? recipe->web.role_arn
                                                             : NULL;
    err_set(&l->err, ERR_NONE, "profile %.60s: %.100s%s%s%s", l->paths.profile, last ? last : bases[recipe->base], last ? " with " : "",
            last ? bases[recipe->base] : "", recipe->role_count > 1 ? ", role after role" : "");
}

static enum credentials_answer look_profile(struct looking *l)
{
    if (l->given->profiles_fault && l->given->profiles_fault->kind != ERR_NONE) {
        l->err = *l->given->profiles_fault;
        return CREDENTIALS_BROKEN;
    }
    static const struct profile_set nothing;
    const struct profile_set *set = l->given->profiles ? l->given->profiles : &nothing;
    enum credentials_answer answer = credentials_recipe(set, l->paths.profile, l->paths.asked, &l->recipe, &l->err);
    if (answer == CREDENTIALS_UNSET)
        return unset(l, l->profile ? "the profile says nothing about credentials" : "there is no profile");
    if (answer == CREDENTIALS_BROKEN)
        return answer;
    recipe_cap_durations(&l->recipe);
    enum recipe_base base = l->recipe.base;
    if (base == RECIPE_ENVIRONMENT || base == RECIPE_CONTAINER || base == RECIPE_IMDS)
        answer = look_named_source(l);
    if (answer == CREDENTIALS_READY)
        describe(l);
    return answer;
}

enum credentials_answer credentials_chain(const struct credentials_given *given, struct credentials_chain *chain, struct err *err)
{
    static enum credentials_answer (*const looks[SOURCE_COUNT])(struct looking *) = {
        [SOURCE_ENVIRONMENT] = look_environment, [SOURCE_PROFILE] = look_profile, [SOURCE_WEB_IDENTITY] = look_web_identity,
        [SOURCE_CONTAINER] = look_container,     [SOURCE_IMDS] = look_imds,
    };
    *chain = (struct credentials_chain){.chosen = -1, .recipe = {.expires_wall_ms = CREDENTIALS_NEVER}};
    struct looking *l = calloc(1, sizeof *l);
    if (!l) {
        err_set(err, ERR_SYSTEM, "no memory to look for credentials");
        return CREDENTIALS_BROKEN;
    }
    l->given = given;
    l->chain = chain;
    credentials_paths(given->environment, &l->paths, NULL);
    l->profile = given->profiles ? profile_find(given->profiles, PROFILE_NORMAL, l->paths.profile) : NULL;
    enum credentials_answer result = CREDENTIALS_UNSET;
    for (int i = 0; i < SOURCE_COUNT; i++) {
        l->err = (struct err){0};
        enum credentials_answer answer = looks[i](l);
        chain->steps[i].answer = answer;
        snprintf(chain->steps[i].text, sizeof chain->steps[i].text, "%s", l->err.text);
        if (answer == CREDENTIALS_UNSET || chain->chosen >= 0)
            continue;
        chain->chosen = i;
        result = answer;
        chain->recipe = l->recipe;
        if (err && answer == CREDENTIALS_BROKEN)
            *err = l->err;
    }
    if (chain->chosen < 0)
        err_set(err, ERR_MISSING,
                "no source of credentials is configured: neither keys, profile, web identity nor container, and for the instance's "
                "metadata: %s",
                chain->steps[SOURCE_IMDS].text);
    free(l);
    return result;
}
