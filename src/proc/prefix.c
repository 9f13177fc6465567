#include "prefix.h"
#include "appliance/clock.h"

#include <stdio.h>
#include <string.h>

enum { LONGEST_JSON_NAME = 32 }; /* in JSON up to six times that */

const char *const prefix_marks[] = {[LOG_DEBUG] = "debug: ", [LOG_INFO] = "", [LOG_WARN] = "warning: ", [LOG_ERROR] = "error: "};

static const char *time_text(void)
{
    static char text[CLOCK_TEXT_SIZE];
    static int64_t text_ms;
    int64_t now = clock_wall_ms();
    if (now != text_ms) {
        text_ms = now;
        clock_text(text, now);
    }
    return text;
}

/* `level` NULL: none is told. */
static void make_json(struct prefix *p, const char *service, const char *level)
{
    char name[LONGEST_JSON_NAME * JSON_GROWTH + 1];
    size_t size = strlen(service);
    name[json_escape(name, service, size < LONGEST_JSON_NAME ? size : LONGEST_JSON_NAME)] = '\0';
    p->length = (size_t)snprintf(p->text, sizeof p->text, "{\"time\":\"%s\",\"service\":\"%s\",%s%s%s\"line\":\"", time_text(), name,
                                 level ? "\"level\":\"" : "", level ? level : "", level ? "\"," : "");
}

static void make_text(struct prefix *p, const char *service, const char *mark)
{
    p->length = (size_t)snprintf(p->text, sizeof p->text, "%s %.200s | %s", time_text(), service, mark);
}

void prefix_of_service(struct prefix *p, enum console_format format, const char *service)
{
    p->format = format;
    if (format == CONSOLE_JSON)
        make_json(p, service, NULL);
    else
        make_text(p, service, "");
}

void prefix_of_ours(struct prefix *p, enum console_format format, enum log_level level)
{
    p->format = format;
    if (format == CONSOLE_JSON)
        make_json(p, "appliance", log_level_name(level));
    else
        make_text(p, "appliance", prefix_marks[level]);
}

size_t prefix_room(const struct prefix *p, size_t length)
{
    static const size_t ending = sizeof "\"}\n";
    return p->length + (p->format == CONSOLE_JSON ? length * JSON_GROWTH : length) + ending;
}

size_t prefix_line(const struct prefix *p, char *out, const char *line, size_t length)
{
    char *start = out;
    if (length > 0 && line[length - 1] == '\r')
        length--;
    memcpy(out, p->text, p->length);
    out += p->length;
    if (p->format == CONSOLE_JSON) {
        out += json_escape(out, line, length);
        *out++ = '"';
        *out++ = '}';
    } else {
        memcpy(out, line, length);
        out += length;
    }
    *out++ = '\n';
    return (size_t)(out - start);
}
