#include "appliance/imds_settings.h"

#include "appliance/credentials_container.h"

#include <ctype.h>
#include <stdio.h>
#include <strings.h>

/* A value, and what it is called where it was found. */
struct found {
    const char *value; /* NULL: nowhere */
    const char *name;
};

static struct found find(char *const *environment, const char *variable, const struct profile *profile, const char *property)
{
    const char *value = credentials_variable(environment, variable);
    if (value)
        return (struct found){value, variable};
    return (struct found){profile ? profile_value(profile, property) : NULL, property};
}

static bool read_switch(struct found found, bool *on, struct err *err)
{
    if (!found.value)
        return true;
    struct bytes text = credentials_trim(bytes_of(found.value));
    *on = text.length == 4 && strncasecmp(text.data, "true", 4) == 0;
    if (*on || (text.length == 5 && strncasecmp(text.data, "false", 5) == 0))
        return true;
    return err_set(err, ERR_INVALID, "%s must be true or false, not \"%.40s\"", found.name, found.value);
}

static bool read_number(struct found found, int most, int *number, struct err *err)
{
    if (!found.value)
        return true;
    struct bytes text = credentials_trim(bytes_of(found.value));
    int value = 0;
    bool fine = text.length <= 4;
    for (size_t i = 0; fine && i < text.length; i++) {
        fine = isdigit((unsigned char)text.data[i]);
        value = value * 10 + (text.data[i] - '0');
    }
    if (!fine || value < 1 || value > most)
        return err_set(err, ERR_INVALID, "%s must be a whole number from 1 to %d, not \"%.40s\"", found.name, most, found.value);
    *number = value;
    return true;
}

static bool read_endpoint(struct imds_settings *settings, struct found given, struct found mode, struct err *err)
{
    bool v6 = false;
    if (mode.value) {
        struct bytes text = credentials_trim(bytes_of(mode.value));
        v6 = text.length == 4 && strncasecmp(text.data, "IPv6", 4) == 0;
        if (!v6 && !(text.length == 4 && strncasecmp(text.data, "IPv4", 4) == 0))
            return err_set(err, ERR_INVALID, "%s must be IPv4 or IPv6, not \"%.40s\"", mode.name, mode.value);
    }
    if (!given.value) {
        snprintf(settings->endpoint, sizeof settings->endpoint, "http://%s", v6 ? "[fd00:ec2::254]" : "169.254.169.254");
        return true;
    }
    struct credentials_url url;
    struct bytes text = credentials_trim(bytes_of(given.value));
    if (!credentials_url_cut(text, given.name, &url, err))
        return false;
    if (url.path.length && memchr(url.path.data, '?', url.path.length))
        return err_set(err, ERR_INVALID, "%s can't have a '?': paths are put behind it", given.name);
    while (text.data[text.length - 1] == '/')
        text.length--;
    if (text.length >= sizeof settings->endpoint)
        return err_set(err, ERR_INVALID, "%s is longer than %zu letters", given.name, sizeof settings->endpoint - 1);
    snprintf(settings->endpoint, sizeof settings->endpoint, "%.*s", (int)text.length, text.data);
    return true;
}

bool imds_settings_read(struct imds_settings *settings, char *const *environment, const struct profile *profile, struct err *err)
{
    *settings = (struct imds_settings){.connect_ms = 1000, .first_byte_ms = 2000, .tries = 4, .budget_ms = 10000};
    struct found disabled = {credentials_variable(environment, "AWS_EC2_METADATA_DISABLED"), "AWS_EC2_METADATA_DISABLED"};
    bool v1_disabled = true;
    int timeout_s = 0;
    if (!read_switch(disabled, &settings->disabled, err) ||
        !read_switch(find(environment, "AWS_EC2_METADATA_V1_DISABLED", profile, "ec2_metadata_v1_disabled"), &v1_disabled, err) ||
        !read_number(find(environment, "AWS_METADATA_SERVICE_NUM_ATTEMPTS", profile, "metadata_service_num_attempts"), 20, &settings->tries,
                     err) ||
        !read_number(find(environment, "AWS_METADATA_SERVICE_TIMEOUT", profile, "metadata_service_timeout"), 60, &timeout_s, err))
        return false;
    settings->v1_allowed = !v1_disabled;
    if (timeout_s)
        settings->connect_ms = settings->first_byte_ms = timeout_s * 1000;
    int needed = settings->tries * (settings->first_byte_ms + 1000);
    if (timeout_s && needed > settings->budget_ms)
        settings->budget_ms = needed;
    return read_endpoint(settings, find(environment, "AWS_EC2_METADATA_SERVICE_ENDPOINT", profile, "ec2_metadata_service_endpoint"),
                         find(environment, "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", profile, "ec2_metadata_service_endpoint_mode"), err);
}
