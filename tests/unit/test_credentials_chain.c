/* credentials_chain, credentials_container and imds_settings: which source counts, and what a broken one is told. */
#include "appliance/aws_date.h"
#include "appliance/credentials_chain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MOST = 12 };
#define KEYS    "AWS_ACCESS_KEY_ID=AKID", "AWS_SECRET_ACCESS_KEY=hidden"
#define WEB     "AWS_WEB_IDENTITY_TOKEN_FILE=/t", "AWS_ROLE_ARN=arn:aws:iam::111122223333:role/One"
#define ECS     "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=/v2/me"
#define OFF     "AWS_EC2_METADATA_DISABLED=true"
#define PROFILE "[default]\naws_access_key_id = PROFILE\naws_secret_access_key = hidden\n"

static const struct example {
    char *environment[MOST];
    const char *config;
    int chosen;
    enum credentials_answer answer;
    const char *sentence; /* a part of the chosen step's text, or of the error when nothing is chosen */
} examples[] = {
    /* the order */
    {{KEYS, WEB, ECS}, PROFILE, SOURCE_ENVIRONMENT, CREDENTIALS_READY, "keys from the environment"},
    {{WEB, ECS}, PROFILE, SOURCE_PROFILE, CREDENTIALS_READY, "profile default: keys"},
    {{WEB, ECS}, "[default]\nregion = x\n", SOURCE_WEB_IDENTITY, CREDENTIALS_READY, "role/One with a web identity"},
    {{ECS}, NULL, SOURCE_CONTAINER, CREDENTIALS_READY, "asks http://169.254.170.2/v2/me"},
    {{"HOME=/"}, NULL, SOURCE_IMDS, CREDENTIALS_READY, "the role of this instance, from http://169.254.169.254"},
    {{OFF}, NULL, -1, CREDENTIALS_UNSET, "switched off by AWS_EC2_METADATA_DISABLED"},
    /* blank is not set */
    {{"AWS_ACCESS_KEY_ID=", "AWS_SECRET_ACCESS_KEY=", "AWS_WEB_IDENTITY_TOKEN_FILE= ", ECS},
     NULL,
     SOURCE_CONTAINER,
     CREDENTIALS_READY,
     "asks"},
    {{"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=", "AWS_CONTAINER_CREDENTIALS_FULL_URI=", "AWS_PROFILE=\t"},
     NULL,
     SOURCE_IMDS,
     CREDENTIALS_READY,
     "the role"},
    /* configured and broken: nobody else is asked */
    {{"AWS_ACCESS_KEY_ID=AKID", ECS},
     PROFILE,
     SOURCE_ENVIRONMENT,
     CREDENTIALS_BROKEN,
     "AWS_ACCESS_KEY_ID is set without AWS_SECRET_ACCESS_KEY: set both, or neither"},
    {{"AWS_SECRET_ACCESS_KEY=S", "AWS_ACCESS_KEY_ID= "},
     NULL,
     SOURCE_ENVIRONMENT,
     CREDENTIALS_BROKEN,
     "AWS_SECRET_ACCESS_KEY is set without AWS_ACCESS_KEY_ID"},
    {{KEYS, "AWS_CREDENTIAL_EXPIRATION=2026-01-01T00:00:00Z"},
     NULL,
     SOURCE_ENVIRONMENT,
     CREDENTIALS_BROKEN,
     "the keys in the environment expired at 2026-01-01T00:00:00Z (AWS_CREDENTIAL_EXPIRATION), and nothing renews them: unset"},
    {{KEYS, "AWS_CREDENTIAL_EXPIRATION=soon"}, NULL, SOURCE_ENVIRONMENT, CREDENTIALS_BROKEN, "AWS_CREDENTIAL_EXPIRATION: "},
    {{KEYS, "AWS_SESSION_TOKEN=a\nb"},
     NULL,
     SOURCE_ENVIRONMENT,
     CREDENTIALS_BROKEN,
     "in the environment the session token holds a line break"},
    {{"AWS_PROFILE=gone", ECS}, PROFILE, SOURCE_PROFILE, CREDENTIALS_BROKEN, "AWS_PROFILE names the profile gone, and neither config nor"},
    {{"AWS_DEFAULT_PROFILE=gone", ECS}, PROFILE, SOURCE_PROFILE, CREDENTIALS_BROKEN, "the profile gone"},
    {{"AWS_WEB_IDENTITY_TOKEN_FILE=/t", ECS}, NULL, SOURCE_WEB_IDENTITY, CREDENTIALS_BROKEN, "is set without AWS_ROLE_ARN"},
    {{"AWS_WEB_IDENTITY_TOKEN_FILE=/t", "AWS_ROLE_ARN=One"},
     NULL,
     SOURCE_WEB_IDENTITY,
     CREDENTIALS_BROKEN,
     "AWS_ROLE_ARN: the role must be an ARN"},
    {{"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI=v2"}, NULL, SOURCE_CONTAINER, CREDENTIALS_BROKEN, "must begin with '/'"},
    {{"AWS_EC2_METADATA_DISABLED=1"}, NULL, SOURCE_IMDS, CREDENTIALS_BROKEN, "AWS_EC2_METADATA_DISABLED must be true or false, not \"1\""},
    /* what is in the environment and means nothing by itself */
    {{"AWS_SESSION_TOKEN=T", "AWS_ROLE_ARN=arn:aws:iam::1:role/x", OFF},
     NULL,
     -1,
     CREDENTIALS_UNSET,
     "no source of credentials is configured"},
    {{"AWS_ACCESS_KEY_IDENTITY=x", OFF}, NULL, -1, CREDENTIALS_UNSET, "no source"},
    {{KEYS, "AWS_CREDENTIAL_EXPIRATION=2026-02-01T00:00:00Z", "AWS_SESSION_TOKEN=T"},
     NULL,
     SOURCE_ENVIRONMENT,
     CREDENTIALS_READY,
     "with a session token, which nothing renews"},
    /* sources that a profile names */
    {{"AWS_PROFILE=a", ECS},
     "[profile a]\nrole_arn = arn:aws:iam::1:role/x\ncredential_source = EcsContainer\n",
     SOURCE_PROFILE,
     CREDENTIALS_READY,
     "profile a: arn:aws:iam::1:role/x with the container's credentials"},
    {{"AWS_PROFILE=a"},
     "[profile a]\nrole_arn = arn:aws:iam::1:role/x\ncredential_source = EcsContainer\n",
     SOURCE_PROFILE,
     CREDENTIALS_BROKEN,
     "the profile a has a credential_source that gives nothing: AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and"},
    {{"AWS_PROFILE=a"},
     "[profile a]\nrole_arn = arn:aws:iam::1:role/x\ncredential_source = Environment\n",
     SOURCE_PROFILE,
     CREDENTIALS_BROKEN,
     "gives nothing: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set"},
    {{"AWS_PROFILE=a", OFF},
     "[profile a]\nrole_arn = arn:aws:iam::1:role/x\ncredential_source = Ec2InstanceMetadata\n",
     SOURCE_PROFILE,
     CREDENTIALS_BROKEN,
     "gives nothing: switched off by AWS_EC2_METADATA_DISABLED"},
    {{"AWS_PROFILE=a"},
     "[profile a]\nrole_arn = arn:aws:iam::1:role/x\ncredential_source = Ec2InstanceMetadata\n",
     SOURCE_PROFILE,
     CREDENTIALS_READY,
     "with the instance's role"},
};

static void chooses_the_first_that_is_configured(void **state)
{
    (void)state;
    int64_t now;
    assert_true(aws_date_read_iso(bytes_of("2026-01-15T00:00:00Z"), &now, NULL));
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        const struct example *e = &examples[i];
        struct profile_set set = {0};
        if (e->config)
            assert_true(profile_read(&set, PROFILE_CONFIG, "config", bytes_of(e->config), NULL));
        struct credentials_given given = {.environment = e->environment, .profiles = e->config ? &set : NULL, .now_wall_ms = now};
        struct credentials_chain chain;
        struct err err = {0};
        enum credentials_answer answer = credentials_chain(&given, &chain, &err);
        const char *text = chain.chosen < 0 ? err.text : chain.steps[chain.chosen].text;
        if (answer != e->answer || chain.chosen != e->chosen || !strstr(text, e->sentence))
            fail_msg("example %zu (%s ...): answer %d, chosen %d: %s", i, e->environment[0], (int)answer, chain.chosen, text);
        if (answer == CREDENTIALS_READY)
            assert_int_equal(err.kind, ERR_NONE);
        else if (answer == CREDENTIALS_BROKEN)
            assert_string_equal(err.text, text);
        for (int j = 0; j < SOURCE_COUNT; j++) {
            assert_true(chain.steps[j].text[0]); /* each has something to say */
            assert_null(strstr(chain.steps[j].text, "hidden"));
        }
        profile_free(&set);
    }
}

static void keeps_what_the_chosen_one_needs(void **state)
{
    (void)state;
    char *environment[] = {"AWS_ACCESS_KEY_ID= AKID ", "AWS_SECRET_ACCESS_KEY=hidden\t", "AWS_CREDENTIAL_EXPIRATION=2026-02-01T00:00:00Z",
                           NULL};
    struct credentials_given given = {.environment = environment};
    struct credentials_chain chain;
    struct credentials keys;
    assert_int_equal(credentials_chain(&given, &chain, NULL), CREDENTIALS_READY);
    assert_true(credentials_recipe_keys(&chain.recipe, &keys, NULL));
    assert_string_equal(keys.access_key_id, "AKID");
    assert_string_equal(keys.secret_access_key, "hidden");
    assert_true(keys.expires_wall_ms > 0 && keys.expires_wall_ms != CREDENTIALS_NEVER);
    credentials_free(&keys);

    /* Looked at from a profile, the environment's keys are under the role. */
    struct profile_set set = {0};
    assert_true(profile_read(&set, PROFILE_CONFIG, "config",
                             bytes_of("[default]\nrole_arn = arn:aws:iam::1:role/x\ncredential_source = Environment\n"), NULL));
    given.profiles = &set;
    assert_int_equal(credentials_chain(&given, &chain, NULL), CREDENTIALS_READY);
    assert_int_equal(chain.chosen, SOURCE_ENVIRONMENT);
    assert_int_equal(chain.recipe.role_count, 0);
    assert_string_equal(chain.steps[SOURCE_PROFILE].text, "profile default: arn:aws:iam::1:role/x with keys");
    profile_free(&set);

    const struct err fault = {.kind = ERR_DENIED, .text = "/home/me/.aws/config: permission denied"};
    char *none[] = {NULL};
    given = (struct credentials_given){.environment = none, .profiles_fault = &fault};
    struct err err;
    assert_int_equal(credentials_chain(&given, &chain, &err), CREDENTIALS_BROKEN);
    assert_string_equal(err.text, fault.text);
    assert_int_equal(chain.chosen, SOURCE_PROFILE);

    given = (struct credentials_given){.environment = none, .not_ec2 = true};
    assert_int_equal(credentials_chain(&given, &chain, &err), CREDENTIALS_UNSET);
    assert_non_null(strstr(err.text, "this machine is no EC2 instance"));
    char *local[] = {"AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:1338/", NULL};
    given.environment = local;
    assert_int_equal(credentials_chain(&given, &chain, &err), CREDENTIALS_READY);
    assert_string_equal(chain.imds.endpoint, "http://127.0.0.1:1338");
}

static void finds_the_files(void **state)
{
    (void)state;
    struct credentials_paths paths;
    struct err err = {0};
    char *environment[] = {"HOME=/home/me", "AWS_SHARED_CREDENTIALS_FILE=/etc/keys", "AWS_PROFILE=p", NULL};
    assert_true(credentials_paths(environment, &paths, &err));
    assert_string_equal(paths.file[PROFILE_CONFIG], "/home/me/.aws/config");
    assert_string_equal(paths.file[PROFILE_CREDENTIALS], "/etc/keys");
    assert_false(paths.named[PROFILE_CONFIG]);
    assert_true(paths.named[PROFILE_CREDENTIALS]);
    assert_string_equal(paths.profile, "p");
    char *at_home[] = {"HOME=/h", "AWS_CONFIG_FILE=~/c", NULL};
    assert_true(credentials_paths(at_home, &paths, &err));
    assert_string_equal(paths.file[PROFILE_CONFIG], "/h/c");
    assert_string_equal(paths.profile, "default");
    assert_false(paths.asked);
    char *homeless[] = {"AWS_CONFIG_FILE=/c", NULL};
    assert_false(credentials_paths(homeless, &paths, &err));
    assert_int_equal(err.kind, ERR_NONE);
    assert_string_equal(paths.file[PROFILE_CONFIG], "/c");
    assert_string_equal(paths.file[PROFILE_CREDENTIALS], "");
}

static void lets_http_go_to_this_machine_only(void **state)
{
    (void)state;
    static const struct {
        const char *url, *sentence; /* NULL: it is taken as it is */
    } urls[] = {
        {"https://example.com/creds?x=1", NULL},
        {"https://example.com", NULL},
        {"http://127.0.0.1:80/x", NULL},
        {"http://127.9.8.7/x", NULL},
        {"http://LocalHost:1/x", NULL},
        {"http://[::1]:8080/x", NULL},
        {"http://169.254.170.2/x", NULL},
        {"http://169.254.170.23/v1/credentials", NULL},
        {"http://[fd00:ec2::23]/v1/credentials", NULL},
        {"http://[fd00:EC2:0::23]/v1/credentials", NULL},
        {"http://example.com/x", "http:// is only allowed to loopback, 169.254.170.2, 169.254.170.23 and [fd00:ec2::23]: use https://"},
        {"http://127.0.0.1.example.com/", "only allowed"},
        {"http://127.1/", "only allowed"},
        {"http://0x7f.0.0.1/", "only allowed"},
        {"http://0177.0.0.1/", "only allowed"},
        {"http://2130706433/", "only allowed"},
        {"http://128.0.0.1/", "only allowed"},
        {"http://169.254.169.254/", "only allowed"},
        {"http://169.254.170.3/", "only allowed"},
        {"http://[fd00:ec2::254]/", "only allowed"},
        {"http://[::ffff:127.0.0.1]/", "only allowed"},
        {"http://localhost.example.com/", "only allowed"},
        {"http://me@127.0.0.1/", "must name a host"},
        {"http://127.0.0.1@example.com/", "must name a host"},
        {"http://[::1/", "must name a host"},
        {"http://::1/", "must name a host"},
        {"http://[::1]x/", "must name a host"},
        {"http:///x", "must name a host"},
        {"https://a_b.example.com:0/", "port that is no number"},
        {"https://example.com:65536/", "port that is no number"},
        {"https://example.com:/", "port that is no number"},
        {"ftp://127.0.0.1/", "must begin with http:// or https://"},
        {"127.0.0.1/x", "must begin with http"},
        {"http://127.0.0.1/a b", "is not a URL"},
        {"http://127.0.0.1/\r\nHost: x", "is not a URL"},
        {"http://127.0.0.1\\@example.com/", "is not a URL"},
        {"http://127.0.0.1/#x", "is not a URL"},
    };
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        char variable[200];
        snprintf(variable, sizeof variable, "AWS_CONTAINER_CREDENTIALS_FULL_URI=%s", urls[i].url);
        char *environment[] = {variable, NULL};
        struct credentials_container container;
        struct err err = {0};
        enum credentials_answer answer = credentials_container(environment, &container, &err);
        if (urls[i].sentence ? answer != CREDENTIALS_BROKEN || !strstr(err.text, urls[i].sentence)
                             : answer != CREDENTIALS_READY || strcmp(container.url, urls[i].url) != 0)
            fail_msg("%s: %d %s", urls[i].url, (int)answer, err.text);
    }
}

static void takes_the_token_from_the_file_first(void **state)
{
    (void)state;
    struct credentials_container container;
    struct err err = {0};
    char *both[] = {ECS, "AWS_CONTAINER_CREDENTIALS_FULL_URI=http://example.com/", "AWS_CONTAINER_AUTHORIZATION_TOKEN=a\nb",
                    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=/t", NULL};
    assert_int_equal(credentials_container(both, &container, &err), CREDENTIALS_READY);
    assert_string_equal(container.url, "http://169.254.170.2/v2/me");
    assert_string_equal(container.token_file, "/t");
    assert_null(container.token);
    char *alone[] = {ECS, "AWS_CONTAINER_AUTHORIZATION_TOKEN=Basic a b", NULL};
    assert_int_equal(credentials_container(alone, &container, &err), CREDENTIALS_READY);
    assert_string_equal(container.token, "Basic a b");
    char *broken[] = {ECS, "AWS_CONTAINER_AUTHORIZATION_TOKEN=a\rb", NULL};
    assert_int_equal(credentials_container(broken, &container, &err), CREDENTIALS_BROKEN);
    assert_non_null(strstr(err.text, "AWS_CONTAINER_AUTHORIZATION_TOKEN holds a line break"));

    assert_true(credentials_container_token(bytes_of("token"), "/t", &err));
    assert_false(credentials_container_token(bytes_of("token\n"), "/t", &err));
    assert_string_equal(err.text, "the token in /t holds a line break: write it on one line, without one at its end");
    assert_false(credentials_container_token(bytes_of(""), "/t", &err));
    assert_string_equal(err.text, "the token in /t is empty");
}

static void reads_the_settings_of_imds(void **state)
{
    (void)state;
    static const struct {
        char *environment[4];
        const char *config, *endpoint; /* "!" and a part of the sentence */
        bool disabled, v1_allowed;
    } cases[] = {
        {{NULL}, NULL, "http://169.254.169.254", false, false},
        {{"AWS_EC2_METADATA_SERVICE_ENDPOINT=http://other:456"}, NULL, "http://other:456", false, false},
        {{"AWS_EC2_METADATA_SERVICE_ENDPOINT=http://other:456/"}, NULL, "http://other:456", false, false},
        {{"AWS_EC2_METADATA_SERVICE_ENDPOINT=https://other/a//"}, NULL, "https://other/a", false, false},
        {{NULL}, "ec2_metadata_service_endpoint = http://other:456/", "http://other:456", false, false},
        {{"AWS_EC2_METADATA_SERVICE_ENDPOINT=http://other:456"},
         "ec2_metadata_service_endpoint = http://wrong",
         "http://other:456",
         false,
         false},
        {{"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE=IPv4"}, NULL, "http://169.254.169.254", false, false},
        {{"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE=ipv6"}, NULL, "http://[fd00:ec2::254]", false, false},
        {{NULL}, "ec2_metadata_service_endpoint_mode = IPv6", "http://[fd00:ec2::254]", false, false},
        {{"AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:1", "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE=IPv6"},
         NULL,
         "http://127.0.0.1:1",
         false,
         false},
        {{"AWS_EC2_METADATA_DISABLED=TRUE"}, NULL, "http://169.254.169.254", true, false},
        {{"AWS_EC2_METADATA_DISABLED= "}, NULL, "http://169.254.169.254", false, false},
        {{"AWS_EC2_METADATA_V1_DISABLED=False"}, NULL, "http://169.254.169.254", false, true},
        {{"AWS_EC2_METADATA_V1_DISABLED=true"}, "ec2_metadata_v1_disabled = false", "http://169.254.169.254", false, false},
        {{NULL}, "ec2_metadata_v1_disabled = false", "http://169.254.169.254", false, true},
        {{"AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE=error"},
         NULL,
         "!AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE must be IPv4 or IPv6, not \"error\"",
         false,
         false},
        {{NULL},
         "ec2_metadata_service_endpoint_mode = IPv7",
         "!ec2_metadata_service_endpoint_mode must be IPv4 or IPv6, not \"IPv7\"",
         false,
         false},
        {{"AWS_EC2_METADATA_SERVICE_ENDPOINT=not a uri"}, NULL, "!AWS_EC2_METADATA_SERVICE_ENDPOINT is not a URL", false, false},
        {{"AWS_EC2_METADATA_SERVICE_ENDPOINT=http://a/?b"}, NULL, "!can't have a '?'", false, false},
        {{"AWS_METADATA_SERVICE_NUM_ATTEMPTS=0"},
         NULL,
         "!AWS_METADATA_SERVICE_NUM_ATTEMPTS must be a whole number from 1 to 20",
         false,
         false},
        {{"AWS_METADATA_SERVICE_TIMEOUT=1.5"}, NULL, "!AWS_METADATA_SERVICE_TIMEOUT must be a whole number", false, false},
        {{"AWS_EC2_METADATA_V1_DISABLED=no"}, NULL, "!AWS_EC2_METADATA_V1_DISABLED must be true or false", false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char config[200];
        snprintf(config, sizeof config, "[default]\n%s\n", cases[i].config ? cases[i].config : "");
        struct profile_set set = {0};
        struct imds_settings settings;
        struct err err = {0};
        assert_true(profile_read(&set, PROFILE_CONFIG, "config", bytes_of(config), NULL));
        bool ok = imds_settings_read(&settings, cases[i].environment, profile_find(&set, PROFILE_NORMAL, "default"), &err);
        if (cases[i].endpoint[0] == '!' ? ok || !strstr(err.text, cases[i].endpoint + 1)
                                        : !ok || strcmp(settings.endpoint, cases[i].endpoint) != 0 ||
                                              settings.disabled != cases[i].disabled || settings.v1_allowed != cases[i].v1_allowed)
            fail_msg("case %zu (%s): %s %s", i, cases[i].environment[0] ? cases[i].environment[0] : cases[i].config, settings.endpoint,
                     err.text);
        profile_free(&set);
    }
    struct imds_settings settings;
    char *slow[] = {"AWS_METADATA_SERVICE_TIMEOUT=5", "AWS_METADATA_SERVICE_NUM_ATTEMPTS=3", NULL};
    assert_true(imds_settings_read(&settings, slow, NULL, NULL));
    assert_int_equal(settings.connect_ms, 5000);
    assert_int_equal(settings.first_byte_ms, 5000);
    assert_int_equal(settings.tries, 3);
    assert_int_equal(settings.budget_ms, 18000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chooses_the_first_that_is_configured),
        cmocka_unit_test(keeps_what_the_chosen_one_needs),
        cmocka_unit_test(finds_the_files),
        cmocka_unit_test(lets_http_go_to_this_machine_only),
        cmocka_unit_test(takes_the_token_from_the_file_first),
        cmocka_unit_test(reads_the_settings_of_imds),
    };
    return cmocka_run_group_tests_name("credentials_chain", tests, NULL, NULL);
}
