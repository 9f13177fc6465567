/* s3_sums.h - the checksum of an object whose bytes come in any order: kept for each MiB of it, and joined in the end. So it can be held
 * against that of the whole object (FULL_OBJECT), and against one that was made of the parts of its upload (COMPOSITE), once somebody
 * knows how long these were. Pure but for memory: 512 KiB at most.
 * Only cyclic checksums can be joined. A SHA is taken when all bytes come in order; else, and of parts, they must be given a second time
 * (s3_sums_again) by whoever still has them. */
#ifndef APPLIANCE_S3_SUMS_H
#define APPLIANCE_S3_SUMS_H

#include "appliance/aws_checksum.h"

enum { S3_SUMS_GRID = 65536 };

struct s3_sums { /* zeroed: takes everything and knows nothing */
    enum aws_checksum_kind kind;
    int64_t size, grain; /* of the object; of what each checksum is for */
    uint64_t *crc;
    int count;
    /* In place of them, for a SHA: */
    struct aws_checksum running; /* of the whole, or of the part that is under way; its kind is NONE once bytes came out of order */
    struct aws_checksum parts;   /* of the checksums of the parts before that one */
    int64_t next, part;          /* which byte must come next; length of the parts, 0: of the whole */
};
/* True with kind NONE, too. False: no memory, or libcrypto does not have it. */
bool s3_sums_start(struct s3_sums *, enum aws_checksum_kind, int64_t size, struct err *);
/* The bytes of the object at `offset`. Each grain (s3_sums.grain, a multiple of a MiB from the object's beginning) must get its own in order. */
void s3_sums_add(struct s3_sums *, int64_t offset, const char *data, size_t length);
/* Forgets what was added for the bytes from `offset` to `end`, both of which are borders of grains or the end: they will come again. */
void s3_sums_forget(struct s3_sums *, int64_t offset, int64_t end);

/* All bytes have come, and what S3 says of them can be told only when they come once more, from the first to the last: so it is with a SHA
 * of bytes that came out of order, or of parts of the length `part`. True: they are to be added again. */
bool s3_sums_again(struct s3_sums *, struct bytes said, int64_t part);

enum s3_sums_verdict { S3_SUMS_UNKNOWN, S3_SUMS_SAME, S3_SUMS_DIFFERENT };
/* All bytes have come: what S3 says of them ("Nq/8..=", "Nq/8==-3"). part: length of the parts it was uploaded in, 0 when not known; parts that
 * do not end where grains do leave it unknown, and so does more than one of a SHA without s3_sums_again. */
enum s3_sums_verdict s3_sums_check(struct s3_sums *, struct bytes said, int64_t part);
/* The checksum of the whole as S3 writes it; false when it is not known. */
bool s3_sums_text(struct s3_sums *, char text[AWS_CHECKSUM_TEXT_SIZE]);
void s3_sums_end(struct s3_sums *); /* any number of times */

#endif
