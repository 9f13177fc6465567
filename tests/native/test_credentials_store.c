/* The store of credentials: one fetch for all who ask, refresh while the old ones are used, what happens when a source is gone, and ends at
 * any moment. */
#include "asking.h"

#include "../../src/net/credentials_inner.h" /* to let time pass */

/* --- many askers, and time --- */

static void fetches_once_however_many_ask(void **unused)
{
    (void)unused;
    from_instance();
    set("AWS_ENDPOINT_URL_STS", "%s", giver_at(""));
    struct err err;
    store = credentials_open(loop, &spec, &err);
    ended = 0;
    for (int i = 0; i < MANY; i++)
        assert_true(credentials_ask_start(&asks[i], store, i % 2 ? ROLE : NULL, on_told, &err));
    TURN_UNTIL(loop, ended == MANY);
    for (int i = 0; i < MANY; i++) {
        assert_true(asks[i].ok);
        assert_string_equal(asks[i].keys.access_key_id, i % 2 ? "ASIASTS0002" : "ASIAIMD0001");
    }
    assert_int_equal(giver_count("token"), 1);
    assert_int_equal(giver_count("document"), 1);
    assert_int_equal(giver_count("sts"), 1);
}

static void refreshes_at_half_life_while_the_old_ones_are_used(void **unused)
{
    (void)unused;
    from_instance();
    uint64_t generation = 0;
    assert_keys(NULL, "ASIAIMD0001");
    credentials_pass_time(store, 2 * HOUR_MS);
    assert_string_equal(credentials_held(store, NULL, &generation)->access_key_id, "ASIAIMD0001");
    for (int i = 0; i < 20; i++)
        loop_turn(loop, clock_ns() + 2 * NS_PER_MS, NULL);
    assert_int_equal(giver_count("document"), 1);
    giver_script("{'get':{'after':0.2},'lifetime':43200}");
    credentials_pass_time(store, HOUR_MS + 1000);
    TURN_UNTIL(loop, giver_count("roles") == 2); /* by the timer: nobody asked */
    assert_string_equal(credentials_held(store, NULL, NULL)->access_key_id, "ASIAIMD0001");
    assert_keys(NULL, "ASIAIMD0001");
    TURN_UNTIL(loop, strcmp(credentials_held(store, NULL, NULL)->access_key_id, "ASIAIMD0002") == 0);
    credentials_held(store, NULL, &generation);
    assert_int_equal(generation, 2);
}

static void goes_on_with_expired_ones_while_the_instance_is_silent(void **unused)
{
    (void)unused;
    from_instance();
    assert_keys(NULL, "ASIAIMD0001");
    giver_script("{'token':'reset','get':'reset'}");
    credentials_pass_time(store, 3 * HOUR_MS + 1000);
    TURN_UNTIL(loop, strstr(said, "newer ones can't be had"));
    assert_says(said, "credentials: newer ones can't be had, the present ones are used meanwhile: IMDS at http://127.0.0.1:");
    assert_keys(NULL, "ASIAIMD0001");
    assert_false(asks[0].extended);
    credentials_pass_time(store, 3 * HOUR_MS); /* their end */
    assert_keys(NULL, "ASIAIMD0001");
    assert_true(asks[0].extended);
    int64_t end = asks[0].keys.expires_wall_ms - (clock_wall_ms() + 6 * (int64_t)HOUR_MS);
    assert_true(end > 9 * 60 * 1000 && end < 17 * 60 * 1000);
    assert_says(said, "instance metadata gives no newer ones: they are used until");
    credentials_pass_time(store, HOUR_MS);
    assert_keys(NULL, "ASIAIMD0001");
    giver_script("{'token':'ok','get':'ok','lifetime':86400}");
    credentials_pass_time(store, 20 * 60 * 1000);
    TURN_UNTIL(loop, strcmp(credentials_held(store, NULL, NULL)->access_key_id, "ASIAIMD0002") == 0);
    assert_says(said, "newer ones can be had again");
    assert_keys(NULL, "ASIAIMD0002");
    assert_false(asks[0].extended);
}

static void uses_a_document_that_had_expired_already(void **unused)
{
    (void)unused;
    from_instance();
    giver_script("{'lifetime':-100}");
    assert_keys(NULL, "ASIAIMD0001");
    assert_true(asks[0].extended);
    assert_true(asks[0].keys.expires_wall_ms > clock_wall_ms() + 9 * 60 * 1000);
}

static void does_not_use_expired_ones_of_a_container(void **unused)
{
    (void)unused;
    from_container();
    giver_script("{'lifetime':-100}");
    assert_refused(NULL, ERR_PROTOCOL, "what came from container had expired at ");
    credentials_close(store);
    store = NULL;
    giver_script("{'lifetime':3600}");
    assert_keys(NULL, "ASIACON0002");
    giver_script("{'container':404}");
    credentials_pass_time(store, HOUR_MS + 1000);
    assert_refused(NULL, ERR_INVALID, "it answered 404");
}

static void refreshes_once_what_a_service_calls_expired(void **unused)
{
    (void)unused;
    from_instance();
    giver_script("{'keep':true}");
    assert_keys(NULL, "ASIAIMD0001");
    assert_true(credentials_refused(store, NULL, asks[0].generation));
    assert_null(credentials_held(store, NULL, NULL));
    assert_keys(NULL, "ASIAIMD0001"); /* the same again, for the source has no others */
    assert_int_equal(giver_count("document"), 2);
    assert_false(credentials_refused(store, NULL, asks[0].generation));
    giver_script("{'keep':false}");
    credentials_pass_time(store, HOUR_MS);
    assert_true(credentials_held(store, NULL, NULL));
}

static void refreshes_the_chains_own_when_sts_calls_them_expired(void **unused)
{
    (void)unused;
    from_instance();
    set("AWS_ENDPOINT_URL_STS", "%s", giver_at(""));
    giver_script("{'sts':['ExpiredToken','ok']}");
    assert_keys(ROLE, "ASIASTS0003");
    assert_string_equal(asks[0].source, "assumed role");
    assert_int_equal(giver_count("document"), 2);
    assert_says(giver_last("sts_headers", "Authorization"), "Credential=ASIAIMD0002/");
}

static void says_why_sts_refuses_a_role(void **unused)
{
    (void)unused;
    from_instance();
    set("AWS_ENDPOINT_URL", "%s", giver_at(""));
    giver_script("{'sts':'AccessDenied'}");
    assert_refused(ROLE, ERR_DENIED, ROLE ": STS says AccessDenied (403): the role's trust policy must name who assumes it");
    assert_int_equal(giver_count("sts"), 1);
    assert_refused(ROLE, ERR_DENIED, "AccessDenied"); /* too soon to ask again */
    assert_int_equal(giver_count("sts"), 1);
    giver_script("{'sts':['reset',500,'ok']}");
    assert_keys("arn:aws:iam::123456789012:role/other", "ASIASTS0002");
    struct err err;
    assert_false(credentials_ask_start(&asks[1], store, "reader", on_told, &err));
    assert_says(err.text, "the role must be an ARN");
}

static void lets_go_of_a_role_that_nobody_asks_for(void **unused)
{
    (void)unused;
    from_instance();
    set("AWS_ENDPOINT_URL_STS", "%s", giver_at(""));
    giver_script("{'lifetime':864000}");
    assert_keys(ROLE, "ASIASTS0002");
    int fetches = 1;
    for (int i = 0; i < 6; i++) {
        credentials_pass_time(store, 5 * 24 * (int64_t)HOUR_MS + 60000);
        giver_script(i == 0 ? "{'lifetime':2000000}" : i == 1 ? "{'lifetime':3000000}" : "{'lifetime':4000000}");
        for (int turn = 0; turn < 40; turn++)
            loop_turn(loop, clock_ns() + 2 * NS_PER_MS, NULL);
        fetches = giver_count("sts");
    }
    assert_true(fetches >= 2 && fetches <= 3);
}

/* --- the end --- */

static void can_be_closed_or_stopped_at_any_moment(void **unused)
{
    (void)unused;
    from_instance();
    set("AWS_ENDPOINT_URL_STS", "%s", giver_at(""));
    for (int turns = 0; turns < 30; turns++) {
        struct err err;
        ended = 0;
        store = credentials_open(loop, &spec, &err);
        for (int i = 0; i < 4; i++)
            assert_true(credentials_ask_start(&asks[i], store, i % 2 ? ROLE : NULL, on_told, &err));
        for (int i = 0; i < turns; i++)
            loop_turn(loop, clock_ns() + NS_PER_MS, NULL);
        credentials_ask_stop(&asks[turns % 4]);
        if (turns % 3 == 0)
            for (int i = 0; i < 4; i++)
                credentials_ask_stop(&asks[i]);
        int told = ended;
        credentials_close(store);
        store = NULL;
        for (int i = 0; i < 3; i++)
            loop_turn(loop, clock_ns() + NS_PER_MS, NULL);
        assert_int_equal(ended, told);
        for (int i = 0; i < 4; i++)
            credentials_ask_stop(&asks[i]);
    }
}

static struct credentials_ask again;

static void closes(struct credentials_ask *ask)
{
    (void)ask;
    credentials_close(store);
    store = NULL;
    ended++;
}

static void may_be_closed_by_who_is_told(void **unused)
{
    (void)unused;
    struct err err;
    set("AWS_ACCESS_KEY_ID", "AKIDENV");
    set("AWS_SECRET_ACCESS_KEY", "SECRETENV");
    store = credentials_open(loop, &spec, &err);
    ended = 0;
    assert_true(credentials_ask_start(&asks[0], store, NULL, closes, &err));
    assert_true(credentials_ask_start(&again, store, NULL, closes, &err));
    TURN_UNTIL(loop, ended);
    for (int i = 0; i < 5; i++)
        loop_turn(loop, 0, NULL);
    assert_int_equal(ended, 1);
    credentials_ask_stop(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(fetches_once_however_many_ask),
        TEST(refreshes_at_half_life_while_the_old_ones_are_used),
        TEST(goes_on_with_expired_ones_while_the_instance_is_silent),
        TEST(uses_a_document_that_had_expired_already),
        TEST(does_not_use_expired_ones_of_a_container),
        TEST(refreshes_once_what_a_service_calls_expired),
        TEST(refreshes_the_chains_own_when_sts_calls_them_expired),
        TEST(says_why_sts_refuses_a_role),
        TEST(lets_go_of_a_role_that_nobody_asks_for),
        TEST(can_be_closed_or_stopped_at_any_moment),
        TEST(may_be_closed_by_who_is_told),
    };
    return cmocka_run_group_tests(tests, giver_start, giver_stop);
}
