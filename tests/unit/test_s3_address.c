/* s3_address: what people write as s3://, and which host and path become of it. Hosts as botocore 1.43 makes them. */
#include "appliance/aws_region.h"
#include "appliance/s3_address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void assert_bytes(struct bytes got, const char *expected)
{
    if (!bytes_equal(got, bytes_of(expected)))
        fail_msg("expected '%s', got '%.*s'", expected, (int)got.length, got.data);
}

static void reads_keys_as_they_stand(void **state)
{
    (void)state;
    static const char *const cases[][4] = {
        {"s3://bucket/key", "bucket", "key", ""},
        {"S3A://my.bucket-1/a/b c", "my.bucket-1", "a/b c", ""},
        {"s3n://Old_Bucket/", "Old_Bucket", "", ""},
        {"s3://bucket", "bucket", "", ""},
        {"s3://bucket//lead", "bucket", "/lead", ""},
        {"s3://bucket/a//b/../c/./", "bucket", "a//b/../c/./", ""},
        {"s3://bucket/..", "bucket", "..", ""},
        {"s3://bucket/a%20b+*#?x=1", "bucket", "a%20b+*#?x=1", ""},
        {"s3://bucket/\xe1\x88\xb4\x01", "bucket", "\xe1\x88\xb4\x01", ""},
        {"s3://bucket/k?versionId=3HL4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY", "bucket", "k", "3HL4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY"},
        {"s3://bucket/k?versionId=null", "bucket", "k", "null"},
        {"s3://bucket/k?versionId=", "bucket", "k?versionId=", ""},
        {"s3://bucket/k?versionId=1&x=2", "bucket", "k?versionId=1&x=2", ""},
        {"s3://bucket/k?versionId=1?versionId=2", "bucket", "k?versionId=1", "2"},
        {"s3://bucket/k?versionid=1", "bucket", "k?versionid=1", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct s3_uri uri;
        struct err err;
        if (!s3_uri_read(bytes_of(cases[i][0]), &uri, &err))
            fail_msg("%s", err.text);
        assert_bytes(uri.bucket, cases[i][1]);
        assert_bytes(uri.key, cases[i][2]);
        assert_bytes(uri.version, cases[i][3]);
    }
}

static void refuses_what_is_no_address(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",
                                        "bucket/key",
                                        "s3:/bucket/key",
                                        "https://bucket/key",
                                        "s3://",
                                        "s3:///key",
                                        "s3://ab/key",
                                        "s3://bucket:80/key",
                                        "s3://b@c",
                                        "s3://bu cket/key",
                                        "s3://arn:aws:s3:eu-west-1:1:accesspoint/a",
                                        "s3://buck\xc3\xa4t/k"};
    struct s3_uri uri;
    struct err err;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (s3_uri_read(bytes_of(wrong[i]), &uri, &err))
            fail_msg("taken: %s", wrong[i]);
        assert_int_equal(err.kind, ERR_INVALID);
    }
    assert_string_equal(err.text, "s3://buck??t/k: this is no name of a bucket: it has 3 to 255 letters, digits and - . _");
    char text[2048] = "s3://bucket/";
    memset(text + 12, 'k', S3_KEY_LIMIT + 1);
    assert_true(s3_uri_read((struct bytes){text, 12 + S3_KEY_LIMIT}, &uri, &err));
    assert_false(s3_uri_read((struct bytes){text, 12 + S3_KEY_LIMIT + 1}, &uri, &err));
}

static void knows_names_that_fit_dns(void **state)
{
    (void)state;
    static const char *const fit[] = {"abc", "a-b", "my.bucket", "0-9", "1.2.3", "xn--a", "a--b"};
    static const char *const unfit[] = {
        "ab",   "Abc",  "a_b",  "-ab",         "ab-",   ".ab", "ab.",
        "a..b", "a.-b", "a-.b", "192.168.5.4", "a b c", "a/b", "0123456789012345678901234567890123456789012345678901234567890123"};
    for (size_t i = 0; i < sizeof fit / sizeof *fit; i++)
        if (!s3_bucket_is_dns(bytes_of(fit[i])))
            fail_msg("%s", fit[i]);
    for (size_t i = 0; i < sizeof unfit / sizeof *unfit; i++)
        if (s3_bucket_is_dns(bytes_of(unfit[i])))
            fail_msg("%s", unfit[i]);
}

static void puts_the_bucket_where_it_works(void **state)
{
    (void)state;
    static const struct {
        const char *region, *bucket, *key, *endpoint;
        enum s3_style style;
        bool dualstack, fips;
        const char *origin, *path;
    } cases[] = {
        {"eu-west-1", "my-bucket", "k", NULL, S3_STYLE_AUTO, false, false, "https://my-bucket.s3.eu-west-1.amazonaws.com", "/k"},
        {"us-east-1", "my-bucket", "k", NULL, S3_STYLE_AUTO, true, false, "https://my-bucket.s3.dualstack.us-east-1.amazonaws.com", "/k"},
        {"us-east-1", "my-bucket", "k", NULL, S3_STYLE_AUTO, false, true, "https://my-bucket.s3-fips.us-east-1.amazonaws.com", "/k"},
        {"us-gov-west-1", "my-bucket", "k", NULL, S3_STYLE_AUTO, true, true,
         "https://my-bucket.s3-fips.dualstack.us-gov-west-1.amazonaws.com", "/k"},
        {"cn-north-1", "my-bucket", "/a//..", NULL, S3_STYLE_AUTO, false, false, "https://my-bucket.s3.cn-north-1.amazonaws.com.cn",
         "//a//.."},
        {"eu-west-1", "my.bucket", "k", NULL, S3_STYLE_AUTO, false, false, "https://s3.eu-west-1.amazonaws.com", "/my.bucket/k"},
        {"eu-west-1", "my.bucket", "k", NULL, S3_STYLE_VIRTUAL, false, false, "https://s3.eu-west-1.amazonaws.com", "/my.bucket/k"},
        {"eu-west-1", "Old_Bucket", "k", NULL, S3_STYLE_AUTO, false, false, "https://s3.eu-west-1.amazonaws.com", "/Old_Bucket/k"},
        {"eu-west-1", "my-bucket", "k", NULL, S3_STYLE_PATH, false, false, "https://s3.eu-west-1.amazonaws.com", "/my-bucket/k"},
        {"eu-west-1", "my-bucket", "", NULL, S3_STYLE_AUTO, false, false, "https://my-bucket.s3.eu-west-1.amazonaws.com", "/"},
        {"eu-west-1", "my-bucket", "", NULL, S3_STYLE_PATH, false, false, "https://s3.eu-west-1.amazonaws.com", "/my-bucket"},
        {"eu-west-1", "", "", NULL, S3_STYLE_AUTO, false, false, "https://s3.eu-west-1.amazonaws.com", "/"},
        {"", "my-bucket", "k", "http://minio:9000", S3_STYLE_AUTO, false, false, "http://minio:9000", "/my-bucket/k"},
        {"", "my-bucket", "k", "http://minio:9000/s3/", S3_STYLE_VIRTUAL, false, false, "http://my-bucket.minio:9000", "/s3/k"},
        {"", "my.bucket", "k", "http://minio:9000", S3_STYLE_VIRTUAL, false, false, "http://my.bucket.minio:9000", "/k"},
        {"", "my.bucket", "k", "https://minio", S3_STYLE_VIRTUAL, false, false, "https://minio", "/my.bucket/k"},
        {"", "my-bucket", "k", "http://127.0.0.1:9000", S3_STYLE_VIRTUAL, false, false, "http://127.0.0.1:9000", "/my-bucket/k"},
        {"", "my-bucket", "k", "https://[::1]/p", S3_STYLE_VIRTUAL, false, false, "https://[::1]", "/p/my-bucket/k"},
        {"", "", "", "http://minio:9000/p", S3_STYLE_AUTO, false, false, "http://minio:9000", "/p/"},
    };
    struct s3_address address;
    s3_address_init(&address);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct aws_endpoint endpoint;
        struct err err;
        struct s3_place place = {.region = bytes_of(cases[i].region),
                                 .bucket = bytes_of(cases[i].bucket),
                                 .key = bytes_of(cases[i].key),
                                 .style = cases[i].style,
                                 .dualstack = cases[i].dualstack,
                                 .fips = cases[i].fips};
        if (cases[i].endpoint) {
            assert_true(aws_endpoint_read(bytes_of(cases[i].endpoint), &endpoint, NULL));
            place.endpoint = &endpoint;
        }
        if (!s3_address_make(&address, &place, &err))
            fail_msg("%s", err.text);
        assert_bytes(buf_bytes(&address.origin), cases[i].origin);
        assert_bytes(buf_bytes(&address.host), strstr(cases[i].origin, "//") + 2);
        assert_bytes(buf_bytes(&address.path), cases[i].path);
    }
    s3_address_free(&address);
}

static void refuses_what_would_reach_another_host(void **state)
{
    (void)state;
    struct s3_address address;
    struct err err;
    s3_address_init(&address);
    struct s3_place place = {.region = bytes_of("evil.example/"), .bucket = bytes_of("bucket")};
    assert_false(s3_address_make(&address, &place, &err));
    place.region = bytes_of("");
    assert_false(s3_address_make(&address, &place, &err));
    assert_string_equal(err.text, "no region is known: set AWS_REGION");
    place.region = bytes_of("eu-west-1");
    place.bucket = bytes_of("evil.example/x");
    assert_false(s3_address_make(&address, &place, &err));
    place.bucket = bytes_of("");
    place.key = bytes_of("k");
    assert_false(s3_address_make(&address, &place, &err));
    place.bucket = bytes_of("bucket");
    place.region = bytes_of("cn-north-1");
    place.fips = true;
    assert_false(s3_address_make(&address, &place, &err));
    assert_string_equal(err.text, "cn-north-1: there is no FIPS endpoint of S3 in this region: unset AWS_USE_FIPS_ENDPOINT");
    s3_address_free(&address);
}

static void knows_the_hosts_of_other_services(void **state)
{
    (void)state;
    static const char *const cases[][4] = {
        {"sts", "eu-west-1", "sts.eu-west-1.amazonaws.com", "eu-west-1"},
        {"elasticloadbalancing", "cn-north-1", "elasticloadbalancing.cn-north-1.amazonaws.com.cn", "cn-north-1"},
        {"ec2", "us-isob-east-1", "ec2.us-isob-east-1.sc2s.sgov.gov", "us-isob-east-1"},
        {"autoscaling", "eusc-de-east-1", "autoscaling.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"},
        {"route53", "ap-south-1", "route53.amazonaws.com", "us-east-1"},
        {"route53", "us-gov-east-1", "route53.us-gov.amazonaws.com", "us-gov-west-1"},
        {"route53", "cn-north-1", "route53.amazonaws.com.cn", "cn-northwest-1"},
    };
    struct buf host;
    struct bytes sign_for;
    struct err err;
    buf_init(&host, 256);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buf_clear(&host);
        assert_true(aws_region_host(bytes_of(cases[i][0]), bytes_of(cases[i][1]), &host, &sign_for, &err));
        assert_bytes(buf_bytes(&host), cases[i][2]);
        assert_bytes(sign_for, cases[i][3]);
    }
    assert_false(aws_region_host(bytes_of("a.b"), bytes_of("eu-west-1"), &host, &sign_for, &err));
    assert_false(aws_region_host(bytes_of("sts"), bytes_of("-"), &host, &sign_for, &err));
    assert_string_equal(aws_region_partition(bytes_of("us-gov-west-1")), "aws-us-gov");
    assert_string_equal(aws_region_partition(bytes_of("us-west-2")), "aws");
    buf_free(&host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_keys_as_they_stand),
        cmocka_unit_test(refuses_what_is_no_address),
        cmocka_unit_test(knows_names_that_fit_dns),
        cmocka_unit_test(puts_the_bucket_where_it_works),
        cmocka_unit_test(refuses_what_would_reach_another_host),
        cmocka_unit_test(knows_the_hosts_of_other_services),
    };
    return cmocka_run_group_tests_name("s3_address", tests, NULL, NULL);
}
