#include "appliance/credentials_refresh.h"

enum {
    SECOND_MS = 1000,
    MINUTE_MS = 60 * SECOND_MS,
    AGAIN_FROM_MS = 5 * MINUTE_MS,
    AGAIN_TO_MS = 10 * MINUTE_MS,
    EXTEND_FROM_MS = 10 * MINUTE_MS,
    EXTEND_TO_MS = 15 * MINUTE_MS,
    SOON_MS = 15 * SECOND_MS,     /* the least between two fetches while there is something to use */
    TIGHT_MS = MINUTE_MS,         /* with less than that left a request may not get through before the end */
    BACK_OFF_FROM_MS = SECOND_MS, /* with nothing to use: 1 s, doubled, */
    BACK_OFF_TO_MS = MINUTE_MS,   /* up to this */
};

static int64_t between(int64_t from, int64_t to, uint32_t random)
{
    return from + (int64_t)((uint64_t)(to - from) * random >> 32);
}

/* now + span, and never past the end of time. */
static int64_t later(int64_t now_ms, int64_t span_ms)
{
    return span_ms >= REFRESH_NEVER - now_ms ? REFRESH_NEVER : now_ms + span_ms;
}

void refresh_init(struct credentials_refresh *r, bool keeps_expired)
{
    *r = (struct credentials_refresh){.keeps_expired = keeps_expired};
}

static int64_t left(const struct credentials_refresh *r, int64_t now_ms)
{
    return r->expires_ms == REFRESH_NEVER ? REFRESH_NEVER : r->expires_ms - now_ms;
}

static bool extend(struct credentials_refresh *r, int64_t now_ms, uint32_t random)
{
    if (!r->held || !r->keeps_expired || left(r, now_ms) > 0)
        return false;
    r->expires_ms = now_ms + between(EXTEND_FROM_MS, EXTEND_TO_MS, random);
    return r->extended = true;
}

static bool usable(const struct credentials_refresh *r, int64_t now_ms)
{
    return r->held && !r->rejected && left(r, now_ms) > 0;
}

static bool begin(struct credentials_refresh *r, int64_t now_ms)
{
    if (r->in_flight || now_ms < r->next_ms)
        return false;
    return r->in_flight = true;
}

struct refresh_step refresh_asked(struct credentials_refresh *r, int64_t now_ms, uint32_t random)
{
    struct refresh_step step = {.extended = extend(r, now_ms, random)};
    step.fetch = begin(r, now_ms);
    /* With an end so near and newer ones perhaps on their way, waiting beats a refusal. Those who are extended are used: whether the
     * service takes them is for the service to say. */
    bool tight = !r->keeps_expired && usable(r, now_ms) && left(r, now_ms) < TIGHT_MS;
    if (usable(r, now_ms) && !(tight && r->in_flight))
        step.answer = REFRESH_USE;
    else
        step.answer = r->in_flight ? REFRESH_WAIT : REFRESH_FAILED;
    return step;
}

struct refresh_step refresh_timed(struct credentials_refresh *r, int64_t now_ms, uint32_t random)
{
    return refresh_asked(r, now_ms, random);
}

int64_t refresh_due(const struct credentials_refresh *r)
{
    return r->in_flight || (!r->held && r->failures == 0) ? REFRESH_NEVER : r->next_ms;
}

/* After half of the life, or a failure with the old ones still good: every 5 to 10 minutes, but before their end at least once more. */
static int64_t try_again(const struct credentials_refresh *r, int64_t now_ms, uint32_t random)
{
    int64_t span = between(AGAIN_FROM_MS, AGAIN_TO_MS, random), half = left(r, now_ms) / 2;
    if (span > half && !r->extended)
        span = half > SOON_MS ? half : SOON_MS;
    return now_ms + span;
}

struct refresh_step refresh_failed(struct credentials_refresh *r, int64_t now_ms, bool lasting, uint32_t random)
{
    struct refresh_step step = {.extended = extend(r, now_ms, random)};
    r->in_flight = false;
    if (r->failures < 30)
        r->failures++;
    if (usable(r, now_ms)) {
        r->next_ms = try_again(r, now_ms, random);
        return step;
    }
    int64_t span = BACK_OFF_TO_MS;
    for (int i = 0; !lasting && span > BACK_OFF_FROM_MS && i < 7 - r->failures; i++)
        span /= 2;
    if (span < BACK_OFF_FROM_MS)
        span = BACK_OFF_FROM_MS;
    r->next_ms = now_ms + between(span / 2, span, random);
    step.answer = REFRESH_FAILED;
    return step;
}

struct refresh_step refresh_fetched(struct credentials_refresh *r, int64_t now_ms, int64_t expires_ms, bool same, uint32_t random)
{
    if (expires_ms <= now_ms && !r->keeps_expired)
        return refresh_failed(r, now_ms, false, random);
    same = same && r->held;
    r->in_flight = false;
    r->failures = 0;
    if (!same) {
        r->extended = false;
        r->rejected = false;
        r->generation++;
        r->told_ms = r->expires_ms = expires_ms;
    } else if (r->rejected) {
        /* The source has no others, so the next refusal is final; until then they are what there is. */
        r->rejected = false;
    } else if (!r->extended) {
        r->expires_ms = r->told_ms;
    }
    r->held = true;
    struct refresh_step step = {.extended = extend(r, now_ms, random)};
    if (expires_ms == REFRESH_NEVER)
        r->next_ms = REFRESH_NEVER;
    else if (same || r->extended)
        r->next_ms = try_again(r, now_ms, random);
    else
        r->next_ms = later(now_ms, (expires_ms - now_ms) / 2 > SOON_MS ? (expires_ms - now_ms) / 2 : SOON_MS);
    return step;
}

void refresh_cancelled(struct credentials_refresh *r)
{
    r->in_flight = false;
}

bool refresh_rejected(struct credentials_refresh *r, uint64_t generation, int64_t now_ms)
{
    if (!r->held || generation != r->generation)
        return true;
    if (r->rejected || r->refused_generation == generation)
        return r->rejected;
    r->rejected = true;
    r->refused_generation = generation;
    r->next_ms = now_ms;
    return true;
}
