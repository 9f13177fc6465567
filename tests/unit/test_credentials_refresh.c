/* credentials_refresh: when a fetch begins, who waits, and what happens when the time of the held ones is over. */
#include "appliance/credentials_refresh.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE };

/* A source tells the same end again when it has no newer ones; converted at another moment, it is a little off. */
static struct refresh_step fetched(struct credentials_refresh *refresh, int64_t now_ms, int64_t expires_ms, uint32_t random)
{
    bool same = expires_ms == refresh->told_ms || (expires_ms != REFRESH_NEVER && refresh->told_ms != REFRESH_NEVER &&
                                                   llabs((long long)(expires_ms - refresh->told_ms)) < 2000);
    return refresh_fetched(refresh, now_ms, expires_ms, same, random);
}

static const int64_t start = 1000 * (int64_t)HOUR;
static const uint32_t dice[] = {0, 1u << 31, UINT32_MAX};

#define each_throw(random) (size_t throw_ = 0; throw_ < 3 && ((random) = dice[throw_], true); throw_++)

static void assert_step(struct refresh_step step, enum refresh_answer answer, bool fetch, bool extended)
{
    assert_int_equal(step.answer, answer);
    assert_int_equal(step.fetch, fetch);
    assert_int_equal(step.extended, extended);
}

static void assert_between(int64_t value, int64_t from, int64_t to)
{
    if (value < from || value > to)
        fail_msg("%lld is not between %lld and %lld", (long long)(value - start), (long long)(from - start), (long long)(to - start));
}

/* One that holds credentials since `start`, for six hours. */
static struct credentials_refresh holding(bool keeps_expired)
{
    struct credentials_refresh r;
    refresh_init(&r, keeps_expired);
    assert_step(refresh_asked(&r, start, 0), REFRESH_WAIT, true, false);
    assert_step(fetched(&r, start, start + 6 * HOUR, 0), REFRESH_USE, false, false);
    return r;
}

static void fetches_once_for_any_number_of_askers(void **state)
{
    (void)state;
    struct credentials_refresh r;
    refresh_init(&r, true);
    assert_true(refresh_due(&r) == REFRESH_NEVER); /* nobody asked: nothing is fetched in advance */
    assert_step(refresh_asked(&r, start, 0), REFRESH_WAIT, true, false);
    for (int i = 0; i < 50; i++)
        assert_step(refresh_asked(&r, start + i, 0), REFRESH_WAIT, false, false);
    assert_true(refresh_due(&r) == REFRESH_NEVER);
    assert_step(fetched(&r, start + 60, start + HOUR, 0), REFRESH_USE, false, false);
    for (int i = 0; i < 50; i++)
        assert_step(refresh_asked(&r, start + 60 + i, 0), REFRESH_USE, false, false);
    assert_int_equal(r.generation, 1);
}

static void begins_at_half_of_the_life_with_the_old_ones_in_use(void **state)
{
    (void)state;
    for (int keeps = 0; keeps < 2; keeps++) {
        struct credentials_refresh r = holding(keeps);
        assert_true(refresh_due(&r) == start + 3 * HOUR);
        assert_step(refresh_timed(&r, start + 3 * HOUR - 1, 0), REFRESH_USE, false, false);
        assert_step(refresh_timed(&r, start + 3 * HOUR, 0), REFRESH_USE, true, false);
        assert_step(refresh_asked(&r, start + 3 * HOUR, 0), REFRESH_USE, false, false);
        assert_step(fetched(&r, start + 3 * HOUR, start + 9 * HOUR, 0), REFRESH_USE, false, false);
        assert_true(r.expires_ms == start + 9 * HOUR && r.generation == 2);
        assert_true(refresh_due(&r) == start + 6 * HOUR);
    }
}

static void asks_every_five_to_ten_minutes_for_newer_ones(void **state)
{
    (void)state;
    uint32_t random;
    for
        each_throw(random)
        {
            struct credentials_refresh r = holding(true);
            int64_t now = start + 3 * HOUR;
            for (int i = 0; i < 10; i++) { /* the same document, its end converted a little differently each time; or a failure */
                assert_step(refresh_timed(&r, now, random), REFRESH_USE, true, false);
                if (i % 2)
                    assert_step(fetched(&r, now, start + 6 * HOUR + i, random), REFRESH_USE, false, false);
                else
                    assert_step(refresh_failed(&r, now, false, random), REFRESH_USE, false, false);
                assert_between(refresh_due(&r), now + 5 * MINUTE, now + 10 * MINUTE);
                now = refresh_due(&r);
            }
            assert_int_equal(r.generation, 1);
        }
}

static void tries_more_often_before_the_end(void **state)
{
    (void)state;
    uint32_t random;
    for
        each_throw(random)
        {
            struct credentials_refresh r = holding(false);
            int64_t now = start + 6 * HOUR - 4 * MINUTE;
            int tries = 0;
            for (; now < start + 6 * HOUR; tries++) {
                refresh_timed(&r, now, random);
                refresh_failed(&r, now, false, random);
                assert_true(refresh_due(&r) >= now + 15 * SECOND || refresh_due(&r) >= start + 6 * HOUR);
                now = refresh_due(&r);
            }
            assert_between(tries + start, start + 3, start + 10);
        }
}

static void puts_the_end_off_when_there_are_no_newer_ones(void **state)
{
    (void)state;
    uint32_t random;
    for
        each_throw(random)
        {
            struct credentials_refresh r = holding(true);
            int64_t end = start + 6 * HOUR;
            refresh_timed(&r, end - 1, random);
            assert_step(refresh_failed(&r, end + 10, false, random), REFRESH_USE, false, true);
            assert_true(r.extended);
            assert_between(r.expires_ms, end + 10 + 10 * MINUTE, end + 10 + 15 * MINUTE);
            assert_between(refresh_due(&r), end + 10 + 5 * MINUTE, end + 10 + 10 * MINUTE);
            /* Told once; and again when that time is over, too. */
            assert_step(refresh_asked(&r, end + 20, random), REFRESH_USE, false, false);
            assert_step(refresh_asked(&r, r.expires_ms, random), REFRESH_USE, true, true);
            assert_step(refresh_asked(&r, r.expires_ms - 1, random), REFRESH_USE, false, false);
            assert_int_equal(r.generation, 1);
            /* Newer ones end it. */
            assert_step(fetched(&r, end + HOUR, end + 7 * HOUR, random), REFRESH_USE, false, false);
            assert_false(r.extended);
            assert_true(r.expires_ms == end + 7 * HOUR && r.generation == 2);
        }
    /* Nobody was there at the end, no fetch either: the first asker is told. */
    struct credentials_refresh r = holding(true);
    assert_step(refresh_asked(&r, start + 8 * HOUR, 0), REFRESH_USE, true, true);
}

static void takes_expired_ones_of_the_instance_only(void **state)
{
    (void)state;
    struct credentials_refresh r;
    refresh_init(&r, true);
    refresh_asked(&r, start, 0);
    assert_step(fetched(&r, start, start - HOUR, 0), REFRESH_USE, false, true);
    assert_true(r.expires_ms == start + 10 * MINUTE);
    assert_true(refresh_due(&r) == start + 5 * MINUTE);
    /* The same document again: still in use, no second warning before that time is over, and no new generation. */
    assert_step(refresh_timed(&r, start + 5 * MINUTE, 0), REFRESH_USE, true, false);
    assert_step(fetched(&r, start + 5 * MINUTE, start - HOUR, 0), REFRESH_USE, false, false);
    assert_true(r.expires_ms == start + 10 * MINUTE && r.generation == 1);
    assert_step(fetched(&r, start + 10 * MINUTE, start - HOUR, 0), REFRESH_USE, false, true);

    refresh_init(&r, false);
    refresh_asked(&r, start, 0);
    assert_step(fetched(&r, start, start - 1, 0), REFRESH_FAILED, false, false);
    assert_false(r.held);

    /* Expired ones from a container do not take the place of good ones. */
    r = holding(false);
    refresh_timed(&r, start + 3 * HOUR, 0);
    assert_step(fetched(&r, start + 3 * HOUR, start, 0), REFRESH_USE, false, false);
    assert_true(r.expires_ms == start + 6 * HOUR && r.generation == 1);
}

static void waits_rather_than_uses_the_last_minute(void **state)
{
    (void)state;
    struct credentials_refresh r = holding(false);
    int64_t late = start + 6 * HOUR - 30 * SECOND;
    assert_step(refresh_asked(&r, late, 0), REFRESH_WAIT, true, false);
    assert_step(refresh_failed(&r, late + SECOND, false, 0), REFRESH_USE, false, false);
    assert_step(refresh_asked(&r, late + SECOND, 0), REFRESH_USE, false, false); /* none is under way, and they are still good */
    assert_step(refresh_asked(&r, start + 6 * HOUR, 0), REFRESH_WAIT, true, false);
    assert_step(refresh_failed(&r, start + 6 * HOUR, false, 0), REFRESH_FAILED, false, false);
    assert_step(refresh_asked(&r, start + 6 * HOUR, 0), REFRESH_FAILED, false, false);
    /* The instance's are used: they may live on. */
    r = holding(true);
    assert_step(refresh_asked(&r, late, 0), REFRESH_USE, true, false);
}

static void backs_off_with_nothing_to_use(void **state)
{
    (void)state;
    uint32_t random;
    for
        each_throw(random)
        {
            struct credentials_refresh r;
            refresh_init(&r, true);
            int64_t now = start;
            const int spans[] = {1000, 1875, 3750, 7500, 15000, 30000, 60000, 60000, 60000};
            for (size_t i = 0; i < sizeof spans / sizeof *spans; i++) {
                assert_step(refresh_asked(&r, now, random), REFRESH_WAIT, true, false);
                assert_step(refresh_failed(&r, now, false, random), REFRESH_FAILED, false, false);
                assert_between(refresh_due(&r), now + spans[i] / 2, now + spans[i]);
                assert_step(refresh_asked(&r, refresh_due(&r) - 1, random), REFRESH_FAILED, false, false);
                now = refresh_due(&r);
            }
            /* "No" is not asked again soon. */
            refresh_init(&r, true);
            refresh_asked(&r, start, random);
            refresh_failed(&r, start, true, random);
            assert_between(refresh_due(&r), start + 30 * SECOND, start + 60 * SECOND);
        }
}

static void keeps_those_without_an_end(void **state)
{
    (void)state;
    struct credentials_refresh r;
    refresh_init(&r, false);
    refresh_asked(&r, start, 0);
    assert_step(fetched(&r, start, REFRESH_NEVER, 0), REFRESH_USE, false, false);
    assert_true(refresh_due(&r) == REFRESH_NEVER);
    assert_step(refresh_asked(&r, start + 1000 * (int64_t)HOUR, 0), REFRESH_USE, false, false);
}

static void believes_a_service_that_calls_them_expired_once(void **state)
{
    (void)state;
    struct credentials_refresh r = holding(true);
    assert_true(refresh_rejected(&r, r.generation, start + HOUR));
    assert_true(refresh_rejected(&r, r.generation, start + HOUR)); /* another request heard the same */
    assert_step(refresh_asked(&r, start + HOUR, 0), REFRESH_WAIT, true, false);
    assert_step(fetched(&r, start + HOUR, start + 8 * HOUR, 0), REFRESH_USE, false, false);
    assert_true(refresh_rejected(&r, 1, start + HOUR)); /* an old one: there are newer ones already */
    assert_step(refresh_asked(&r, start + HOUR, 0), REFRESH_USE, false, false);

    /* The source has no others: the second refusal stands, and nothing turns in a circle. */
    r = holding(true);
    assert_true(refresh_rejected(&r, 1, start + HOUR));
    refresh_asked(&r, start + HOUR, 0);
    assert_step(fetched(&r, start + HOUR, start + 6 * HOUR, 0), REFRESH_USE, false, false);
    assert_false(refresh_rejected(&r, 1, start + HOUR));
    assert_step(refresh_asked(&r, start + HOUR, 0), REFRESH_USE, false, false);

    /* It can't be reached: what was refused is not handed out. */
    r = holding(true);
    assert_true(refresh_rejected(&r, 1, start + HOUR));
    refresh_asked(&r, start + HOUR, 0);
    assert_step(refresh_failed(&r, start + HOUR, false, 0), REFRESH_FAILED, false, false);
}

static void forgets_what_was_given_up(void **state)
{
    (void)state;
    struct credentials_refresh r;
    refresh_init(&r, false);
    refresh_asked(&r, start, 0);
    refresh_cancelled(&r);
    assert_true(refresh_due(&r) == REFRESH_NEVER);
    assert_step(refresh_asked(&r, start, 0), REFRESH_WAIT, true, false);
}

/* Whatever happens in whatever order: one fetch at most, no answer without ground, and no end of time that overflows. */
static void holds_its_invariants(void **state)
{
    (void)state;
    srand(20261122);
    for (int round = 0; round < 300; round++) {
        struct credentials_refresh r;
        bool keeps = round % 2, under_way = false;
        int64_t now = start;
        refresh_init(&r, keeps);
        for (int i = 0; i < 300; i++) {
            uint32_t random = (uint32_t)rand() * 2u;
            now += rand() % (rand() % 2 ? 20 * MINUTE : SECOND);
            struct refresh_step step = {0};
            switch (rand() % 6) {
            case 0:
            case 1: step = refresh_asked(&r, now, random); break;
            case 2: step = refresh_timed(&r, now, random); break;
            case 3:
                if (under_way)
                    step = fetched(&r, now, rand() % 20 ? now + rand() % (2 * HOUR) - 10 * MINUTE : REFRESH_NEVER, random);
                under_way = false;
                break;
            case 4:
                if (under_way)
                    step = refresh_failed(&r, now, rand() % 2, random);
                under_way = false;
                break;
            default: refresh_rejected(&r, r.generation, now); break;
            }
            assert_false(step.fetch && under_way);
            under_way |= step.fetch;
            assert_int_equal(r.in_flight, under_way);
            assert_false(step.answer == REFRESH_WAIT && !under_way);
            assert_false(step.extended && !keeps);
            if (!under_way && (r.held || r.failures))
                assert_true(refresh_due(&r) == REFRESH_NEVER || refresh_due(&r) <= now + 12 * HOUR);
            if (keeps && r.held && !r.rejected)
                assert_int_equal(refresh_asked(&r, now, random).answer, REFRESH_USE);
            under_way = r.in_flight;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fetches_once_for_any_number_of_askers),
        cmocka_unit_test(begins_at_half_of_the_life_with_the_old_ones_in_use),
        cmocka_unit_test(asks_every_five_to_ten_minutes_for_newer_ones),
        cmocka_unit_test(tries_more_often_before_the_end),
        cmocka_unit_test(puts_the_end_off_when_there_are_no_newer_ones),
        cmocka_unit_test(takes_expired_ones_of_the_instance_only),
        cmocka_unit_test(waits_rather_than_uses_the_last_minute),
        cmocka_unit_test(backs_off_with_nothing_to_use),
        cmocka_unit_test(keeps_those_without_an_end),
        cmocka_unit_test(believes_a_service_that_calls_them_expired_once),
        cmocka_unit_test(forgets_what_was_given_up),
        cmocka_unit_test(holds_its_invariants),
    };
    return cmocka_run_group_tests_name("credentials_refresh", tests, NULL, NULL);
}
