/* The requests to IMDS, with any replies in any order: they end within the budget and a bounded number of requests, with credentials
 * or a sentence. Each reply is a byte of fate and flags, one of status, one of delay, and a body up to the next zero. */
#include "appliance/imds_sequence.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static struct imds_reply next_reply(const uint8_t **at, const uint8_t *end, int64_t *now)
{
    static const int statuses[] = {200, 401, 403, 404, 405, 400, 429, 500, 503, 407, 302};
    struct imds_reply reply = {.fate = IMDS_SILENT, .body = {"", 0}};
    if (end - *at < 3) {
        *now += 2000;
        return reply;
    }
    reply.fate = (*at)[0] % 8 ? IMDS_ANSWERED : (enum imds_fate)((*at)[0] / 8 % 6);
    reply.via = (*at)[0] == 255;
    reply.token_ttl_s = (*at)[0] == 254 ? (*at)[1] : 0;
    reply.status = statuses[(*at)[1] % (sizeof statuses / sizeof *statuses)];
    *now += (*at)[2] * 8;
    *at += 3;
    const uint8_t *stop = memchr(*at, 0, (size_t)(end - *at));
    if (!stop)
        stop = end;
    reply.body = (struct bytes){(const char *)*at, (size_t)(stop - *at)};
    *at = stop < end ? stop + 1 : end;
    return reply;
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t length)
{
    if (length == 0)
        return 0;
    const uint8_t *at = input + 1, *end = input + length;
    char *environment[] = {"AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:1", NULL};
    struct imds_settings settings;
    struct imds_token token = {0};
    struct imds_sequence s;
    int64_t now = 1000000, begun = now;
    must(imds_settings_read(&settings, environment, NULL, NULL));
    settings.v1_allowed = input[0] & 1;
    if (input[0] & 2)
        imds_begin_path(&s, &settings, &token, "/latest/meta-data/placement/region", now);
    else
        imds_begin_credentials(&s, &settings, &token, now);
    for (int requests = 0;;) {
        enum imds_todo todo = imds_next(&s, now);
        if (todo == IMDS_PAUSE) {
            must(s.wake_ms > now && s.wake_ms <= begun + settings.budget_ms);
            now = s.wake_ms;
        } else if (todo == IMDS_SEND) {
            must(++requests <= 64);
            must(strncmp(s.request.url, "http://127.0.0.1:1/latest/", 26) == 0 && !strpbrk(s.request.url, " \r\n"));
            must(!s.request.token || (s.request.token[0] && !strpbrk(s.request.token, "\r\n")));
            must(s.request.token || settings.v1_allowed || s.request.token_ttl_s);
            must(s.request.connect_ms > 0 && s.request.first_byte_ms > 0);
            struct imds_reply reply = next_reply(&at, end, &now);
            imds_replied(&s, now, (uint32_t)requests * 2654435761u, &reply);
        } else {
            must((todo == IMDS_FAILED) == (s.err.kind != ERR_NONE));
            must(todo == IMDS_FAILED || (input[0] & 2) || (s.keys.access_key_id && s.role[0]));
            break;
        }
    }
    imds_end(&s);
    return 0;
}
