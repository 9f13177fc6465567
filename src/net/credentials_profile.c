#include "credentials_profile_inner.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

/* --- letters --- */

bool profile_is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct bytes profile_trim(struct bytes text)
{
    while (text.length && profile_is_blank(text.data[0])) {
        text.data++;
        text.length--;
    }
    while (text.length && profile_is_blank(text.data[text.length - 1]))
        text.length--;
    return text;
}

struct bytes profile_without_comment(struct bytes line, bool anywhere)
{
    for (size_t i = 0; i < line.length; i++)
        if ((line.data[i] == '#' || line.data[i] == ';') && (anywhere || i == 0 || profile_is_blank(line.data[i - 1]))) {
            line.length = i;
            break;
        }
    return profile_trim(line);
}

bool profile_split(struct bytes line, struct bytes *name, struct bytes *value)
{
    const char *equals = line.length ? memchr(line.data, '=', line.length) : NULL;
    if (!equals)
        return false;
    size_t before = (size_t)(equals - line.data);
    *name = profile_trim((struct bytes){line.data, before});
    *value = profile_trim((struct bytes){equals + 1, line.length - before - 1});
    return true;
}

/* --- the set --- */

void profile_free(struct profile_set *set)
{
    for (size_t i = 0; i < set->count; i++)
        free(set->profiles[i].properties);
    free(set->profiles);
    for (int i = 0; i < PROFILE_FILES; i++) {
        if (set->texts[i].block)
            explicit_bzero(set->texts[i].block, set->texts[i].size);
        free(set->texts[i].block);
        free(set->texts[i].path);
    }
    *set = (struct profile_set){0};
}

const struct profile *profile_find(const struct profile_set *set, enum profile_kind kind, const char *name)
{
    for (size_t i = 0; i < set->count; i++)
        if (set->profiles[i].kind == kind && strcmp(set->profiles[i].name, name) == 0)
            return &set->profiles[i];
    return NULL;
}

const struct profile_property *profile_property(const struct profile *profile, const char *name)
{
    for (size_t i = 0; profile && i < profile->count; i++)
        if (strcmp(profile->properties[i].name, name) == 0)
            return &profile->properties[i];
    return NULL;
}

const char *profile_value(const struct profile *profile, const char *name)
{
    const struct profile_property *property = profile_property(profile, name);
    return property && profile_trim(bytes_of(property->value)).length ? property->value : NULL;
}

const char *profile_place(const struct profile_set *set, const struct profile_property *property, char *out, size_t size)
{
    snprintf(out, size, "%s:%d", set->texts[property->file].path, property->line);
    return out;
}

bool profile_nested(const struct profile_property *property, const char *name, struct bytes *value)
{
    bool found = false;
    struct bytes rest = property ? bytes_of(property->value) : (struct bytes){"", 0};
    while (rest.length) {
        const char *end = memchr(rest.data, '\n', rest.length);
        size_t length = end ? (size_t)(end - rest.data) : rest.length;
        struct bytes have, is;
        if (profile_split(profile_without_comment((struct bytes){rest.data, length}, false), &have, &is) && have.length == strlen(name) &&
            strncasecmp(have.data, name, have.length) == 0) {
            *value = is;
            found = is.length > 0;
        }
        length += end != NULL;
        rest = (struct bytes){rest.data + length, rest.length - length};
    }
    return found;
}
