/* credentials_recipe: what a profile means. Most examples restate what AWS's SDKs agree on; the rest is the order within one profile,
 * durations, and what nobody can do for us. */
#include "appliance/credentials_recipe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ROLE_1 "role_arn = arn:aws:iam::111122223333:role/One\n"
#define ROLE_2 "role_arn = arn:aws:iam::111122223333:role/Two\n"
#define KEYS   "aws_access_key_id = AKID\naws_secret_access_key = SECRET\n"
#define OTHER  "aws_access_key_id = wrong\naws_secret_access_key = wrong\n"

/* The profile a is asked for. Expected: the base, then each role, as show() writes them; "!" and a part of the sentence; "-": nothing. */
struct example {
    const char *text, *expected;
};

static const struct example examples[] = {
    /* chains */
    {"[profile a]\n" ROLE_1 "source_profile = b\n[profile b]\n" KEYS, "keys AKID SECRET > One"},
    {"[profile a]\n" OTHER ROLE_1 "source_profile = b\n[profile b]\n" KEYS, "keys AKID SECRET > One"},
    {"[profile a]\n" ROLE_1 "role_session_name = me\nsource_profile = b\n[profile b]\n" KEYS, "keys AKID SECRET > One as me"},
    {"[profile a]\n" ROLE_1 "external_id = e-1\nsource_profile = b\n[profile b]\n" KEYS, "keys AKID SECRET > One for e-1"},
    {"[profile a]\n" ROLE_1 "duration_seconds = 7200\nsource_profile = b\n[profile b]\n" KEYS, "keys AKID SECRET > One 7200 s"},
    {"[profile a]\n" ROLE_1 "source_profile = b\n[profile b]\n" KEYS "aws_session_token = T\naws_account_id = 111122223333\n",
     "keys AKID SECRET T 111122223333 > One"},
    {"[profile a]\n" KEYS ROLE_1 "source_profile = a\n", "keys AKID SECRET > One"},
    {"[profile a]\n" ROLE_1 "source_profile = b\n[profile b]\n" ROLE_2 "source_profile = c\n[profile c]\n" KEYS,
     "keys AKID SECRET > Two > One"},
    {"[profile a]\n" OTHER ROLE_1 "source_profile = b\n[profile b]\n" KEYS ROLE_2 "source_profile = c\n[profile c]\n" OTHER,
     "keys AKID SECRET > One"},
    {"[profile a]\n" ROLE_1 "source_profile = b\n[profile b]\n" KEYS ROLE_2 "source_profile = b\n", "keys AKID SECRET > One"},
    /* other bases */
    {"[profile a]\n" ROLE_1 "credential_source = Ec2InstanceMetadata\n", "imds > One"},
    {"[profile a]\n" ROLE_1 "credential_source = EcsContainer\n", "container > One"},
    {"[profile a]\n" ROLE_1 "credential_source = Environment\n", "environment > One"},
    {"[profile a]\n" ROLE_1 "source_profile = b\n[profile b]\n" ROLE_2 "credential_source = Ec2InstanceMetadata\n", "imds > Two > One"},
    {"[profile a]\n" ROLE_1 "web_identity_token_file = /t\n", "web /t One"},
    {"[profile a]\n" ROLE_1 "web_identity_token_file = /t\nrole_session_name = me\n", "web /t One as me"},
    {"[profile a]\n" OTHER ROLE_1 "web_identity_token_file = /t\n", "web /t One"},
    {"[profile a]\n" ROLE_1 "source_profile = b\n[profile b]\n" ROLE_2 "web_identity_token_file = /t\nrole_session_name = me\n",
     "web /t Two as me > One"},
    {"[profile a]\ncredential_process = /bin/give me\n", "process /bin/give me"},
    {"[profile a]\n" ROLE_1 "source_profile = b\n[profile b]\ncredential_process = /bin/give\n", "process /bin/give > One"},
    {"[profile a]\n" KEYS, "keys AKID SECRET"},
    {"[profile a]\n" KEYS "source_profile = b\n", "keys AKID SECRET"},
    {"[profile a]\n" OTHER "credential_process = /bin/give\n", "process /bin/give"},
    /* nothing is said */
    {"[profile a]\nregion = eu-central-1\n", "-"},
    {"[profile a]\naws_access_key_id =\naws_secret_access_key =  \n", "-"},
    /* faults */
    {"[profile a]\n" ROLE_1, "!config:2: the profile has a role_arn but neither source_profile nor credential_source"},
    {"[profile a]\n" KEYS ROLE_1, "!config:4: the profile has a role_arn but neither source_profile nor credential_source"},
    {"[profile a]\n" ROLE_1 "credential_source = Environment\nsource_profile = b\n[profile b]\n" KEYS,
     "!config:3: the profile has both source_profile and credential_source"},
    {"[profile a]\n" ROLE_1 "credential_source = Moon\n", "!config:3: credential_source must be Environment, EcsContainer or Ec2"},
    {"[profile a]\n" ROLE_1 "source_profile = b\n[profile b]\naws_access_key_id = AKID\n",
     "!config:5: the profile b has aws_access_key_id but no"},
    {"[profile a]\n" ROLE_1 "source_profile = b\n[profile b]\naws_secret_access_key = S\n",
     "!config:5: the profile b has aws_secret_access_key but"},
    {"[profile a]\naws_session_token = T\n", "!config:2: the profile a has aws_session_token but no aws_access_key_id"},
    {"[profile a]\n" ROLE_1 "source_profile = b\n[profile b]\n", "!the profile b is the source of a role, and has no credentials"},
    {"[profile a]\n" ROLE_1 "source_profile = a\n", "!the profile a is the source of a role, and has no credentials"},
    {"[profile a]\n" ROLE_1 "source_profile = b\n", "!config:3: the source_profile b is in neither file"},
    {"[profile b]\n", "!AWS_PROFILE names the profile a, and neither config nor a credentials file has it"},
    {"[profile a]\n" ROLE_1 "source_profile = b\n[profile b]\n" ROLE_2 "source_profile = a\n",
     "!config:6: the profiles go round in a circle"},
    {"[profile a]\n" OTHER ROLE_1 "source_profile = b\n[profile b]\n" ROLE_2 "source_profile = a\n", "!the profiles go round in a circle"},
    {"[profile a]\nweb_identity_token_file = /t\n", "!config:2: web_identity_token_file needs a role_arn"},
    {"[profile a]\nsso_session = x\n", "!signs in a person in a browser"},
    {"[profile a]\nsso_start_url = x\n" KEYS, "!signs in a person in a browser"},
    {"[profile a]\nlogin_session = x\n", "!signs in a person in a browser"},
    {"[profile a]\n" ROLE_1 "mfa_serial = m\nsource_profile = b\n[profile b]\n" KEYS,
     "!config:3: mfa_serial asks for a code from a person"},
    {"[profile a]\nrole_arn = One\ncredential_source = Environment\n", "!config:2: the role must be an ARN"},
    {"[profile a]\n" ROLE_1 "role_session_name = a b\ncredential_source = Environment\n", "!the session name must have 2 to 64"},
    {"[profile a]\n" ROLE_1 "duration_seconds = 1h\ncredential_source = Environment\n", "!config:3: duration_seconds must be a number"},
    {"[profile a]\n" ROLE_1 "duration_seconds = 899\ncredential_source = Environment\n", "!config:3: duration_seconds must be a number"},
    {"[profile a]\n" ROLE_1 "duration_seconds = 43201\ncredential_source = Environment\n", "!config:3: duration_seconds must be a number"},
    {"[profile a]\naws_access_key_id = A\naws_secret_access_key = S\n more\n", "!config:2: the secret access key holds a line break"},
};

static size_t show_role(char *out, size_t size, const struct recipe_role *role)
{
    int length = snprintf(out, size, "%s", strrchr(role->role_arn, '/') + 1);
    if (role->session_name)
        length += snprintf(out + length, size - (size_t)length, " as %s", role->session_name);
    if (role->external_id)
        length += snprintf(out + length, size - (size_t)length, " for %s", role->external_id);
    if (role->duration_s)
        length += snprintf(out + length, size - (size_t)length, " %d s", role->duration_s);
    return (size_t)length;
}

static void show(const struct credentials_recipe *r, char *out, size_t size)
{
    size_t length = 0;
    switch (r->base) {
    case RECIPE_NOTHING: length = (size_t)snprintf(out, size, "nothing"); break;
    case RECIPE_KEYS:
        length = (size_t)snprintf(out, size, "keys %s %s", r->access_key_id, r->secret_access_key);
        if (r->session_token)
            length += (size_t)snprintf(out + length, size - length, " %s %s", r->session_token, r->account_id);
        break;
    case RECIPE_WEB_IDENTITY:
        length = (size_t)snprintf(out, size, "web %s ", r->token_file);
        length += show_role(out + length, size - length, &r->web);
        break;
    case RECIPE_PROCESS: length = (size_t)snprintf(out, size, "process %s", r->command); break;
    case RECIPE_ENVIRONMENT: length = (size_t)snprintf(out, size, "environment"); break;
    case RECIPE_CONTAINER: length = (size_t)snprintf(out, size, "container"); break;
    case RECIPE_IMDS: length = (size_t)snprintf(out, size, "imds"); break;
    }
    for (int i = 0; i < r->role_count; i++) {
        length += (size_t)snprintf(out + length, size - length, " > ");
        length += show_role(out + length, size - length, &r->roles[i]);
    }
}

static void means_what_the_sdks_mean(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        const struct example *e = &examples[i];
        struct profile_set set = {0};
        struct credentials_recipe recipe;
        struct err err = {0};
        char found[512] = "";
        assert_true(profile_read(&set, PROFILE_CONFIG, "config", bytes_of(e->text), &err));
        enum credentials_answer answer = credentials_recipe(&set, "a", true, &recipe, &err);
        bool fine;
        if (e->expected[0] == '!') {
            fine = answer == CREDENTIALS_BROKEN && strstr(err.text, e->expected + 1);
        } else if (e->expected[0] == '-') {
            fine = answer == CREDENTIALS_UNSET;
        } else {
            show(&recipe, found, sizeof found);
            fine = answer == CREDENTIALS_READY && strcmp(found, e->expected) == 0;
        }
        if (!fine)
            fail_msg("example %zu:\n%s\nexpected %s, found (%d) %s %s", i, e->text, e->expected, (int)answer, found, err.text);
        profile_free(&set);
    }
}

static void asks_for_no_profile_that_nobody_named(void **state)
{
    (void)state;
    struct profile_set set = {0};
    struct credentials_recipe recipe;
    struct err err = {0};
    assert_int_equal(credentials_recipe(&set, "default", false, &recipe, &err), CREDENTIALS_UNSET);
    assert_int_equal(err.kind, ERR_NONE);
    assert_int_equal(credentials_recipe(&set, "default", true, &recipe, &err), CREDENTIALS_BROKEN);
    assert_int_equal(err.kind, ERR_MISSING);
}

/* botocore's order: keys of the credentials file, process, keys of the config file. */
static void puts_keys_of_the_credentials_file_before_a_process(void **state)
{
    (void)state;
    struct profile_set set = {0};
    struct credentials_recipe recipe;
    assert_true(profile_read(&set, PROFILE_CONFIG, "config", bytes_of("[profile a]\ncredential_process = x\n"), NULL));
    assert_true(profile_read(&set, PROFILE_CREDENTIALS, "credentials", bytes_of("[a]\n" KEYS), NULL));
    assert_int_equal(credentials_recipe(&set, "a", true, &recipe, NULL), CREDENTIALS_READY);
    assert_int_equal(recipe.base, RECIPE_KEYS);
    struct credentials keys;
    assert_true(credentials_recipe_keys(&recipe, &keys, NULL));
    assert_string_equal(keys.access_key_id, "AKID");
    assert_null(keys.session_token);
    assert_true(keys.expires_wall_ms == CREDENTIALS_NEVER);
    credentials_free(&keys);
    profile_free(&set);
}

static void ends_chains_that_are_too_long(void **state)
{
    (void)state;
    for (int roles = RECIPE_ROLE_LIMIT; roles <= RECIPE_ROLE_LIMIT + 1; roles++) {
        char text[8000];
        int length = 0;
        for (int i = 0; i < roles; i++)
            length += sprintf(text + length, "[profile p%d]\n" ROLE_1 "source_profile = p%d\n", i, i + 1);
        sprintf(text + length, "[profile p%d]\n" KEYS, roles);
        struct profile_set set = {0};
        struct credentials_recipe recipe;
        struct err err = {0};
        assert_true(profile_read(&set, PROFILE_CONFIG, "config", bytes_of(text), NULL));
        bool fits = roles == RECIPE_ROLE_LIMIT;
        assert_int_equal(credentials_recipe(&set, "p0", true, &recipe, &err), fits ? CREDENTIALS_READY : CREDENTIALS_BROKEN);
        if (fits)
            assert_string_equal(recipe.roles[0].profile, "p15");
        else
            assert_non_null(strstr(err.text, "more than 16 roles"));
        profile_free(&set);
    }
}

static void caps_the_durations_of_chained_roles(void **state)
{
    (void)state;
    struct credentials_recipe recipe = {.base = RECIPE_KEYS, .role_count = 2, .roles = {{.duration_s = 7200}, {.duration_s = 7200}}};
    assert_true(recipe_cap_durations(&recipe));
    assert_int_equal(recipe.roles[0].duration_s, 7200);
    assert_int_equal(recipe.roles[1].duration_s, RECIPE_CHAINED_MAX);
    assert_false(recipe_cap_durations(&recipe));
    recipe.base = RECIPE_IMDS;
    assert_true(recipe_cap_durations(&recipe));
    assert_int_equal(recipe.roles[0].duration_s, RECIPE_CHAINED_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(means_what_the_sdks_mean),
        cmocka_unit_test(asks_for_no_profile_that_nobody_named),
        cmocka_unit_test(puts_keys_of_the_credentials_file_before_a_process),
        cmocka_unit_test(ends_chains_that_are_too_long),
        cmocka_unit_test(caps_the_durations_of_chained_roles),
    };
    return cmocka_run_group_tests_name("credentials_recipe", tests, NULL, NULL);
}
