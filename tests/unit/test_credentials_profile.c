/* credentials_profile: what AWS's SDKs agree on about ~/.aws/config and ~/.aws/credentials, case by case, and what we add: all faults
 * with their lines, comments that nobody is hurt by, ceilings. */
#include "appliance/credentials_profile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* "[kind:name]property=value;..." for each profile, lines of a value as they are; or "!" and a part of the sentence. */
struct example {
    const char *config, *credentials, *expected;
};

static const struct example examples[] = {
    /* sections */
    {"", NULL, ""},
    {"[profile one]", NULL, "[one]"},
    {"[profile a-b:c/d_e%f.g@h+]\n[profile a!b]", NULL, "[a-b:c/d_e%f.g@h+]"},
    {"[profile one", NULL, "!must end with ']'"},
    {"[profile \tone \t]", NULL, "[one]"},
    {"[profile\tone]", NULL, "[one]"},
    {"[  profile one   ]\nk = v\n[profile two]", NULL, "[one]k=v;[two]"},
    {NULL, "[  one   ]\nk = v\n[profile two]", "[one]k=v;"},
    {"[profile one]\n[profile two]", NULL, "[one][two]"},
    {"[profileone]\nk = v\n[profile two]", NULL, "[two]"},
    {"[profile with blank]\nk = v", "[with blank]\nk = v", ""},
    {"[profile one]\nk = v\n[profile with blank]\nx = 1\n[profile two]\nk = w", NULL, "[one]k=v;[two]k=w;"},
    {"[profile ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_]", NULL,
     "[ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_]"},
    {"[one]\nk = v", NULL, ""},
    {NULL, "[profile one]\nk = v", ""},
    {"[sso-session one]\nk = v\n[profile two]", NULL, "[sso-session:one]k=v;[two]"},
    {NULL, "[sso-sessionone]\nk = v\n[two]", "[sso-sessionone]k=v;[two]"},
    {"[services local]\ns3 =\n endpoint_url = http://127.0.0.1:1", NULL, "[services:local]s3=\nendpoint_url = http://127.0.0.1:1;"},
    /* properties */
    {"k = v", NULL, "!section such as [default]"},
    {"[profile one]\nk = v", NULL, "[one]k=v;"},
    {"[profile one]\r\nk = v", NULL, "[one]k=v;"},
    {"[profile one]\r\nk = v\r\n", NULL, "[one]k=v;"},
    {"[profile one]\nk = v=w", NULL, "[one]k=v=w;"},
    {"[profile one]\nk = \xf0\x9f\x98\x82", NULL, "[one]k=\xf0\x9f\x98\x82;"},
    {"[profile one]\nk = v\nl = w", NULL, "[one]k=v;l=w;"},
    {"[profile one]\nk \t=  \tv \t", NULL, "[one]k=v;"},
    {"[profile one]\nk =", NULL, "[one]k=;"},
    {"[profile one]\n= v", NULL, "!without a name"},
    {"[profile one]\nk : v", NULL, "!an '=' was expected"},
    {"[profile one]\nk = v\n[profile two]\nl = w", NULL, "[one]k=v;[two]l=w;"},
    {"[profile one]\nwith blank = v", NULL, "[one]"},
    {"[profile one]\nABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_ = v", NULL,
     "[one]abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz0123456789-_=v;"},
    /* blank lines and comments */
    {"\t \n[profile one]\n\t\n \nk = v\n\t \n[profile two]\n \t", NULL, "[one]k=v;[two]"},
    {"# c\n[profile one] # c\nk = v # c with # inside", NULL, "[one]k=v;"},
    {"; c\n[profile one] ; c\nk = v ; c with ; inside", NULL, "[one]k=v;"},
    {"# c\n[profile one] ; c\nk = v # c with ; inside", NULL, "[one]k=v;"},
    {";\n[profile one];\nk = v ;\n", NULL, "[one]k=v;"},
    {"[profile one]; near\n[profile two]# near", NULL, "[one][two]"},
    {"[profile one]\nk = v; near\nl = w# near", NULL, "[one]k=v; near;l=w# near;"},
    {"  # indented, before anything\n[profile one]\n  ; and here\nk = v", NULL, "[one]k=v;"},
    /* lines that continue others */
    {"[profile one]\nk = v\n -more", NULL, "[one]k=v\n-more;"},
    {"[profile one]\nk = v\n -more\n -and more", NULL, "[one]k=v\n-more\n-and more;"},
    {"[profile one]\nk = v\n \t -more \t ", NULL, "[one]k=v\n-more;"},
    {"[profile one]\nk = v\n -more # c", NULL, "[one]k=v\n-more # c;"},
    {"[profile one]\nk = v\n -more ; c", NULL, "[one]k=v\n-more ; c;"},
    {" -more", NULL, "!section such as [default]"},
    {"[profile one]\n -more", NULL, "!and there is none"},
    {"[profile one]\nk = v\n[profile one]\n -more", NULL, "!and there is none"},
    {"[profile one]\nbad name = v\n more\nk = v", NULL, "[one]k=v;"},
    {"[one]\nk = v\n more\n", NULL, ""},
    /* properties of properties */
    {"[profile one]\ns3 =\n k = v", NULL, "[one]s3=\nk = v;"},
    {"[profile one]\ns3 =\n wrong", NULL, "!indented property"},
    {"[profile one]\ns3 =\n k =", NULL, "[one]s3=\nk =;"},
    {"[profile one]\ns3 =\n = v", NULL, "!indented property without a name"},
    {"[profile one]\ns3 =\n with blank = v", NULL, "[one]s3=\nwith blank = v;"},
    {"[profile one]\ns3 =\n k = v\n\t \n l = w", NULL, "[one]s3=\nk = v\nl = w;"},
    {"[profile one]\ns3 =\n # c\n k = v", NULL, "[one]s3=\nk = v;"},
    /* the same again */
    {"[profile one]\nk = v\n[profile one]\nl = w", NULL, "[one]k=v;l=w;"},
    {"[profile one]\nk = v\nk = w", NULL, "[one]k=w;"},
    {"[profile one]\nk = v\n[profile one]\nk = w", NULL, "[one]k=w;"},
    {"[profile one]\nK = v\n[profile one]\nk = w", NULL, "[one]k=w;"},
    {"[profile default]\nk = v\n[default]\nl = w", NULL, "[default]k=v;"},
    {"[default]\nl = w\n[profile default]\nk = v", NULL, "[default]k=v;"},
    {"[default]\nk = v", NULL, "[default]k=v;"},
    {"[profile default]\nk = v\n[default]\nl = w\n[profile default]\nm = x", NULL, "[default]k=v;m=x;"},
    {"[profile default]\nk = v\n[default]\nl = w\n[profile default]\nm = x", "[default]\nsecret=s", "[default]k=v;m=x;secret=s;"},
    {"[profile one]\nk = v", "[one]\nl = w", "[one]k=v;l=w;"},
    {"[profile one]\nk = v", "[one]\nk = w", "[one]k=w;"},
    /* what is no text file */
    {"\xef\xbb\xbf[profile one]\nk = v", NULL, "[one]k=v;"},
};

static void show(const struct profile_set *set, char *out, size_t size)
{
    static const char *const kinds[] = {"", "sso-session:", "services:"};
    size_t length = 0;
    out[0] = 0;
    for (size_t i = 0; i < set->count; i++) {
        const struct profile *p = &set->profiles[i];
        length += (size_t)snprintf(out + length, size - length, "[%s%s]", kinds[p->kind], p->name);
        for (size_t j = 0; j < p->count; j++)
            length += (size_t)snprintf(out + length, size - length, "%s=%s;", p->properties[j].name, p->properties[j].value);
    }
}

static bool read_both(struct profile_set *set, const char *config, const char *credentials, struct err *err)
{
    *set = (struct profile_set){0};
    return (!config || profile_read(set, PROFILE_CONFIG, "config", bytes_of(config), err)) &&
           (!credentials || profile_read(set, PROFILE_CREDENTIALS, "credentials", bytes_of(credentials), err));
}

static void reads_what_the_sdks_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        const struct example *e = &examples[i];
        struct profile_set set;
        struct err err = {0};
        char found[1024];
        bool ok = read_both(&set, e->config, e->credentials, &err);
        show(&set, found, sizeof found);
        if (e->expected[0] == '!' ? ok || !strstr(err.text, e->expected + 1) : !ok || strcmp(found, e->expected) != 0)
            fail_msg("example %zu (%s): expected %s, found %s %s", i, e->config ? e->config : e->credentials, e->expected, found, err.text);
        profile_free(&set);
    }
}

static void names_every_fault_with_its_line(void **state)
{
    (void)state;
    struct profile_set set;
    struct err err = {0};
    assert_false(read_both(&set, "[profile one]\nk v\n\n= w\nl = 1\n[profile", NULL, &err));
    assert_int_equal(err.kind, ERR_INVALID);
    assert_string_equal(err.text, "config:2: an '=' was expected between a property's name and its value (and 2 more)");
    const int lines[] = {2, 4, 6};
    assert_int_equal(set.note_count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_true(set.notes[i].fault);
        assert_int_equal(set.notes[i].line, lines[i]);
    }
    profile_free(&set);

    assert_true(read_both(&set, "[one]\nk = v\n[profile two]\nbad name = v", "[profile three]\n", &err));
    assert_int_equal(set.note_count, 3);
    assert_string_equal(set.notes[0].text,
                        "[one] is passed over: here a profile's name stands behind the word profile, as in [profile one]");
    assert_int_equal(set.notes[1].line, 4);
    assert_int_equal(set.notes[2].file, PROFILE_CREDENTIALS);
    profile_free(&set);

    char many[4000] = "";
    for (int i = 0; i < 200; i++)
        strcat(many, "[x]\n");
    strcat(many, "wrong\n");
    assert_false(read_both(&set, many, NULL, &err));
    assert_non_null(strstr(err.text, "config:201:"));
    profile_free(&set);
}

static void refuses_what_is_no_such_file(void **state)
{
    (void)state;
    struct profile_set set = {0};
    struct err err = {0};
    assert_false(profile_read(&set, PROFILE_CONFIG, "config", (struct bytes){"[profile a]\nk\0 = v", 18}, &err));
    assert_string_equal(err.text, "config:2: a zero byte: is this a text file?");
    profile_free(&set);

    char *large = calloc(1, PROFILE_FILE_LIMIT + 1);
    assert_false(profile_read(&set, PROFILE_CONFIG, "config", (struct bytes){large, PROFILE_FILE_LIMIT + 1}, &err));
    profile_free(&set);
    for (int i = 0, at = 0; i <= PROFILE_COUNT_LIMIT; i++)
        at += sprintf(large + at, "[profile p%d]\n", i);
    assert_false(read_both(&set, large, NULL, &err));
    assert_non_null(strstr(err.text, "config:1001: more than 1000 sections"));
    profile_free(&set);
    int at = sprintf(large, "[profile p]\n");
    for (int i = 0; i <= PROFILE_PROPERTY_LIMIT; i++)
        at += sprintf(large + at, "k%d = v\n", i);
    assert_false(read_both(&set, large, NULL, &err));
    assert_non_null(strstr(err.text, "config:202: more than 200 properties"));
    profile_free(&set);
    free(large);
}

static void answers_what_is_asked(void **state)
{
    (void)state;
    struct profile_set set;
    assert_true(read_both(&set, "[profile one]\nblank = \nk = v\ns3 =\n Addressing_Style = path # c\n empty =\n", "[one]\nl = w\n", NULL));
    const struct profile *one = profile_find(&set, PROFILE_NORMAL, "one");
    assert_non_null(one);
    assert_null(profile_find(&set, PROFILE_SERVICES, "one"));
    assert_null(profile_value(one, "blank"));
    assert_string_equal(profile_property(one, "blank")->value, "");
    assert_null(profile_property(one, "nothing"));
    char place[40];
    assert_string_equal(profile_place(&set, profile_property(one, "k"), place, sizeof place), "config:3");
    assert_string_equal(profile_place(&set, profile_property(one, "l"), place, sizeof place), "credentials:2");
    struct bytes value;
    assert_true(profile_nested(profile_property(one, "s3"), "addressing_style", &value));
    assert_true(bytes_equal(value, bytes_of("path")));
    assert_false(profile_nested(profile_property(one, "s3"), "empty", &value));
    assert_false(profile_nested(profile_property(one, "k"), "v", &value));
    assert_false(profile_nested(NULL, "v", &value));
    profile_free(&set);
    profile_free(&set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_the_sdks_read),
        cmocka_unit_test(names_every_fault_with_its_line),
        cmocka_unit_test(refuses_what_is_no_such_file),
        cmocka_unit_test(answers_what_is_asked),
    };
    return cmocka_run_group_tests_name("credentials_profile", tests, NULL, NULL);
}
