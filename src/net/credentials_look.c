#include "appliance/credentials_look.h"

#include "appliance/clock.h"
#include "appliance/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

static bool read_one(struct credentials_look *look, enum profile_file which)
{
    const char *path = look->paths.file[which];
    if (!path[0])
        return true;
    struct buf text;
    struct err err = {0};
    buf_init(&text, PROFILE_FILE_LIMIT);
    bool ok = file_read(path, &text, &err);
    if (ok)
        ok = profile_read(&look->profiles, which, path, buf_bytes(&text), &err);
    else if (err.kind == ERR_MISSING && !look->paths.named[which])
        ok = true;
    if (text.data)
        explicit_bzero(text.data, text.capacity);
    buf_free(&text);
    if (!ok)
        look->profiles_fault = err;
    return ok;
}

void credentials_look(struct credentials_look *look, char *const *environment, bool not_ec2)
{
    memset(look, 0, sizeof *look);
    look->environment = environment;
    credentials_paths(environment, &look->paths, &look->profiles_fault);
    if (look->profiles_fault.kind == ERR_NONE && read_one(look, PROFILE_CONFIG))
        read_one(look, PROFILE_CREDENTIALS);
    bool usable = look->profiles_fault.kind == ERR_NONE;
    look->profile = usable ? profile_find(&look->profiles, PROFILE_NORMAL, look->paths.profile) : NULL;
    const struct credentials_given given = {
        .environment = environment,
        .profiles = usable ? &look->profiles : NULL,
        .profiles_fault = usable ? NULL : &look->profiles_fault,
        .now_wall_ms = clock_wall_ms(),
        .not_ec2 = not_ec2,
    };
    look->answer = credentials_chain(&given, &look->chain, &look->err);
}

void credentials_look_end(struct credentials_look *look)
{
    profile_free(&look->profiles);
    explicit_bzero(look, sizeof *look);
}

void credentials_look_free(struct credentials_look *look)
{
    if (look)
        credentials_look_end(look);
    free(look);
}

static const char *either(const struct credentials_look *look, const char *variable, const char *property)
{
    const char *value = variable ? credentials_variable(look->environment, variable) : NULL;
    return value || !look->profile || !property ? value : profile_value(look->profile, property);
}

const char *credentials_look_region(const struct credentials_look *look)
{
    const char *region = either(look, "AWS_REGION", NULL);
    return region ? region : either(look, "AWS_DEFAULT_REGION", "region");
}

const char *credentials_look_ca_file(const struct credentials_look *look)
{
    return either(look, "AWS_CA_BUNDLE", "ca_bundle");
}

bool credentials_look_fips(const struct credentials_look *look)
{
    const char *wanted = either(look, "AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint");
    return wanted && strcasecmp(wanted, "true") == 0;
}

const char *credentials_look_sts(const struct credentials_look *look, char *out, size_t size)
{
    const char *ignore = either(look, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "ignore_configured_endpoint_urls");
    if (ignore && strcasecmp(ignore, "true") == 0)
        return NULL;
    const char *url = either(look, "AWS_ENDPOINT_URL_STS", NULL);
    if (!url)
        url = either(look, "AWS_ENDPOINT_URL", NULL);
    if (url)
        return url;
    const char *services = either(look, NULL, "services");
    const struct profile *section = services ? profile_find(&look->profiles, PROFILE_SERVICES, services) : NULL;
    struct bytes nested;
    if (section && profile_nested(profile_property(section, "sts"), "endpoint_url", &nested) && nested.length < size) {
        snprintf(out, size, "%.*s", (int)nested.length, nested.data);
        return out;
    }
    return either(look, NULL, "endpoint_url");
}
