#include "appliance/s3_parts.h"

#include <stddef.h>

static int64_t round_up(int64_t n, int64_t to)
{
    return (n + to - 1) / to * to;
}

static int64_t within(int64_t n, int64_t least, int64_t most)
{
    return n < least ? least : n > most ? most : n;
}

/* --- up --- */

bool s3_plan_put(int64_t size, int64_t part, struct s3_put_plan *plan, struct err *err)
{
    if (size > S3_OBJECT_MOST)
        return err_set(err, ERR_INVALID, "%.1f TiB are more than an object can have in S3, which is 48.8 TiB",
                       (double)size / (1 << 20) / S3_MIB);
    if (part && (part < S3_PART_LEAST || part > S3_PART_MOST))
        return err_set(err, ERR_INVALID, "parts of %.1f MiB: S3 takes parts of 5 MiB to 5 GiB", (double)part / S3_MIB);
    int64_t least = round_up((size + S3_PARTS_MOST - 1) / S3_PARTS_MOST, S3_MIB);
    if (part && part < least && (size + part - 1) / part > S3_PARTS_MOST)
        return err_set(err, ERR_INVALID, "parts of %.1f MiB: an upload has %d parts at most, so this one needs parts of %lld MiB or more",
                       (double)part / S3_MIB, S3_PARTS_MOST, (long long)(least / S3_MIB));
    if (!part && size <= S3_ONE_PIECE)
        part = S3_ONE_PIECE;
    if (!part) { /* so that all connections end their last part at the same time */
        int64_t rounds = (size + S3_CONNECTIONS * S3_ONE_PIECE - 1) / (S3_CONNECTIONS * S3_ONE_PIECE);
        part = within(round_up(size / (S3_CONNECTIONS * rounds), S3_MIB), S3_PART_LEAST, S3_ONE_PIECE);
        part = part < least ? least : part;
    }
    int64_t parts = size ? (size + part - 1) / part : 1;
    *plan = (struct s3_put_plan){.part = part, .parts = (int)parts, .connections = (int)within(parts, 1, S3_CONNECTIONS)};
    return true;
}

int64_t s3_pipe_part(int number, int64_t expected)
{
    static const struct {
        int last, share;
    } steps[] = {{1000, 8}, {2500, 5}, {4500, 3}, {7000, 2}, {S3_PARTS_MOST, 1}};
    size_t i = 0;
    if (expected > 0) { /* the smallest that is enough for all; a little more, for what is expected is seldom exact */
        expected += expected / 16;
        while (i + 1 < sizeof steps / sizeof *steps && S3_MEMORY / steps[i].share < expected / S3_PARTS_MOST + 1)
            i++;
    } else {
        while (i + 1 < sizeof steps / sizeof *steps && number > steps[i].last)
            i++;
    }
    return S3_MEMORY / steps[i].share;
}

/* --- down --- */

void s3_spans_start(struct s3_spans *spans, int64_t start, int64_t end, int64_t part, int connections)
{
    enum { GRID = 65536 }; /* so many parts at most, as something is kept for each of them */
    int64_t length = end - start;
    if (!part)
        part = within(round_up(length / S3_CONNECTIONS, S3_MIB), 2 * S3_MIB, S3_PART_USUAL);
    if (length / part >= GRID)
        part = round_up(length / GRID, S3_PART_USUAL);
    /* A quarter more than its equal share, as it has no pause between parts. */
    int64_t lead = length / connections * 5 / 4 / part * part;
    if (length <= S3_LONE_GET || connections <= 1)
        lead = length;
    else if (lead < part)
        lead = part;
    *spans = (struct s3_spans){.end = end, .part = part, .lead_end = start + (lead < length ? lead : length)};
    spans->next = spans->lead_end;
}

bool s3_spans_take(struct s3_spans *spans, int64_t lead_at, struct s3_span *span)
{
    if (spans->next < spans->end) {
        int64_t end = spans->end - spans->next > spans->part ? spans->next + spans->part : spans->end;
        *span = (struct s3_span){spans->next, end};
        spans->next = end;
        return true;
    }
    bool alone = spans->lead_end == spans->end;
    if (alone || spans->lead_end - lead_at <= 2 * spans->part) /* it is done sooner than a request is answered */
        return false;
    spans->lead_end -= spans->part;
    *span = (struct s3_span){spans->lead_end, spans->lead_end + spans->part};
    return true;
}
