#include "appliance/s3_sums.h"
#include "appliance/s3_parts.h"

#include <stdlib.h>

static bool is_cyclic(enum aws_checksum_kind kind)
{
    return kind == AWS_CHECKSUM_CRC64NVME || kind == AWS_CHECKSUM_CRC32C || kind == AWS_CHECKSUM_CRC32;
}

bool s3_sums_start(struct s3_sums *sums, enum aws_checksum_kind kind, int64_t size, struct err *err)
{
    *sums = (struct s3_sums){.kind = kind, .size = size, .grain = S3_MIB};
    if (kind == AWS_CHECKSUM_NONE)
        return true;
    if (!is_cyclic(kind))
        return aws_checksum_start(&sums->running, kind, err);
    if (size / S3_MIB >= S3_SUMS_GRID)
        sums->grain = (size / S3_SUMS_GRID + S3_PART_USUAL - 1) / S3_PART_USUAL * S3_PART_USUAL;
    sums->count = (int)((size + sums->grain - 1) / sums->grain);
    sums->crc = calloc((size_t)sums->count + 1, sizeof *sums->crc);
    if (sums->crc)
        return true;
    sums->kind = AWS_CHECKSUM_NONE;
    return err_set(err, ERR_SYSTEM, "no memory for the checksums of %lld bytes", (long long)size);
}

static void end_running(struct s3_sums *sums)
{
    aws_checksum_end(&sums->running);
    aws_checksum_end(&sums->parts);
    sums->running = sums->parts = (struct aws_checksum){0};
}

/* A part is whole: its checksum is what the whole's is made of. */
static bool end_part(struct s3_sums *sums)
{
    unsigned char raw[AWS_CHECKSUM_RAW_SIZE];
    size_t length = aws_checksum_finish(&sums->running, raw);
    sums->running = (struct aws_checksum){0};
    return length > 0 && aws_checksum_add(&sums->parts, raw, length) && aws_checksum_start(&sums->running, sums->kind, NULL);
}

static void add_running(struct s3_sums *sums, int64_t offset, const char *data, size_t length)
{
    bool ok = sums->running.kind != AWS_CHECKSUM_NONE && offset == sums->next;
    while (ok && length > 0) {
        int64_t left = sums->part ? sums->part - sums->next % sums->part : INT64_MAX;
        size_t piece = (int64_t)length < left ? length : (size_t)left;
        ok = aws_checksum_add(&sums->running, data, piece);
        sums->next += (int64_t)piece;
        data += piece;
        length -= piece;
        if (ok && sums->part && (sums->next % sums->part == 0 || sums->next == sums->size))
            ok = end_part(sums);
    }
    if (!ok)
        end_running(sums);
}

void s3_sums_add(struct s3_sums *sums, int64_t offset, const char *data, size_t length)
{
    if (!sums->crc) {
        add_running(sums, offset, data, length);
        return;
    }
    while (length > 0 && offset < sums->size) {
        int64_t left = sums->grain - offset % sums->grain;
        size_t piece = (int64_t)length < left ? length : (size_t)left;
        struct aws_checksum sum = {.kind = sums->kind, .crc = sums->crc[offset / sums->grain]};
        aws_checksum_add(&sum, data, piece);
        sums->crc[offset / sums->grain] = sum.crc;
        offset += (int64_t)piece;
        data += piece;
        length -= piece;
    }
}

void s3_sums_forget(struct s3_sums *sums, int64_t offset, int64_t end)
{
    for (int64_t at = offset; sums->crc && at < end && at < sums->size; at += sums->grain)
        sums->crc[at / sums->grain] = 0;
}

static int64_t grain_length(const struct s3_sums *sums, int64_t at)
{
    return sums->size - at < sums->grain ? sums->size - at : sums->grain;
}

/* Of the bytes from `start` to `end`, which are borders of grains. */
static struct aws_checksum join(const struct s3_sums *sums, int64_t start, int64_t end)
{
    struct aws_checksum all = {.kind = sums->kind};
    for (int64_t at = start; at < end; at += sums->grain) {
        struct aws_checksum one = {.kind = sums->kind, .crc = sums->crc[at / sums->grain], .length = (uint64_t)grain_length(sums, at)};
        aws_checksum_join(&all, &one);
    }
    return all;
}

static size_t whole(struct s3_sums *sums, unsigned char raw[AWS_CHECKSUM_RAW_SIZE])
{
    if (sums->crc) {
        struct aws_checksum all = join(sums, 0, sums->size);
        return aws_checksum_finish(&all, raw);
    }
    if (sums->running.kind == AWS_CHECKSUM_NONE || sums->part || sums->next != sums->size)
        return 0;
    size_t length = aws_checksum_finish(&sums->running, raw);
    sums->running = (struct aws_checksum){0};
    return length;
}

/* How many parts S3 made it of; 0: none, or that does not fit its size and the length of a part (which one part has from its object). */
static long parts_of(const struct s3_sums *sums, struct bytes said, int64_t *part)
{
    const char *dash = memchr(said.data, '-', said.length);
    long parts = dash ? strtol(dash + 1, NULL, 10) : 0; /* what S3 says is a header's value, and ends with a zero */
    if (parts == 1)
        *part = sums->size ? sums->size : 1;
    if (parts < 1 || *part < 1 || (sums->size + *part - 1) / *part != (sums->size ? parts : 0))
        return 0;
    return parts;
}

bool s3_sums_again(struct s3_sums *sums, struct bytes said, int64_t part)
{
    if (sums->kind == AWS_CHECKSUM_NONE || sums->crc || said.length == 0)
        return false;
    bool of_parts = memchr(said.data, '-', said.length);
    long parts = of_parts ? parts_of(sums, said, &part) : 0;
    bool is_known = sums->running.kind != AWS_CHECKSUM_NONE && sums->next == sums->size && sums->part == 0;
    if ((of_parts && parts == 0) || (parts < 2 && is_known))
        return false;
    end_running(sums);
    sums->next = 0;
    sums->part = parts > 1 ? part : 0;
    if (aws_checksum_start(&sums->running, sums->kind, NULL) && (parts < 2 || aws_checksum_start(&sums->parts, sums->kind, NULL)))
        return true;
    end_running(sums);
    return false;
}

/* The checksum of the checksums of parts, of which there are more than one, or exactly one: of those of the grains. */
static size_t join_parts(struct s3_sums *sums, long parts, int64_t part, unsigned char raw[AWS_CHECKSUM_RAW_SIZE])
{
    struct aws_checksum all;
    if (!aws_checksum_start(&all, sums->kind, NULL))
        return 0;
    for (int64_t at = 0; at < sums->size || at == 0; at += part) {
        size_t length;
        if (parts == 1) {
            length = whole(sums, raw);
        } else {
            struct aws_checksum one = join(sums, at, sums->size - at < part ? sums->size : at + part);
            length = aws_checksum_finish(&one, raw);
        }
        if (length == 0 || !aws_checksum_add(&all, raw, length)) {
            aws_checksum_end(&all);
            return 0;
        }
    }
    return aws_checksum_finish(&all, raw);
}

/* The checksum of the checksums of parts, with their number behind it. */
static enum s3_sums_verdict check_parts(struct s3_sums *sums, struct bytes said, int64_t part)
{
    unsigned char raw[AWS_CHECKSUM_RAW_SIZE];
    char ours[AWS_CHECKSUM_TEXT_SIZE];
    size_t length = 0;
    long parts = parts_of(sums, said, &part);
    if (parts == 1 || (parts > 1 && sums->crc && part % sums->grain == 0)) {
        length = join_parts(sums, parts, part, raw);
    } else if (parts > 1 && sums->parts.kind != AWS_CHECKSUM_NONE && sums->part == part && sums->next == sums->size) {
        length = aws_checksum_finish(&sums->parts, raw);
        end_running(sums);
    }
    if (length == 0)
        return S3_SUMS_UNKNOWN;
    aws_checksum_text(raw, length, (unsigned)parts, ours);
    return bytes_equal(said, bytes_of(ours)) ? S3_SUMS_SAME : S3_SUMS_DIFFERENT;
}

enum s3_sums_verdict s3_sums_check(struct s3_sums *sums, struct bytes said, int64_t part)
{
    if (sums->kind == AWS_CHECKSUM_NONE || said.length == 0)
        return S3_SUMS_UNKNOWN;
    if (memchr(said.data, '-', said.length))
        return check_parts(sums, said, part);
    unsigned char raw[AWS_CHECKSUM_RAW_SIZE];
    size_t length = whole(sums, raw);
    if (length == 0)
        return S3_SUMS_UNKNOWN;
    return aws_checksum_compare(said, raw, length) == AWS_CHECKSUM_SAME ? S3_SUMS_SAME : S3_SUMS_DIFFERENT;
}

bool s3_sums_text(struct s3_sums *sums, char text[AWS_CHECKSUM_TEXT_SIZE])
{
    unsigned char raw[AWS_CHECKSUM_RAW_SIZE];
    size_t length = sums->kind == AWS_CHECKSUM_NONE ? 0 : whole(sums, raw);
    aws_checksum_text(raw, length, 0, text);
    return length > 0;
}

void s3_sums_end(struct s3_sums *sums)
{
    free(sums->crc);
    end_running(sums);
    *sums = (struct s3_sums){0};
}
