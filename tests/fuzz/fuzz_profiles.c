/* The files ~/.aws/config and credentials: no input may crash, a refusal names a line, and what is read can be resolved and asked for.
 * A 0x01 byte ends the first file and begins the second one. */
#include "appliance/credentials_chain.h"

#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void must(bool holds)
{
    if (!holds)
        abort();
}

static void check_set(const struct profile_set *set)
{
    char place[64];
    for (size_t i = 0; i < set->count; i++) {
        const struct profile *profile = &set->profiles[i];
        must(profile_find(set, profile->kind, profile->name) == profile && profile->name[0]);
        for (size_t j = 0; j < profile->count; j++) {
            const struct profile_property *property = &profile->properties[j];
            must(profile_property(profile, property->name) == property && property->line >= 1);
            for (const char *c = property->name; *c; c++)
                must(!isupper((unsigned char)*c) && (unsigned char)*c > ' ');
            must(profile_place(set, property, place, sizeof place)[0]);
            struct bytes value;
            if (profile_nested(property, "s3", &value))
                must(value.length > 0 && value.data >= property->value &&
                     value.data + value.length <= property->value + strlen(property->value));
        }
    }
}

static void check_recipe(const struct profile_set *set, const char *name)
{
    struct credentials_recipe recipe;
    struct credentials keys;
    struct err err = {0};
    enum credentials_answer answer = credentials_recipe(set, name, true, &recipe, &err);
    must((answer == CREDENTIALS_BROKEN) == (err.kind != ERR_NONE));
    if (answer != CREDENTIALS_READY)
        return;
    must(recipe.base != RECIPE_NOTHING && recipe.role_count <= RECIPE_ROLE_LIMIT);
    for (int i = 0; i < recipe.role_count; i++)
        must(recipe.roles[i].role_arn && (recipe.roles[i].duration_s == 0 || recipe.roles[i].duration_s >= RECIPE_DURATION_MIN));
    if (recipe.base == RECIPE_KEYS) {
        must(credentials_recipe_keys(&recipe, &keys, &err));
        must(!strpbrk(keys.access_key_id, "\r\n ") && !strpbrk(keys.secret_access_key, "\r\n "));
        credentials_free(&keys);
    }
    recipe_cap_durations(&recipe);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t length)
{
    char *data = malloc(length ? length : 1); /* exactly as long, so that the sanitizer sees a step too far */
    memcpy(data, input, length);
    const char *mark = length ? memchr(data, 1, length) : NULL;
    size_t first = mark ? (size_t)(mark - data) : length;
    struct profile_set set = {0};
    struct err err = {0};
    bool ok = profile_read(&set, PROFILE_CONFIG, "config", (struct bytes){data, first}, &err) &&
              (!mark || profile_read(&set, PROFILE_CREDENTIALS, "credentials", (struct bytes){mark + 1, length - first - 1}, &err));
    if (ok) {
        check_set(&set);
        for (size_t i = 0; i < set.count && i < 20; i++)
            check_recipe(&set, set.profiles[i].name);
        check_recipe(&set, "default");
        char *environment[] = {"HOME=/", NULL};
        struct credentials_given given = {.environment = environment, .profiles = &set};
        struct credentials_chain chain;
        must(credentials_chain(&given, &chain, &err) != CREDENTIALS_UNSET && chain.chosen >= 0);
    } else {
        must(err.kind == ERR_INVALID && err.text[0]);
        for (size_t i = 0; i < set.note_count; i++)
            must(set.notes[i].line >= 1 && set.notes[i].text[0]);
    }
    profile_free(&set);
    free(data);
    return 0;
}
