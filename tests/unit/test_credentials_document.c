/* credentials_document and json: what sources hand out, what is refused, and that no sentence holds a secret. */
#include "appliance/aws_date.h"
#include "appliance/credentials_document.h"
#include "appliance/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bool read_exact(enum document_kind kind, const char *text, struct credentials *keys, struct err *err)
{
    char *copy = malloc(strlen(text) + 1); /* exactly as long, for the sanitizer: one byte is no part of it */
    memcpy(copy, text, strlen(text));
    copy[strlen(text)] = '7';
    bool ok = credentials_document_read(kind, (struct bytes){copy, strlen(text)}, "source", keys, err);
    free(copy);
    return ok;
}

static void reads_the_documents(void **state)
{
    (void)state;
    struct credentials keys;
    struct err err = {0};
    int64_t until;
    assert_true(aws_date_read_iso(bytes_of("2026-01-02T03:04:05Z"), &until, NULL));

    assert_true(read_exact(DOCUMENT_CONTAINER,
                           "{\"RoleArn\": \"r\", \"AccessKeyId\": \"AKID\", \"SecretAccessKey\": \"S/+=\", \"Token\": \"TOK\","
                           " \"Expiration\": \"2026-01-02T03:04:05Z\", \"AccountId\": \"111122223333\"}\n",
                           &keys, &err));
    assert_string_equal(keys.access_key_id, "AKID");
    assert_string_equal(keys.secret_access_key, "S/+=");
    assert_string_equal(keys.session_token, "TOK");
    assert_string_equal(keys.account_id, "111122223333");
    assert_true(keys.expires_wall_ms == until);
    struct credentials copy = {0};
    assert_true(credentials_copy(&copy, &keys, NULL));
    assert_string_equal(copy.session_token, "TOK");
    credentials_free(&copy);
    credentials_free(&keys);
    credentials_free(&keys);

    assert_true(read_exact(DOCUMENT_IMDS,
                           "{\"Code\":\"Success\",\"LastUpdated\":\"x\",\"Type\":\"AWS-HMAC\",\"AccessKeyId\":\"AKID\","
                           "\"SecretAccessKey\":\"S\",\"Token\":\"TOK\",\"Expiration\":\"2026-01-02T03:04:05Z\"}",
                           &keys, &err));
    assert_null(keys.account_id);
    credentials_free(&keys);

    assert_true(read_exact(DOCUMENT_PROCESS, "{\"Version\": 1, \"AccessKeyId\": \"AKID\", \"SecretAccessKey\": \"S\"}", &keys, &err));
    assert_null(keys.session_token);
    assert_true(keys.expires_wall_ms == CREDENTIALS_NEVER);
    credentials_free(&keys);
    assert_true(read_exact(DOCUMENT_PROCESS,
                           "{\"Version\":1,\"accessKeyId\":\"AKID\",\"secretAccessKey\":\"S\",\"SessionToken\":\"T\","
                           "\"Expiration\":\"2026-01-02T04:04:05+01:00\"}",
                           &keys, &err));
    assert_true(keys.expires_wall_ms == until);
    assert_string_equal(keys.session_token, "T");
    credentials_free(&keys);
    assert_int_equal(err.kind, ERR_NONE);
}

static void says_what_is_wrong_and_no_secret(void **state)
{
    (void)state;
    static const struct {
        enum document_kind kind;
        const char *text;
        enum err_kind fault;
        const char *sentence;
    } wrong[] = {
        {DOCUMENT_IMDS, "{\"Code\":\"AssumeRoleUnauthorizedAccess\",\"Message\":\"m\"}", ERR_DENIED,
         "source: EC2 may not assume the instance's role (AssumeRoleUnauthorizedAccess): its trust policy must allow"},
        {DOCUMENT_IMDS, "{\"Code\":\"Other\",\"Message\":\"because\\nof\"}", ERR_DENIED, "source gives no credentials: Other, because of"},
        {DOCUMENT_CONTAINER, "{\"code\":\"AuthFailure\",\"message\":\"no\"}", ERR_DENIED, "source gives no credentials: AuthFailure, no"},
        {DOCUMENT_IMDS, "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"hidden\",\"Token\":\"T\"}", ERR_PROTOCOL,
         "source: the document has no Code"},
        {DOCUMENT_IMDS, "{\"Code\":\"Success\",\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"hidden\",\"Token\":\"T\"}", ERR_PROTOCOL,
         "source: the document has no Expiration"},
        {DOCUMENT_IMDS, "{\"Code\":\"Success\",\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"hidden\",\"Token\":\"\"}", ERR_PROTOCOL,
         "source: the document has no Token"},
        {DOCUMENT_CONTAINER, "{\"AccessKeyId\":\" \",\"SecretAccessKey\":\"hidden\"}", ERR_PROTOCOL,
         "source: the document has no AccessKeyId"},
        {DOCUMENT_CONTAINER, "{\"AccessKeyId\":\"A\"}", ERR_PROTOCOL, "source: the document has no SecretAccessKey"},
        {DOCUMENT_CONTAINER, "{\"AccessKeyId\":7,\"SecretAccessKey\":\"hidden\"}", ERR_PROTOCOL, "source: the document has no AccessKeyId"},
        {DOCUMENT_CONTAINER, "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"hid\\r\\nden\"}", ERR_PROTOCOL,
         "source: the secret access key holds a line break"},
        {DOCUMENT_CONTAINER, "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"hidden\",\"Token\":\"hid\\nden\"}", ERR_PROTOCOL,
         "source: the session token holds a line break"},
        {DOCUMENT_CONTAINER, "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"hid den\"}", ERR_PROTOCOL,
         "source: the secret access key holds a blank"},
        {DOCUMENT_CONTAINER, "{\"AccessKeyId\":\"A\\u00e9\",\"SecretAccessKey\":\"hidden\"}", ERR_PROTOCOL,
         "source: the access key ID holds the byte 0xc3"},
        {DOCUMENT_CONTAINER, "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"hidden\",\"Expiration\":\"tomorrow\"}", ERR_PROTOCOL,
         "source: Expiration: "},
        {DOCUMENT_CONTAINER, "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"hidden\",\"Expiration\":1}", ERR_PROTOCOL,
         "source: Expiration is not a text"},
        {DOCUMENT_PROCESS, "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"hidden\"}", ERR_PROTOCOL, "source: the output has no Version"},
        {DOCUMENT_PROCESS, "{\"Version\":\"1\",\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"hidden\"}", ERR_PROTOCOL,
         "source: the output has no Version"},
        {DOCUMENT_PROCESS, "{\"Version\":2,\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"hidden\"}", ERR_PROTOCOL,
         "source: the output has Version 2, and only 1 is known"},
        {DOCUMENT_CONTAINER, "[]", ERR_PROTOCOL, "source: the document is not a JSON object"},
        {DOCUMENT_CONTAINER, "", ERR_PROTOCOL, "source: the document can't be read: empty"},
        {DOCUMENT_CONTAINER, "{\"AccessKeyId\":\"A\",\n\"SecretAccessKey\":\"hidden\"", ERR_PROTOCOL,
         "source: the document can't be read: line 2: not JSON"},
        {DOCUMENT_CONTAINER, "{} {}", ERR_PROTOCOL, "source: the document can't be read: line 1: something stands behind"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct credentials keys;
        struct err err = {0};
        assert_false(read_exact(wrong[i].kind, wrong[i].text, &keys, &err));
        if (err.kind != wrong[i].fault || strncmp(err.text, wrong[i].sentence, strlen(wrong[i].sentence)) != 0)
            fail_msg("%s: %s", wrong[i].text, err.text);
        assert_null(strstr(err.text, "hid"));
        assert_null(keys.access_key_id);
    }
}

static void bounds_what_it_reads(void **state)
{
    (void)state;
    char *text = malloc(DOCUMENT_LIMIT + 100);
    struct credentials keys;
    struct err err = {0};
    int length = sprintf(text, "{\"AccessKeyId\":\"A\",\"SecretAccessKey\":\"S\",\"Token\":\"");
    memset(text + length, 'x', CREDENTIALS_TOKEN_LIMIT);
    strcpy(text + length + CREDENTIALS_TOKEN_LIMIT, "\"}");
    assert_true(read_exact(DOCUMENT_CONTAINER, text, &keys, &err));
    assert_int_equal(strlen(keys.session_token), CREDENTIALS_TOKEN_LIMIT);
    credentials_free(&keys);
    strcpy(text + length + CREDENTIALS_TOKEN_LIMIT, "x\"}");
    assert_false(read_exact(DOCUMENT_CONTAINER, text, &keys, &err));
    assert_non_null(strstr(err.text, "the session token has 16385 bytes, more than the 16384 it may have"));
    memset(text, ' ', DOCUMENT_LIMIT + 1);
    text[DOCUMENT_LIMIT + 1] = 0;
    assert_false(read_exact(DOCUMENT_CONTAINER, text, &keys, &err));
    assert_non_null(strstr(err.text, "65537 bytes"));
    free(text);
}

#define STS_TOP "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n<AssumeRoleResult>"
#define STS_KEYS                                                                                                        \
    "<Credentials><AccessKeyId>AKID</AccessKeyId><SecretAccessKey>S</SecretAccessKey><SessionToken>\nT </SessionToken>" \
    "<Expiration>2026-01-02T03:04:05Z</Expiration></Credentials>"
#define STS_END "</AssumeRoleResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></AssumeRoleResponse>"

static void reads_what_sts_answers(void **state)
{
    (void)state;
    struct credentials keys;
    struct err err = {0};
    assert_true(credentials_sts_read(
        bytes_of(STS_TOP "<AssumedRoleUser><AssumedRoleId>i</AssumedRoleId>"
                         "<Arn>arn:aws:sts::111122223333:assumed-role/One/me</Arn></AssumedRoleUser>" STS_KEYS STS_END),
        &keys, &err));
    assert_string_equal(keys.access_key_id, "AKID");
    assert_string_equal(keys.secret_access_key, "S");
    assert_string_equal(keys.session_token, "T");
    assert_string_equal(keys.account_id, "111122223333");
    credentials_free(&keys);
    assert_true(
        credentials_sts_read(bytes_of("<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Audience>a</Audience>" STS_KEYS
                                      "</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"),
                             &keys, &err));
    assert_null(keys.account_id);
    credentials_free(&keys);

    static const struct {
        const char *text, *sentence;
    } wrong[] = {
        {"", "STS: the answer can't be read: empty"},
        {"{}", "STS: the answer can't be read: line 1"},
        {"<ErrorResponse/>", "STS: the answer is <ErrorResponse>, which was not asked for"},
        {STS_TOP STS_END, "STS: the answer has no AccessKeyId"},
        /* keys in the wrong place are none */
        {STS_TOP "<Other>" STS_KEYS "</Other>" STS_END, "STS: the answer has no AccessKeyId"},
        {STS_TOP "<Credentials><AccessKeyId>A</AccessKeyId><SecretAccessKey>S</SecretAccessKey></Credentials>" STS_END,
         "STS: the answer has no SessionToken"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_false(credentials_sts_read(bytes_of(wrong[i].text), &keys, &err));
        assert_int_equal(err.kind, ERR_PROTOCOL);
        if (strncmp(err.text, wrong[i].sentence, strlen(wrong[i].sentence)) != 0)
            fail_msg("%s: %s", wrong[i].text, err.text);
    }
}

static void says_what_sts_refuses(void **state)
{
    (void)state;
    static const struct {
        int status;
        const char *body;
        bool again;
        enum err_kind kind;
        const char *sentence;
    } faults[] = {
        {403,
         "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>User: x is not authorized</Message></Error>"
         "<RequestId>r</RequestId></ErrorResponse>",
         false, ERR_DENIED, "role/One: STS says AccessDenied (403): the role's trust policy must name who assumes it"},
        {400, "<ErrorResponse><Error><Code>IDPCommunicationError</Code></Error></ErrorResponse>", true, ERR_TIMEOUT,
         "role/One: STS says IDPCommunicationError (400): STS could not reach the identity provider"},
        {400, "<ErrorResponse><Error><Code>Throttling</Code></Error></ErrorResponse>", true, ERR_THROTTLED,
         "role/One: STS says Throttling"},
        {400, "<ErrorResponse><Error><Code>New</Code><Message>un\nknown</Message></Error></ErrorResponse>", false, ERR_PROTOCOL,
         "role/One: STS says New (400): un known"},
        {400, "<ErrorResponse><Error><Code>ExpiredTokenException</Code></Error></ErrorResponse>", false, ERR_DENIED,
         "role/One: STS says ExpiredTokenException (400): the token has expired"},
        {500, "oops", true, ERR_TIMEOUT, "role/One: STS answered 500, and no reason that could be read"},
        {429, "", true, ERR_THROTTLED, "role/One: STS answered 429"},
        {403, "", false, ERR_DENIED, "role/One: STS answered 403"},
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        struct err err = {0};
        assert_int_equal(credentials_sts_fault(faults[i].status, bytes_of(faults[i].body), "role/One", &err), faults[i].again);
        assert_int_equal(err.kind, faults[i].kind);
        assert_int_equal(err.code, faults[i].status);
        if (strncmp(err.text, faults[i].sentence, strlen(faults[i].sentence)) != 0)
            fail_msg("%s: %s", faults[i].body, err.text);
    }
}

static void reads_json(void **state)
{
    (void)state;
    struct json_document document = {0};
    struct err err = {0};
    assert_true(json_read(&document, bytes_of("\n {\"a\": \"\\u00e4\\\"\", \"A\": \"big\", \"n\": -1.5, \"z\": null, \"o\": {\"x\": []}} "),
                          NULL, &err));
    struct bytes text;
    double number;
    assert_true(json_text(json_get(document.root, "a"), &text));
    assert_true(bytes_equal(text, bytes_of("\xc3\xa4\"")));
    assert_true(json_text(json_get(document.root, "A"), &text));
    assert_true(bytes_equal(text, bytes_of("big")));
    assert_true(json_number(json_get(document.root, "N"), &number) && number == -1.5);
    assert_true(json_is_null(json_get(document.root, "z")));
    assert_true(json_is_object(json_get(document.root, "o")));
    assert_null(json_get(json_get(json_get(document.root, "o"), "x"), "y"));
    assert_null(json_get(NULL, "a"));
    assert_false(json_text(NULL, &text) || json_number(NULL, &number) || json_is_null(NULL) || json_is_object(NULL));
    json_free(&document);
    json_free(&document);

    static const struct {
        struct bytes text;
        const char *sentence;
    } wrong[] = {
        {{"{\"a\":\n\"\\u0000\"}", 16}, "line 2: \\u0000 in a text"},
        {{"{\"a\":\"\0\"}", 9}, "line 1: a zero byte"},
        {{"\"\\\0\"", 4}, "line 1: a zero byte"},
        {{"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]", 34}, "line 1: nested deeper than 32"},
        {{" \n", 2}, "empty, where JSON was expected"},
        {{"nul", 3}, "line 1: not JSON"},
        {{"{\"a\":\"\\u00", 10}, "line 1: not JSON"},
        {{"\"\\", 2}, "line 1: not JSON"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_false(json_read(&document, wrong[i].text, NULL, &err));
        assert_null(document.root);
        assert_string_equal(err.text, wrong[i].sentence);
    }
    assert_false(json_read(&document, bytes_of("[1]"), &(struct json_limits){2, 4}, &err));
    assert_string_equal(err.text, "3 bytes, more than the 2 it may have");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_documents),   cmocka_unit_test(says_what_is_wrong_and_no_secret),
        cmocka_unit_test(bounds_what_it_reads),  cmocka_unit_test(reads_what_sts_answers),
        cmocka_unit_test(says_what_sts_refuses), cmocka_unit_test(reads_json),
    };
    return cmocka_run_group_tests_name("credentials_document", tests, NULL, NULL);
}
