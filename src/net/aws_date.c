#include "appliance/aws_date.h"

#include <stdio.h>

static const char MONTHS[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char WEEKDAYS[] = "ThuFriSatSunMonTueWed"; /* 1970 began with a Thursday */

#define DAY_S   INT64_C(86400)
#define FIRST_S INT64_C(-62167219200) /* 0000-01-01T00:00:00Z */
#define LAST_S  INT64_C(253402300799) /* 9999-12-31T23:59:59Z */

struct civil {
    int year, month, day, hour, minute, second; /* month and day from 1 */
};

/* --- the calendar: Howard Hinnant's days_from_civil and back, for years that are not negative --- */

static int64_t days_of(int year, int month, int day)
{
    int64_t y = year - (month <= 2); /* years begin with March, so that the day of a leap year is their last */
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static struct civil civil_of(int64_t wall_ms)
{
    int64_t seconds = wall_ms / 1000 - (wall_ms % 1000 < 0);
    seconds = seconds < FIRST_S ? FIRST_S : seconds > LAST_S ? LAST_S : seconds;
    int64_t days = seconds / DAY_S - (seconds % DAY_S < 0);
    int64_t rest = seconds - days * DAY_S;

    int64_t z = days + 719468, era = z / 146097; /* not negative from the year 0 on, but for its January and February */
    if (z < 0)
        era = -1;
    int64_t day_of_era = z - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * day_of_year + 2) / 153;
    return (struct civil){
        .year = (int)(year_of_era + era * 400 + (month >= 10)),
        .month = (int)(month < 10 ? month + 3 : month - 9),
        .day = (int)(day_of_year - (153 * month + 2) / 5 + 1),
        .hour = (int)(rest / 3600),
        .minute = (int)(rest / 60 % 60),
        .second = (int)(rest % 60),
    };
}

static int days_in(int year, int month)
{
    static const char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

static bool is_valid(const struct civil *c)
{
    return c->month >= 1 && c->month <= 12 && c->day >= 1 && c->day <= days_in(c->year, c->month) && c->hour <= 23 && c->minute <= 59 &&
           c->second <= 60;
}

static int64_t seconds_of(const struct civil *c)
{
    return days_of(c->year, c->month, c->day) * DAY_S + c->hour * 3600 + c->minute * 60 + c->second;
}

/* --- writing --- */

void aws_date_basic(char out[AWS_DATE_BASIC_SIZE], int64_t wall_ms)
{
    struct civil c = civil_of(wall_ms);
    snprintf(out, AWS_DATE_BASIC_SIZE, "%04d%02d%02dT%02d%02d%02dZ", c.year, c.month, c.day, c.hour, c.minute, c.second);
}

void aws_date_iso(char out[AWS_DATE_ISO_SIZE], int64_t wall_ms)
{
    struct civil c = civil_of(wall_ms);
    snprintf(out, AWS_DATE_ISO_SIZE, "%04d-%02d-%02dT%02d:%02d:%02dZ", c.year, c.month, c.day, c.hour, c.minute, c.second);
}

void aws_date_http(char out[AWS_DATE_HTTP_SIZE], int64_t wall_ms)
{
    struct civil c = civil_of(wall_ms);
    int64_t weekday = days_of(c.year, c.month, c.day) % 7;
    weekday += weekday < 0 ? 7 : 0;
    snprintf(out, AWS_DATE_HTTP_SIZE, "%.3s, %02d %.3s %04d %02d:%02d:%02d GMT", WEEKDAYS + 3 * weekday, c.day, MONTHS + 3 * (c.month - 1),
             c.year, c.hour, c.minute, c.second);
}

/* --- reading: each of these takes its part off the front of *text, or returns false --- */

static bool take(struct bytes *text, const char *one_of)
{
    if (text->length == 0 || text->data[0] == 0 || !strchr(one_of, text->data[0]))
        return false;
    text->data++;
    text->length--;
    return true;
}

static bool take_number(struct bytes *text, int digits, int *value)
{
    if (text->length < (size_t)digits)
        return false;
    *value = 0;
    for (int i = 0; i < digits; i++) {
        if (text->data[i] < '0' || text->data[i] > '9')
            return false;
        *value = *value * 10 + (text->data[i] - '0');
    }
    text->data += digits;
    text->length -= (size_t)digits;
    return true;
}

/* One of the three-letter words of a list; *index is which. */
static bool take_word(struct bytes *text, const char *words, int *index)
{
    for (*index = 0; words[*index * 3] && text->length >= 3; ++*index)
        if (memcmp(text->data, words + *index * 3, 3) == 0) {
            text->data += 3;
            text->length -= 3;
            return true;
        }
    return false;
}

/* ".123456": any digits, of which three count. */
static bool take_fraction(struct bytes *text, int *ms)
{
    *ms = 0;
    if (!take(text, ".,"))
        return true;
    int digits = 0;
    for (int digit; take_number(text, 1, &digit); digits += digits < 3)
        if (digits < 3)
            *ms = *ms * 10 + digit;
    for (int missing = digits; missing < 3; missing++)
        *ms *= 10;
    return digits > 0;
}

/* "Z", "+01:00", "-0130": *minutes east of Greenwich. */
static bool take_offset(struct bytes *text, int *minutes)
{
    *minutes = 0;
    if (take(text, "Zz"))
        return true;
    int sign = text->length && text->data[0] == '-' ? -1 : 1;
    int hours, rest;
    if (!take(text, "+-") || !take_number(text, 2, &hours))
        return false;
    take(text, ":");
    if (!take_number(text, 2, &rest) || hours > 23 || rest > 59)
        return false;
    *minutes = sign * (hours * 60 + rest);
    return true;
}

static bool refuse(struct bytes text, const char *form, struct err *err)
{
    char shown[49];
    return err_set(err, ERR_PROTOCOL, "'%s' is not a date: it must look like %s", bytes_shown(text, shown, sizeof shown), form);
}

bool aws_date_read_basic(struct bytes text, int64_t *wall_ms, struct err *err)
{
    struct bytes rest = text;
    struct civil c = {0};
    bool whole = take_number(&rest, 4, &c.year) && take_number(&rest, 2, &c.month) && take_number(&rest, 2, &c.day) && take(&rest, "T") &&
                 take_number(&rest, 2, &c.hour) && take_number(&rest, 2, &c.minute) && take_number(&rest, 2, &c.second) &&
                 take(&rest, "Z") && rest.length == 0;
    if (!whole || !is_valid(&c))
        return refuse(text, "20260101T000000Z", err);
    *wall_ms = seconds_of(&c) * 1000;
    return true;
}

bool aws_date_read_iso(struct bytes text, int64_t *wall_ms, struct err *err)
{
    struct bytes rest = text;
    struct civil c = {0};
    int ms = 0, offset = 0;
    bool whole = take_number(&rest, 4, &c.year) && take(&rest, "-") && take_number(&rest, 2, &c.month) && take(&rest, "-") &&
                 take_number(&rest, 2, &c.day) && take(&rest, "Tt ") && take_number(&rest, 2, &c.hour) && take(&rest, ":") &&
                 take_number(&rest, 2, &c.minute) && take(&rest, ":") && take_number(&rest, 2, &c.second) && take_fraction(&rest, &ms) &&
                 take_offset(&rest, &offset) && rest.length == 0;
    if (!whole || !is_valid(&c))
        return refuse(text, "2026-01-01T00:00:00Z", err);
    *wall_ms = (seconds_of(&c) - offset * INT64_C(60)) * 1000 + ms;
    return true;
}

bool aws_date_read_http(struct bytes text, int64_t *wall_ms, struct err *err)
{
    struct bytes rest = text;
    struct civil c = {0};
    int weekday, zone;
    bool whole = take_word(&rest, WEEKDAYS, &weekday) && take(&rest, ",") && take(&rest, " ") && take_number(&rest, 2, &c.day) &&
                 take(&rest, " ") && take_word(&rest, MONTHS, &c.month) && take(&rest, " ") && take_number(&rest, 4, &c.year) &&
                 take(&rest, " ") && take_number(&rest, 2, &c.hour) && take(&rest, ":") && take_number(&rest, 2, &c.minute) &&
                 take(&rest, ":") && take_number(&rest, 2, &c.second) && take(&rest, " ") && take_word(&rest, "GMTUTC", &zone) &&
                 rest.length == 0;
    c.month++;
    if (!whole || !is_valid(&c))
        return refuse(text, "Thu, 01 Jan 2026 00:00:00 GMT", err);
    *wall_ms = seconds_of(&c) * 1000;
    return true;
}
