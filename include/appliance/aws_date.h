/* aws_date.h - the ways AWS writes a point in time, both directions, as pure functions.
 * All times are milliseconds since 1970 (as of clock_wall_ms); what is written has whole seconds, rounded down, and is UTC.
 * Written years are 0000 to 9999: a time outside of them is written as the nearest one inside. Fuzzed by tests/fuzz/fuzz_aws_date.c. */
#ifndef APPLIANCE_AWS_DATE_H
#define APPLIANCE_AWS_DATE_H

#include "appliance/bytes.h"
#include "appliance/err.h"

#include <stdbool.h>
#include <stdint.h>

enum { AWS_DATE_BASIC_SIZE = 17, AWS_DATE_ISO_SIZE = 21, AWS_DATE_HTTP_SIZE = 30, AWS_DATE_DAY_LENGTH = 8 };

/* "20260101T000000Z": X-Amz-Date. Its first AWS_DATE_DAY_LENGTH letters are the day of a credential scope. */
void aws_date_basic(char out[AWS_DATE_BASIC_SIZE], int64_t wall_ms);
/* "2026-01-01T00:00:00Z": an Expiration. */
void aws_date_iso(char out[AWS_DATE_ISO_SIZE], int64_t wall_ms);
/* "Thu, 01 Jan 2026 00:00:00 GMT": If-Modified-Since. */
void aws_date_http(char out[AWS_DATE_HTTP_SIZE], int64_t wall_ms);

/* The other direction. False with ERR_PROTOCOL and a sentence that quotes the text, *wall_ms untouched. The whole text must be a date.
 * A second of 60 is taken as the first one of the next minute. */
bool aws_date_read_basic(struct bytes text, int64_t *wall_ms, struct err *);
/* RFC 3339, and what AWS's peers make of it: any number of digits in a fraction (cut to milliseconds), Z, +01:00 or +0100. */
bool aws_date_read_iso(struct bytes text, int64_t *wall_ms, struct err *);
/* A Date header (RFC 9110's IMF-fixdate). The weekday must be one, and need not fit. */
bool aws_date_read_http(struct bytes text, int64_t *wall_ms, struct err *);

#endif
