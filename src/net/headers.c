#include "appliance/headers.h"

#include <string.h>
#include <strings.h>

void headers_init(struct headers *h, size_t ceiling)
{
    h->count = 0;
    buf_init(&h->text, ceiling);
}

void headers_free(struct headers *h)
{
    h->count = 0;
    buf_free(&h->text);
}

static bool is_token(const char *name)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    if (!*name)
        return false;
    for (; *name; name++) {
        char c = *name;
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr(others, c)))
            return false;
    }
    return true;
}

static struct bytes trimmed(struct bytes value)
{
    while (value.length && (value.data[0] == ' ' || value.data[0] == '\t')) {
        value.data++;
        value.length--;
    }
    while (value.length && (value.data[value.length - 1] == ' ' || value.data[value.length - 1] == '\t'))
        value.length--;
    return value;
}

static bool is_one_line(struct bytes value)
{
    return !value.length ||
           !(memchr(value.data, '\r', value.length) || memchr(value.data, '\n', value.length) || memchr(value.data, 0, value.length));
}

bool headers_add(struct headers *h, const char *name, struct bytes value, struct err *err)
{
    if (!is_token(name))
        return err_set(err, ERR_INVALID, "header \"%.60s\": the name may only hold letters, digits and !#$%%&'*+-.^_`|~", name);
    if (!is_one_line(value))
        return err_set(err, ERR_INVALID, "header %.60s: the value holds a line break or a zero byte", name);
    value = trimmed(value);
    size_t length = strlen(name);
    if (!buf_reserve(&h->text, length + value.length + 2))
        return err_set(err, ERR_INVALID, "header %.60s: all headers together are longer than %zu bytes", name, h->text.ceiling);
    buf_append(&h->text, name, length + 1);
    buf_append(&h->text, value.data, value.length);
    buf_append(&h->text, "", 1);
    h->count++;
    return true;
}

bool headers_add_text(struct headers *h, const char *name, const char *value, struct err *err)
{
    return headers_add(h, name, bytes_of(value), err);
}

bool headers_next(const struct headers *h, size_t *at, const char **name, const char **value)
{
    if (*at >= h->text.length)
        return false;
    *name = h->text.data + *at;
    *value = *name + strlen(*name) + 1;
    *at = (size_t)(*value + strlen(*value) + 1 - h->text.data);
    return true;
}

const char *headers_find(const struct headers *h, const char *name)
{
    const char *found, *value;
    for (size_t at = 0; headers_next(h, &at, &found, &value);)
        if (strcasecmp(found, name) == 0)
            return value;
    return NULL;
}

void headers_remove(struct headers *h, const char *name)
{
    const char *found, *value;
    for (size_t at = 0, start = 0; headers_next(h, &at, &found, &value); start = at)
        if (strcasecmp(found, name) == 0) {
            memmove(h->text.data + start, h->text.data + at, h->text.length - at);
            h->text.length -= at - start;
            h->count--;
            at = start;
        }
}

bool headers_set(struct headers *h, const char *name, struct bytes value, struct err *err)
{
    headers_remove(h, name);
    return headers_add(h, name, value, err);
}
