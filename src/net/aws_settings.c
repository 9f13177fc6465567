#include "appliance/aws_settings.h"
#include "appliance/aws_region.h"
#include "appliance/credentials_keys.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { TEXTS_SIZE = 64 * 1024, ATTEMPTS = 3, ATTEMPTS_LEGACY = 5, PLACE_SIZE = PATH_MAX + 16 };

static const char SERVICE_URL[] = "AWS_ENDPOINT_URL_", URL[] = "AWS_ENDPOINT_URL";

struct reading {
    const struct aws_settings_given *given;
    const struct profile *profile; /* NULL: none */
    struct aws_settings *to;
    struct err first; /* of the faults */
    int faults;
};

/* What somebody said, and where; value NULL: nobody. */
struct said {
    struct bytes value;
    char place[PLACE_SIZE];
};

static void fault(struct reading *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void fault(struct reading *r, const char *format, ...)
{
    char text[sizeof r->first.text];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (r->faults++ == 0)
        err_set(&r->first, ERR_INVALID, "%s", text);
}

/* A copy with a zero behind it, or NULL and a fault. */
static const char *keep(struct reading *r, struct bytes text)
{
    struct buf *b = &r->to->texts;
    if (text.length + 1 > b->capacity - b->length) {
        fault(r, "the settings of AWS in the environment and the shared files are longer than %d KiB in all", TEXTS_SIZE / 1024);
        return NULL;
    }
    char *copy = b->data + b->length;
    memcpy(copy, text.data, text.length);
    copy[text.length] = 0;
    b->length += text.length + 1;
    return copy;
}

/* --- who says what --- */

static void place_of(const struct reading *r, const struct profile_property *property, char place[PLACE_SIZE])
{
    profile_place(r->given->profiles, property, place, PLACE_SIZE);
}

/* The variable (NULL: there is none), else the profile's property. False: neither, or blank. */
static bool ask(const struct reading *r, const char *variable, const char *property, struct said *said)
{
    const char *value = variable ? credentials_variable(r->given->environment, variable) : NULL;
    if (value) {
        said->value = credentials_trim(bytes_of(value));
        snprintf(said->place, sizeof said->place, "%s", variable);
        return true;
    }
    const struct profile_property *p = r->profile && property ? profile_property(r->profile, property) : NULL;
    said->value = credentials_trim(p ? bytes_of(p->value) : (struct bytes){"", 0});
    if (said->value.length == 0)
        return false;
    place_of(r, p, said->place);
    return true;
}

/* A line below "s3 =". */
static bool ask_s3(const struct reading *r, const char *name, struct said *said)
{
    const struct profile_property *p = r->profile ? profile_property(r->profile, "s3") : NULL;
    if (!p || !profile_nested(p, name, &said->value))
        return false;
    place_of(r, p, said->place);
    return true;
}

static bool is(const struct said *said, const char *word)
{
    return said->value.length == strlen(word) && strncasecmp(said->value.data, word, said->value.length) == 0;
}

static void refuse(struct reading *r, const struct said *said, const char *name, const char *wanted)
{
    char shown[41];
    fault(r, "%.120s: %s is \"%s\", and must be %s", said->place, name, bytes_shown(said->value, shown, sizeof shown), wanted);
}

static void read_switch(struct reading *r, const struct said *said, const char *name, bool *to)
{
    if (is(said, "true") || is(said, "1"))
        *to = true;
    else if (is(said, "false") || is(said, "0"))
        *to = false;
    else
        refuse(r, said, name, "true or false");
}

static void read_when(struct reading *r, const char *variable, const char *property, bool *supported)
{
    struct said said;
    *supported = true;
    if (!ask(r, variable, property, &said))
        return;
    if (is(&said, "when_required"))
        *supported = false;
    else if (!is(&said, "when_supported"))
        refuse(r, &said, property, "when_supported or when_required");
}

/* --- the settings one by one --- */

static void read_region(struct reading *r)
{
    struct said said;
    struct err err;
    bool given = ask(r, "AWS_REGION", NULL, &said) || ask(r, "AWS_DEFAULT_REGION", NULL, &said);
    if (!given && !ask(r, NULL, "region", &said))
        return;
    if (!aws_region_check(said.value, &err)) {
        refuse(r, &said, "the region", "a name such as eu-west-1");
        return;
    }
    r->to->region_is_given = given;
    snprintf(r->to->region, sizeof r->to->region, "%.*s", (int)said.value.length, said.value.data);
}

static void read_retries(struct reading *r)
{
    struct said said;
    if (ask(r, "AWS_RETRY_MODE", "retry_mode", &said)) {
        if (is(&said, "legacy"))
            r->to->retry_mode = AWS_RETRY_LEGACY;
        else if (is(&said, "adaptive"))
            r->to->retry_mode = AWS_RETRY_ADAPTIVE;
        else if (!is(&said, "standard"))
            refuse(r, &said, "the retry mode", "standard, adaptive or legacy");
    }
    r->to->attempts = r->to->retry_mode == AWS_RETRY_LEGACY ? ATTEMPTS_LEGACY : ATTEMPTS;
    if (!ask(r, "AWS_MAX_ATTEMPTS", "max_attempts", &said))
        return;
    int attempts = 0;
    bool number = said.value.length <= 3;
    for (size_t i = 0; number && i < said.value.length; i++) {
        number = isdigit((unsigned char)said.value.data[i]);
        attempts = 10 * attempts + (said.value.data[i] - '0');
    }
    if (!number || attempts < 1 || attempts > AWS_ATTEMPTS_LIMIT)
        refuse(r, &said, "the number of attempts", "1 to 100");
    else
        r->to->attempts = attempts;
}

static void read_s3(struct reading *r)
{
    struct said said;
    if (ask_s3(r, "payload_signing_enabled", &said))
        read_switch(r, &said, "payload_signing_enabled", &r->to->sign_payload);
    if (ask_s3(r, "use_dualstack_endpoint", &said))
        read_switch(r, &said, "use_dualstack_endpoint", &r->to->dualstack);
    if (!ask_s3(r, "addressing_style", &said))
        return;
    if (is(&said, "path"))
        r->to->s3_style = S3_STYLE_PATH;
    else if (is(&said, "virtual"))
        r->to->s3_style = S3_STYLE_VIRTUAL;
    else if (!is(&said, "auto"))
        refuse(r, &said, "addressing_style", "path, virtual or auto");
}

/* --- endpoints, those that go before others first --- */

static void add_endpoint(struct reading *r, const char *service, const struct said *said)
{
    struct aws_settings *to = r->to;
    struct err err;
    if (to->endpoint_count == AWS_ENDPOINT_LIMIT) {
        fault(r, "%.120s: more than %d endpoints are configured", said->place, AWS_ENDPOINT_LIMIT);
        return;
    }
    struct aws_settings_endpoint *e = &to->endpoints[to->endpoint_count];
    const char *url = keep(r, said->value), *from = keep(r, bytes_of(said->place));
    *e = (struct aws_settings_endpoint){.from = from};
    if (service)
        e->service = keep(r, bytes_of(service));
    if (!url || !from || (service && !e->service))
        return;
    if (!aws_endpoint_read(bytes_of(url), &e->endpoint, &err))
        fault(r, "%.100s: %s", said->place, err.text);
    else
        to->endpoint_count++;
}

static void read_service_variables(struct reading *r)
{
    enum { PREFIX = sizeof SERVICE_URL - 1 };
    for (char *const *at = r->given->environment; at && *at; at++) {
        const char *equals = strchr(*at, '=');
        char name[PREFIX + 64], service[64];
        if (strncmp(*at, SERVICE_URL, PREFIX) != 0 || !equals || (size_t)(equals - *at) >= sizeof name)
            continue;
        snprintf(name, sizeof name, "%.*s", (int)(equals - *at), *at);
        size_t length = strlen(name + PREFIX);
        for (size_t i = 0; i <= length; i++)
            service[i] = (char)tolower((unsigned char)name[PREFIX + i]);
        struct said said;
        if (ask(r, name, NULL, &said))
            add_endpoint(r, service, &said);
    }
}

static void read_services_section(struct reading *r)
{
    struct said said;
    if (!ask(r, NULL, "services", &said))
        return;
    char name[128];
    snprintf(name, sizeof name, "%.*s", (int)said.value.length, said.value.data);
    const struct profile *section = profile_find(r->given->profiles, PROFILE_SERVICES, name);
    if (!section) {
        fault(r, "%.120s: there is no section [services %.60s]: add it, or remove the line", said.place, name);
        return;
    }
    for (size_t i = 0; i < section->count; i++) {
        const struct profile_property *p = &section->properties[i];
        if (!profile_nested(p, "endpoint_url", &said.value))
            continue;
        place_of(r, p, said.place);
        add_endpoint(r, p->name, &said);
    }
}

static void read_endpoints(struct reading *r)
{
    struct said said;
    if (ask(r, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "ignore_configured_endpoint_urls", &said))
        read_switch(r, &said, "ignore_configured_endpoint_urls", &r->to->ignore_endpoints);
    if (r->to->ignore_endpoints)
        return;
    read_service_variables(r);
    if (ask(r, URL, NULL, &said))
        add_endpoint(r, NULL, &said);
    read_services_section(r);
    if (ask(r, NULL, "endpoint_url", &said))
        add_endpoint(r, NULL, &said);
}

static void read_all(struct reading *r)
{
    struct said said;
    if (r->profile)
        r->to->profile = keep(r, bytes_of(r->profile->name));
    read_region(r);
    read_retries(r);
    read_when(r, "AWS_REQUEST_CHECKSUM_CALCULATION", "request_checksum_calculation", &r->to->checksum_requests);
    read_when(r, "AWS_RESPONSE_CHECKSUM_VALIDATION", "response_checksum_validation", &r->to->checksum_answers);
    read_s3(r);
    if (ask(r, "AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint", &said))
        read_switch(r, &said, "use_dualstack_endpoint", &r->to->dualstack);
    if (ask(r, "AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint", &said))
        read_switch(r, &said, "use_fips_endpoint", &r->to->fips);
    if (ask(r, "AWS_CA_BUNDLE", "ca_bundle", &said))
        r->to->ca_file = keep(r, said.value);
    read_endpoints(r);
}

bool aws_settings_read(struct aws_settings *to, const struct aws_settings_given *given, struct err *err)
{
    struct reading r = {.given = given, .to = to};
    *to = (struct aws_settings){0};
    buf_init(&to->texts, TEXTS_SIZE);
    if (!buf_reserve(&to->texts, TEXTS_SIZE))
        return err_set(err, ERR_SYSTEM, "no memory for the settings of AWS");
    r.profile = given->profiles && given->profile ? profile_find(given->profiles, PROFILE_NORMAL, given->profile) : NULL;
    read_all(&r);
    if (r.faults > 1)
        return err_set(err, ERR_INVALID, "%.200s (and %d more)", r.first.text, r.faults - 1);
    return r.faults == 0 || err_set(err, ERR_INVALID, "%s", r.first.text);
}

void aws_settings_free(struct aws_settings *settings)
{
    buf_free(&settings->texts);
    *settings = (struct aws_settings){0};
}

/* --- looking up --- */

/* A service's signing name is not always the id that variables and files call it by. */
static bool goes_by(const char *service, const char *id)
{
    static const struct {
        const char *service, *id;
    } others[] = {
        {"elasticloadbalancing", "elastic_load_balancing"},
        {"elasticloadbalancing", "elastic_load_balancing_v2"},
        {"autoscaling", "auto_scaling"},
        {"route53", "route_53"},
        {"monitoring", "cloudwatch"},
        {"logs", "cloudwatch_logs"},
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(others[i].service, service) == 0 && strcmp(others[i].id, id) == 0)
            return true;
    for (; *service && *id; service++, id++)
        if (*service != *id && !(*service == '-' && *id == '_'))
            return false;
    return *service == *id;
}

const struct aws_settings_endpoint *aws_settings_endpoint(const struct aws_settings *settings, const char *service)
{
    for (int i = 0; i < settings->endpoint_count; i++)
        if (!settings->endpoints[i].service || goes_by(service, settings->endpoints[i].service))
            return &settings->endpoints[i];
    return NULL;
}
