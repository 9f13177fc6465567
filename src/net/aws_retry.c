#include "appliance/aws_retry.h"
#include "appliance/aws_date.h"
#include "appliance/aws_region.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { BASE_MS = 50, BASE_THROTTLED_MS = 1000, MOST_MS = 20000, ASKED_MORE_MS = 5000, DOUBLINGS = 16 };

/* --- tokens --- */

int aws_tokens_take(struct aws_tokens *tokens, bool after_timeout)
{
    int cost = after_timeout ? AWS_TIMEOUT_COST : AWS_RETRY_COST;
    if (tokens->used + cost > AWS_TOKENS)
        return 0;
    tokens->used += cost;
    return cost;
}

void aws_tokens_return(struct aws_tokens *tokens, int taken)
{
    tokens->used -= taken ? taken : 1;
    if (tokens->used < 0)
        tokens->used = 0;
}

/* --- what to do next --- */

static bool may_pass(const struct aws_outcome *o)
{
    if (o->failure)
        return http_failure_is_transient(o->failure) && o->failure != HTTP_DEADLINE;
    return o->class == AWS_TRANSIENT || o->class == AWS_THROTTLED;
}

static bool is_elsewhere(const struct aws_outcome *o)
{
    return o->class == AWS_ELSEWHERE || (!o->is_told && (o->status == 301 || o->status == 307 || o->status == 400));
}

enum aws_next aws_next(const struct aws_outcome *o)
{
    bool bare_head = o->is_head && !o->is_told && (o->status == 301 || o->status == 400);
    bool clock = o->class == AWS_CLOCK || (!o->is_told && o->status == 403);
    if (o->ok)
        return AWS_NEXT_DONE;
    if (!o->can_repeat)
        return AWS_NEXT_FAIL;
    if (may_pass(o))
        return o->attempts_left > 0 ? AWS_NEXT_RETRY : AWS_NEXT_FAIL;
    if (o->failure)
        return AWS_NEXT_FAIL;
    if (o->class == AWS_EXPIRED)
        return o->renewed ? AWS_NEXT_FAIL : AWS_NEXT_RENEW;
    if (clock && !o->clocked && (o->skew_ms > AWS_SKEW_MS || o->skew_ms < -AWS_SKEW_MS))
        return AWS_NEXT_CLOCK;
    if (is_elsewhere(o) && o->names_place)
        return o->moved ? AWS_NEXT_FAIL : AWS_NEXT_MOVE;
    if ((bare_head || o->class == AWS_ELSEWHERE) && o->of_key && !o->found && !o->moved)
        return AWS_NEXT_FIND;
    if ((o->class == AWS_UNSUPPORTED || (!o->is_told && o->status == 400)) && o->by_default && !o->plain)
        return AWS_NEXT_PLAIN;
    return AWS_NEXT_FAIL;
}

/* --- time --- */

int64_t aws_skew_ms(const struct headers *headers, int64_t wall_ms)
{
    const char *date = headers_find(headers, "Date");
    int64_t theirs;
    return date && aws_date_read_http(bytes_of(date), &theirs, NULL) ? theirs - wall_ms : 0;
}

static int64_t number(const char *text)
{
    char *end;
    long long value = text && isdigit((unsigned char)*text) ? strtoll(text, &end, 10) : -1;
    return value < 0 || *end ? -1 : value < INT64_C(1000000000) ? value : INT64_C(1000000000);
}

static int64_t within(int64_t value, int64_t least, int64_t most)
{
    return value < least ? least : value > most ? most : value;
}

int64_t aws_retry_delay_ms(int retries, bool throttled, const struct headers *headers, uint32_t random)
{
    int64_t most = (int64_t)(throttled ? BASE_THROTTLED_MS : BASE_MS) << (retries < DOUBLINGS ? retries : DOUBLINGS);
    if (most > MOST_MS)
        most = MOST_MS;
    int64_t delay = (int64_t)((double)random / UINT32_MAX * (double)most);
    int64_t asked_ms = headers ? number(headers_find(headers, "x-amz-retry-after")) : -1;
    int64_t asked_s = headers ? number(headers_find(headers, "Retry-After")) : -1;
    if (asked_ms >= 0)
        return within(asked_ms, delay, delay + ASKED_MORE_MS);
    return asked_s >= 0 ? within(asked_s * 1000, delay, MOST_MS) : delay;
}

bool aws_retry_is_timeout(enum http_failure failure, const char *name)
{
    return failure == HTTP_CONNECT_TIMEOUT || failure == HTTP_FIRST_BYTE_TIMEOUT || failure == HTTP_STALLED ||
           strncmp(name, "RequestTimeout", strlen("RequestTimeout")) == 0;
}

/* --- where else --- */

/* The host of "https://host[:port]/...", or nothing. */
static struct bytes origin_of(const char *url)
{
    size_t scheme = strncasecmp(url, "https://", 8) == 0 ? 8 : strncasecmp(url, "http://", 7) == 0 ? 7 : 0;
    return (struct bytes){url, scheme ? scheme + strcspn(url + scheme, "/?#") : 0};
}

static bool take_region(struct bytes text, char found[AWS_REGION_SIZE])
{
    if (!aws_region_check(text, NULL) || text.length >= AWS_REGION_SIZE)
        return false;
    snprintf(found, AWS_REGION_SIZE, "%.*s", (int)text.length, text.data);
    return true;
}

/* "b.s3.eu-west-1.amazonaws.com", "s3-eu-west-1.amazonaws.com", "s3.dualstack.eu-west-1.amazonaws.com" -> "eu-west-1" */
static bool region_of_host(struct bytes origin, char region[AWS_REGION_SIZE])
{
    char host[AWS_ORIGIN_SIZE];
    snprintf(host, sizeof host, "%.*s", (int)origin.length, origin.data);
    char *end = strstr(host, ".amazonaws.");
    if (!end)
        return false;
    *end = 0;
    char *label = strrchr(host, '.');
    label = label ? label + 1 : strstr(host, "//") + 2;
    if (strncmp(label, "s3-", 3) == 0)
        label += 3;
    /* "s3" alone is no region, and every region has its number at the end */
    return strchr(label, '-') && isdigit((unsigned char)end[-1]) && take_region(bytes_of(label), region);
}

bool aws_region_elsewhere(const struct headers *headers, const struct aws_fault *fault, const char *region, char found[AWS_REGION_SIZE])
{
    const char *said = headers_find(headers, "x-amz-bucket-region"), *location = headers_find(headers, "Location");
    *found = 0;
    bool named = (said && take_region(bytes_of(said), found)) || (fault && *fault->region && take_region(bytes_of(fault->region), found)) ||
                 (location && region_of_host(origin_of(location), found));
    return named && strcmp(found, region) != 0;
}

static bool ends_with(struct bytes text, const char *end)
{
    size_t length = strlen(end);
    return text.length >= length && strncasecmp(text.data + text.length - length, end, length) == 0;
}

bool aws_location(const struct headers *headers, const struct aws_endpoint *now, bool aws_own, char origin[AWS_ORIGIN_SIZE])
{
    const char *location = headers_find(headers, "Location");
    struct aws_endpoint there;
    if (!location)
        return false;
    struct bytes text = origin_of(location);
    if (text.length == 0 || text.length >= AWS_ORIGIN_SIZE || !aws_endpoint_read(text, &there, NULL) || (now->tls && !there.tls))
        return false;
    if (aws_own && !ends_with(there.host, ".amazonaws.com") && !ends_with(there.host, ".amazonaws.com.cn"))
        return false;
    snprintf(origin, AWS_ORIGIN_SIZE, "%.*s", (int)text.length, text.data);
    return true;
}
