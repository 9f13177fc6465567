/* What environment and profiles say of requests: who goes before whom, and what is refused with which words. */
#include "appliance/aws_settings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
/* cmocka.h wants these before it */
#include <cmocka.h>

static struct aws_settings settings;
static struct err err;

/* The settings of these variables ("A=b", ended by NULL) and this text of a config file. */
static bool read_settings(const char *config, const char *const variables[])
{
    struct profile_set profiles = {0};
    if (config)
        assert_true(profile_read(&profiles, PROFILE_CONFIG, "config", bytes_of(config), &err));
    aws_settings_free(&settings);
    struct aws_settings_given given = {(char *const *)(uintptr_t)variables, config ? &profiles : NULL, "default"};
    bool ok = aws_settings_read(&settings, &given, &err);
    profile_free(&profiles);
    return ok;
}
#define SETTINGS(config, ...) read_settings(config, (const char *const[]){__VA_ARGS__, NULL})
#define NOTHING               "X=y"

static void assert_good(bool ok)
{
    if (!ok)
        fail_msg("%s", err.text);
}

static void assert_bad(bool ok, const char *words)
{
    assert_false(ok);
    assert_int_equal(err.kind, ERR_INVALID);
    if (!strstr(err.text, words))
        fail_msg("no \"%s\" in: %s", words, err.text);
}

static void assert_endpoint(const char *service, const char *host, int port)
{
    const struct aws_settings_endpoint *e = aws_settings_endpoint(&settings, service);
    if (!host) {
        assert_null(e);
        return;
    }
    assert_non_null(e);
    char text[100];
    snprintf(text, sizeof text, "%.*s", (int)e->endpoint.host.length, e->endpoint.host.data);
    assert_string_equal(text, host);
    assert_int_equal(e->endpoint.port, port);
}

static void test_defaults(void **unused)
{
    (void)unused;
    assert_good(SETTINGS(NULL, NOTHING));
    assert_string_equal(settings.region, "");
    assert_int_equal(settings.attempts, 3);
    assert_true(settings.checksum_requests && settings.checksum_answers);
    assert_false(settings.dualstack || settings.fips || settings.sign_payload);
    assert_int_equal(settings.s3_style, S3_STYLE_AUTO);
    assert_null(settings.ca_file);
    assert_endpoint("s3", NULL, 0);
}

static void test_variables_go_before_the_profile(void **unused)
{
    (void)unused;
    static const char config[] = "[default]\nregion = eu-west-1\nmax_attempts = 7\nca_bundle = /a\n"
                                 "request_checksum_calculation = when_required\nretry_mode = legacy\nuse_fips_endpoint = true\n";
    assert_good(SETTINGS(config, NOTHING));
    assert_string_equal(settings.region, "eu-west-1");
    assert_false(settings.region_is_given);
    assert_int_equal(settings.attempts, 7);
    assert_int_equal(settings.retry_mode, AWS_RETRY_LEGACY);
    assert_string_equal(settings.ca_file, "/a");
    assert_false(settings.checksum_requests);
    assert_true(settings.checksum_answers && settings.fips);
    assert_string_equal(settings.profile, "default");
    assert_good(SETTINGS(config, "AWS_DEFAULT_REGION=eu-west-2", "AWS_REGION= ", "AWS_MAX_ATTEMPTS=2", "AWS_CA_BUNDLE=/b",
                         "AWS_REQUEST_CHECKSUM_CALCULATION=WHEN_SUPPORTED", "AWS_RESPONSE_CHECKSUM_VALIDATION=when_required",
                         "AWS_USE_FIPS_ENDPOINT=False", "AWS_USE_DUALSTACK_ENDPOINT=1"));
    assert_string_equal(settings.region, "eu-west-2"); /* a blank one is none */
    assert_true(settings.region_is_given);
    assert_int_equal(settings.attempts, 2);
    assert_string_equal(settings.ca_file, "/b");
    assert_true(settings.checksum_requests);
    assert_false(settings.checksum_answers || settings.fips);
    assert_true(settings.dualstack);
    assert_good(SETTINGS(NULL, "AWS_DEFAULT_REGION=eu-west-2", "AWS_REGION=eu-west-3", "AWS_RETRY_MODE=legacy"));
    assert_string_equal(settings.region, "eu-west-3");
    assert_int_equal(settings.attempts, 5);
}

static void test_s3_s_own_lines(void **unused)
{
    (void)unused;
    assert_good(SETTINGS("[default]\ns3 =\n  addressing_style = path\n  payload_signing_enabled = true\n", NOTHING));
    assert_int_equal(settings.s3_style, S3_STYLE_PATH);
    assert_true(settings.sign_payload);
    assert_good(SETTINGS("[default]\ns3 =\n  addressing_style = virtual\n", NOTHING));
    assert_int_equal(settings.s3_style, S3_STYLE_VIRTUAL);
    assert_bad(SETTINGS("[default]\ns3 =\n  addressing_style = both\n", NOTHING), "config:2: addressing_style is \"both\"");
}

static const char services[] =
    "[default]\nservices = mine\nendpoint_url = http://file-all:1\n[services mine]\ns3 =\n  endpoint_url = http://file-s3:2\n"
    "elastic_load_balancing =\n  endpoint_url = https://file-elb/x\n";

static void test_endpoints_in_their_order(void **unused)
{
    (void)unused;
    assert_good(SETTINGS(services, NOTHING));
    assert_endpoint("s3", "file-s3", 2);
    assert_endpoint("elasticloadbalancing", "file-elb", 443);
    assert_endpoint("sts", "file-all", 1);
    assert_good(SETTINGS(services, "AWS_ENDPOINT_URL=http://all:3"));
    assert_endpoint("s3", "all", 3);
    assert_endpoint("sts", "all", 3);
    assert_good(SETTINGS(services, "AWS_ENDPOINT_URL=http://all:3", "AWS_ENDPOINT_URL_S3=http://s3:4",
                         "AWS_ENDPOINT_URL_AUTO_SCALING=http://as:5", "AWS_ENDPOINT_URL_ROUTE_53=http://r:6", "AWS_ENDPOINT_URL_STS= "));
    assert_endpoint("s3", "s3", 4);
    assert_endpoint("autoscaling", "as", 5);
    assert_endpoint("route53", "r", 6);
    assert_endpoint("sts", "all", 3);
    assert_endpoint("s3x", "all", 3);
    assert_string_equal(aws_settings_endpoint(&settings, "s3")->from, "AWS_ENDPOINT_URL_S3");
}

static void test_endpoints_can_be_switched_off(void **unused)
{
    (void)unused;
    assert_good(SETTINGS(services, "AWS_ENDPOINT_URL=junk", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS=true"));
    assert_endpoint("s3", NULL, 0);
}

static void test_faults_are_named(void **unused)
{
    (void)unused;
    assert_bad(SETTINGS(NULL, "AWS_REGION=eu west"), "AWS_REGION: the region is \"eu west\", and must be");
    assert_bad(SETTINGS(NULL, "AWS_MAX_ATTEMPTS=0"), "AWS_MAX_ATTEMPTS: the number of attempts is \"0\", and must be 1 to 100");
    assert_bad(SETTINGS(NULL, "AWS_MAX_ATTEMPTS=4.5"), "1 to 100");
    assert_bad(SETTINGS(NULL, "AWS_MAX_ATTEMPTS=9999999999"), "1 to 100");
    assert_bad(SETTINGS(NULL, "AWS_RETRY_MODE=often"), "standard, adaptive or legacy");
    assert_bad(SETTINGS(NULL, "AWS_USE_FIPS_ENDPOINT=maybe"), "true or false");
    assert_bad(SETTINGS(NULL, "AWS_REQUEST_CHECKSUM_CALCULATION=never"), "when_supported or when_required");
    assert_bad(SETTINGS(NULL, "AWS_ENDPOINT_URL_S3=ftp://x"), "AWS_ENDPOINT_URL_S3: ");
    assert_bad(SETTINGS("[default]\nservices = other\n", NOTHING), "config:2: there is no section [services other]");
    assert_bad(SETTINGS("[default]\nmax_attempts = x\n", "AWS_REGION=-"), "(and 1 more)");
    assert_bad(SETTINGS("[default]\nendpoint_url = http://x y\n", NOTHING), "config:2: ");
}

static void test_has_room_for_so_much(void **unused)
{
    (void)unused;
    static char long_one[70000];
    memset(long_one, 'x', sizeof long_one - 1);
    memcpy(long_one, "AWS_CA_BUNDLE=", 14);
    assert_bad(SETTINGS(NULL, long_one), "longer than 64 KiB");
    static char names[AWS_ENDPOINT_LIMIT + 1][64];
    const char *variables[AWS_ENDPOINT_LIMIT + 2] = {0};
    for (int i = 0; i <= AWS_ENDPOINT_LIMIT; i++) {
        snprintf(names[i], sizeof names[i], "AWS_ENDPOINT_URL_S%d=http://h:%d", i, i + 1);
        variables[i] = names[i];
    }
    assert_bad(read_settings(NULL, variables), "more than 32 endpoints");
}

static int end(void **unused)
{
    (void)unused;
    aws_settings_free(&settings);
    aws_settings_free(&settings);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_variables_go_before_the_profile),
        cmocka_unit_test(test_s3_s_own_lines),
        cmocka_unit_test(test_endpoints_in_their_order),
        cmocka_unit_test(test_endpoints_can_be_switched_off),
        cmocka_unit_test(test_faults_are_named),
        cmocka_unit_test(test_has_room_for_so_much),
    };
    return cmocka_run_group_tests(tests, NULL, end);
}
