/* imds_sequence: which requests are made in which order, what is tried again, and the words for each way to fail. A test is a script of
 * "request -> reply" lines; nothing is sent. */
#include "appliance/imds_sequence.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DOCUMENT \
    "{\"Code\":\"Success\",\"AccessKeyId\":\"AKID\",\"SecretAccessKey\":\"S\",\"Token\":\"T\",\"Expiration\":\"2026-01-02T03:04:05Z\"}"
#define ROLES "http://127.0.0.1:1/latest/meta-data/iam/security-credentials/"

static const int64_t start = 5000000;

struct world {
    struct imds_settings settings;
    struct imds_token token;
    struct imds_sequence s;
    int64_t now;
    uint32_t random;
    int sent, pauses;
};

static void begin(struct world *w, bool v1_allowed)
{
    *w = (struct world){.now = start, .random = 1u << 31};
    char *environment[] = {"AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:1", NULL};
    assert_true(imds_settings_read(&w->settings, environment, NULL, NULL));
    w->settings.v1_allowed = v1_allowed;
    imds_begin_credentials(&w->s, &w->settings, &w->token, w->now);
}

/* Waits as long as it says; then it must want to send. */
static void expect(struct world *w, const char *method, const char *url)
{
    enum imds_todo todo;
    while ((todo = imds_next(&w->s, w->now)) == IMDS_PAUSE) {
        assert_true(w->s.wake_ms > w->now);
        w->now = w->s.wake_ms;
        w->pauses++;
    }
    if (todo != IMDS_SEND)
        fail_msg("%s %s was expected, but: %d %s", method, url, (int)todo, w->s.err.text);
    w->sent++;
    assert_string_equal(w->s.request.method, method);
    assert_string_equal(w->s.request.url, url);
    assert_true(w->s.request.connect_ms >= 1 && w->s.request.connect_ms <= 1000);
    assert_true(w->s.request.first_byte_ms >= 1 && w->s.request.first_byte_ms <= 2000);
    bool put = strcmp(method, "PUT") == 0;
    assert_int_equal(w->s.request.token_ttl_s, put ? IMDS_TOKEN_TTL_S : 0);
    assert_false(put && w->s.request.token);
}

static void answer(struct world *w, int status, const char *body)
{
    struct imds_reply reply = {.fate = IMDS_ANSWERED, .status = status, .body = bytes_of(body)};
    w->now += 3;
    imds_replied(&w->s, w->now, w->random, &reply);
}

static void no_answer(struct world *w, enum imds_fate fate, int after_ms)
{
    struct imds_reply reply = {.fate = fate};
    w->now += after_ms;
    imds_replied(&w->s, w->now, w->random, &reply);
}

static void token(struct world *w, const char *text)
{
    expect(w, "PUT", "http://127.0.0.1:1/latest/api/token");
    answer(w, 200, text);
}

static void role(struct world *w)
{
    expect(w, "GET", ROLES);
    answer(w, 200, "One\nTwo\n");
}

static void document(struct world *w, const char *text)
{
    expect(w, "GET", ROLES "One");
    answer(w, 200, text);
}

static void done(struct world *w)
{
    if (imds_next(&w->s, w->now) != IMDS_DONE)
        fail_msg("not done: %s", w->s.err.text);
    assert_true(w->now - start <= 10000);
    imds_end(&w->s);
}

static void failed(struct world *w, enum err_kind kind, const char *sentence)
{
    enum imds_todo todo;
    while ((todo = imds_next(&w->s, w->now)) == IMDS_PAUSE)
        w->now = w->s.wake_ms;
    assert_int_equal(todo, IMDS_FAILED);
    assert_int_equal(imds_next(&w->s, w->now), IMDS_FAILED);
    if (w->s.err.kind != kind || !strstr(w->s.err.text, sentence))
        fail_msg("expected %s: %s\nfound %s: %s", err_kind_name(kind), sentence, err_kind_name(w->s.err.kind), w->s.err.text);
    assert_non_null(strstr(w->s.err.text, "IMDS at http://127.0.0.1:1: "));
    assert_true(w->now - start <= 10000 + 3);
    imds_end(&w->s);
}

static void gets_credentials_in_three_requests(void **state)
{
    (void)state;
    struct world w;
    begin(&w, false);
    token(&w, "tok==");
    expect(&w, "GET", ROLES);
    assert_string_equal(w.s.request.token, "tok==");
    answer(&w, 200, " One \n");
    document(&w, DOCUMENT);
    assert_int_equal(imds_next(&w.s, w.now), IMDS_DONE);
    assert_string_equal(w.s.keys.access_key_id, "AKID");
    assert_string_equal(w.s.role, "One");
    assert_int_equal(w.sent, 3);
    assert_int_equal(w.pauses, 0);
    imds_end(&w.s);
    assert_null(w.s.keys.access_key_id);
    imds_end(&w.s);

    /* The token is kept: the next needs two, until it is too old. */
    imds_begin_credentials(&w.s, &w.settings, &w.token, w.now);
    role(&w);
    document(&w, DOCUMENT);
    imds_end(&w.s);
    w.now = start + IMDS_TOKEN_TTL_S * (int64_t)1000;
    imds_begin_credentials(&w.s, &w.settings, &w.token, w.now);
    token(&w, "new");
    assert_string_equal(w.token.text, "new");
    imds_end(&w.s);
}

static void gets_any_path(void **state)
{
    (void)state;
    struct world w;
    begin(&w, false);
    imds_begin_path(&w.s, &w.settings, &w.token, "/latest/meta-data/placement/region", w.now);
    token(&w, "tok");
    expect(&w, "GET", "http://127.0.0.1:1/latest/meta-data/placement/region");
    answer(&w, 200, "eu-central-1");
    assert_int_equal(imds_next(&w.s, w.now), IMDS_DONE);
    assert_true(bytes_equal(buf_bytes(&w.s.text), bytes_of("eu-central-1")));
    imds_end(&w.s);
    imds_begin_path(&w.s, &w.settings, &w.token, "/latest/meta-data/spot/instance-action", w.now);
    expect(&w, "GET", "http://127.0.0.1:1/latest/meta-data/spot/instance-action");
    answer(&w, 404, "");
    failed(&w, ERR_MISSING, "there is no /latest/meta-data/spot/instance-action");
    imds_begin_path(&w.s, &w.settings, &w.token, "latest", w.now);
    failed(&w, ERR_INVALID, "a path must begin with '/'");
}

static void renews_a_refused_token_once(void **state)
{
    (void)state;
    struct world w;
    begin(&w, false);
    token(&w, "old");
    expect(&w, "GET", ROLES);
    answer(&w, 401, "");
    token(&w, "new");
    expect(&w, "GET", ROLES);
    assert_string_equal(w.s.request.token, "new");
    answer(&w, 200, "One");
    document(&w, DOCUMENT);
    done(&w);

    begin(&w, false);
    token(&w, "old");
    role(&w);
    expect(&w, "GET", ROLES "One");
    answer(&w, 401, "");
    token(&w, "new");
    expect(&w, "GET", ROLES);
    answer(&w, 401, "");
    failed(&w, ERR_DENIED, "a fresh token was refused, too (401)");
    assert_string_equal(w.token.text, "");
}

static void does_without_a_token_only_when_allowed_and_told_so(void **state)
{
    (void)state;
    static const int statuses[] = {403, 404, 405};
    struct world w;
    for (size_t i = 0; i < 3; i++) {
        begin(&w, true);
        expect(&w, "PUT", "http://127.0.0.1:1/latest/api/token");
        answer(&w, statuses[i], "");
        expect(&w, "GET", ROLES);
        assert_null(w.s.request.token);
        answer(&w, 200, "One");
        document(&w, DOCUMENT);
        done(&w);
        imds_begin_credentials(&w.s, &w.settings, &w.token, w.now); /* remembered */
        role(&w);
        expect(&w, "GET", ROLES "One"); /* and forgotten, when it wants tokens after all */
        answer(&w, 401, "");
        token(&w, "tok");
        imds_end(&w.s);

        begin(&w, false);
        expect(&w, "PUT", "http://127.0.0.1:1/latest/api/token");
        answer(&w, statuses[i], "");
        failed(&w, ERR_DENIED,
               statuses[i] == 403 ? "the endpoint is disabled (HttpEndpoint must be enabled), or a proxy" : "it knows no tokens (40");
    }
    /* A bad request, an error, silence: never a reason. */
    begin(&w, true);
    expect(&w, "PUT", "http://127.0.0.1:1/latest/api/token");
    answer(&w, 400, "");
    failed(&w, ERR_PROTOCOL, "the token request was answered with 400");
    begin(&w, true);
    for (int i = 0; i < 4; i++) {
        expect(&w, "PUT", "http://127.0.0.1:1/latest/api/token");
        no_answer(&w, IMDS_SILENT, 2000);
    }
    failed(&w, ERR_TIMEOUT, "set HttpPutResponseHopLimit to 2");
}

static void tries_four_times_within_ten_seconds(void **state)
{
    (void)state;
    struct world w;
    begin(&w, false);
    for (int i = 0; i < 2; i++) {
        expect(&w, "PUT", "http://127.0.0.1:1/latest/api/token");
        answer(&w, 500, "");
    }
    token(&w, "tok");
    for (int i = 0; i < 3; i++) {
        expect(&w, "GET", ROLES);
        no_answer(&w, i ? IMDS_BROKEN_OFF : IMDS_SILENT, 10);
    }
    role(&w);
    document(&w, "{\"Code\":");
    document(&w, DOCUMENT);
    assert_int_equal(w.pauses, 6);
    assert_true(w.now - start < 2500);
    done(&w);

    static const uint32_t dice[] = {0, 1u << 31, UINT32_MAX};
    for (size_t i = 0; i < 3; i++) {
        begin(&w, false);
        w.random = dice[i];
        for (int j = 0; j < 4; j++) {
            expect(&w, "PUT", "http://127.0.0.1:1/latest/api/token");
            answer(&w, 500, "");
        }
        failed(&w, ERR_PROTOCOL, "500 instead of the token");
        assert_int_equal(w.sent, 4);
        assert_true(w.now - start <= 712);
    }

    /* The budget ends before the tries do, and the last ones are cut to fit. */
    begin(&w, false);
    token(&w, "tok");
    for (int i = 0; i < 3; i++) {
        expect(&w, "GET", ROLES);
        no_answer(&w, IMDS_SILENT, w.s.request.first_byte_ms);
    }
    role(&w);
    while (imds_next(&w.s, w.now) != IMDS_FAILED) {
        expect(&w, "GET", ROLES "One");
        no_answer(&w, IMDS_SILENT, w.s.request.first_byte_ms);
    }
    failed(&w, ERR_TIMEOUT, "connected, but the role's credentials did not come within");
}

static void says_what_is_in_the_way(void **state)
{
    (void)state;
    static const struct {
        enum imds_fate fate;
        int status;
        bool via;
        const char *body;
        int sent;
        enum err_kind kind;
        const char *sentence;
    } cases[] = {
        {IMDS_SILENT, 0, false, "", 4, ERR_TIMEOUT,
         "connected, but the token reply did not come back, as with a hop limit of 1 seen from a container: set HttpPutResponseHopLimit to "
         "2"},
        {IMDS_NOBODY, 0, false, "", 4, ERR_REFUSED, "nobody listens there: is this an EC2 instance"},
        {IMDS_UNREACHABLE, 0, false, "", 4, ERR_REFUSED, "no way leads there from here"},
        {IMDS_CONNECT_TIMEOUT, 0, false, "", 4, ERR_TIMEOUT, "no connection within 1000 ms"},
        {IMDS_BROKEN_OFF, 0, false, "", 4, ERR_PROTOCOL, "the answer with the token broke off"},
        {IMDS_ANSWERED, 503, false, "", 4, ERR_THROTTLED, "too many requests (503) for the token"},
        {IMDS_ANSWERED, 429, false, "", 4, ERR_THROTTLED, "too many requests (429) for the token"},
        {IMDS_ANSWERED, 407, false, "", 1, ERR_PROTOCOL, "a proxy answered in its place (407)"},
        {IMDS_ANSWERED, 502, true, "", 1, ERR_PROTOCOL, "a proxy answered in its place (502)"},
        {IMDS_ANSWERED, 403, true, "", 1, ERR_PROTOCOL, "a proxy answered in its place (403)"},
        {IMDS_ANSWERED, 302, false, "", 1, ERR_PROTOCOL, "a proxy answered in its place (302)"},
        {IMDS_ANSWERED, 200, false, "\n<!DOCTYPE html><html>", 1, ERR_PROTOCOL, "a proxy answered in its place (200)"},
        {IMDS_ANSWERED, 200, false, "a\r\nb", 4, ERR_PROTOCOL, "the token holds a line break"},
        {IMDS_ANSWERED, 200, false, "", 4, ERR_PROTOCOL, "the token is empty"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world w;
        begin(&w, true);
        struct imds_reply reply = {.fate = cases[i].fate, .status = cases[i].status, .via = cases[i].via, .body = bytes_of(cases[i].body)};
        for (int j = 0; j < cases[i].sent; j++) {
            expect(&w, "PUT", "http://127.0.0.1:1/latest/api/token");
            imds_replied(&w.s, w.now, w.random, &reply);
        }
        failed(&w, cases[i].kind, cases[i].sentence);
        assert_int_equal(w.sent, cases[i].sent);
    }
}

static void says_what_is_wrong_with_the_role(void **state)
{
    (void)state;
    struct world w;
    begin(&w, false);
    token(&w, "tok");
    role(&w);
    document(&w, "{\"Code\":\"AssumeRoleUnauthorizedAccess\",\"Message\":\"EC2 cannot assume the role\"}");
    failed(&w, ERR_DENIED, "role One: EC2 may not assume the instance's role (AssumeRoleUnauthorizedAccess)");

    for (int i = 0; i < 2; i++) {
        begin(&w, false);
        token(&w, "tok");
        expect(&w, "GET", ROLES);
        answer(&w, i ? 404 : 200, i ? "<?xml version='1.0'?>Not Found" : "\n");
        failed(&w, ERR_MISSING, "no role is attached to this instance: attach an instance profile");
    }

    begin(&w, false);
    token(&w, "tok");
    for (int i = 0; i < 4; i++) {
        expect(&w, "GET", ROLES);
        answer(&w, 200, "../../x");
    }
    failed(&w, ERR_PROTOCOL, "what came is not the name of a role");

    begin(&w, false);
    token(&w, "tok");
    expect(&w, "GET", ROLES);
    answer(&w, 403, "");
    failed(&w, ERR_DENIED, "the name of the role is forbidden (403): the endpoint is disabled");

    /* The role changes between two requests: looked up again, and not for ever. */
    begin(&w, false);
    token(&w, "tok");
    for (int i = 0; i < 4; i++) {
        role(&w);
        expect(&w, "GET", ROLES "One");
        answer(&w, 404, "");
    }
    failed(&w, ERR_MISSING, "the role One has no credentials: is it still attached?");
}

static void asks_nobody_when_switched_off(void **state)
{
    (void)state;
    struct world w;
    begin(&w, false);
    w.settings.disabled = true;
    imds_begin_credentials(&w.s, &w.settings, &w.token, w.now);
    failed(&w, ERR_MISSING, "switched off by AWS_EC2_METADATA_DISABLED");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gets_credentials_in_three_requests),  cmocka_unit_test(gets_any_path),
        cmocka_unit_test(renews_a_refused_token_once),         cmocka_unit_test(does_without_a_token_only_when_allowed_and_told_so),
        cmocka_unit_test(tries_four_times_within_ten_seconds), cmocka_unit_test(says_what_is_in_the_way),
        cmocka_unit_test(says_what_is_wrong_with_the_role),    cmocka_unit_test(asks_nobody_when_switched_off),
    };
    return cmocka_run_group_tests_name("imds_sequence", tests, NULL, NULL);
}
