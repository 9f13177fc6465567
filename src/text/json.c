#include "appliance/json.h"

#include <cjson/cJSON.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>

/* libcjson frees what it read before a fault by itself, so the wiping must be in the free that it calls. The hooks are those of the
 * whole library, of which this file is the only user. */
static void wipe_and_free(void *memory)
{
    if (!memory)
        return;
    explicit_bzero(memory, malloc_usable_size(memory));
    free(memory);
}

static void install(void)
{
    cJSON_Hooks hooks = {.malloc_fn = malloc, .free_fn = wipe_and_free};
    cJSON_InitHooks(&hooks);
}

static int line_of(struct bytes input, size_t offset)
{
    int line = 1;
    for (size_t i = 0; i < offset && i < input.length; i++)
        line += input.data[i] == '\n';
    return line;
}

/* What libcjson takes and we don't: a zero byte, spelled out or escaped, cuts its texts; its own limit of nesting is 1000. */
static bool look_over(struct bytes input, int deepest, struct err *err)
{
    int depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < input.length; i++) {
        char c = input.data[i];
        if (c == 0)
            return err_set(err, ERR_INVALID, "line %d: a zero byte", line_of(input, i));
        if (c == '"')
            quoted = !quoted;
        else if (quoted && c == '\\') {
            if (input.length - i > 5 && memcmp(input.data + i + 1, "u0000", 5) == 0)
                return err_set(err, ERR_INVALID, "line %d: \\u0000 in a text", line_of(input, i));
            i++;
            if (i < input.length && input.data[i] == 0)
                return err_set(err, ERR_INVALID, "line %d: a zero byte", line_of(input, i));
        } else if (!quoted && (c == '{' || c == '[')) {
            if (++depth > deepest)
                return err_set(err, ERR_INVALID, "line %d: nested deeper than %d", line_of(input, i), deepest);
        } else if (!quoted && (c == '}' || c == ']'))
            depth--;
    }
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

bool json_read(struct json_document *document, struct bytes input, const struct json_limits *limits, struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install);

    struct json_limits bounds = limits ? *limits : JSON_LIMITS_DEFAULT;
    document->root = NULL;
    if (input.length > bounds.bytes)
        return err_set(err, ERR_INVALID, "%zu bytes, more than the %zu it may have", input.length, bounds.bytes);
    while (input.length && is_blank(input.data[input.length - 1]))
        input.length--;
    if (input.length == 0)
        return err_set(err, ERR_INVALID, "empty, where JSON was expected");
    if (!look_over(input, bounds.depth, err))
        return false;

    const char *end = NULL;
    cJSON *root = cJSON_ParseWithLengthOpts(input.data, input.length, &end, false);
    size_t used = end ? (size_t)(end - input.data) : 0;
    if (!root)
        return err_set(err, ERR_INVALID, "line %d: not JSON", line_of(input, used));
    if (used != input.length) {
        cJSON_Delete(root);
        return err_set(err, ERR_INVALID, "line %d: something stands behind the JSON", line_of(input, used));
    }
    document->root = (struct json_value *)root;
    return true;
}

void json_free(struct json_document *document)
{
    cJSON_Delete((cJSON *)document->root);
    document->root = NULL;
}

const struct json_value *json_get(const struct json_value *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive((const cJSON *)object, name);
    if (!item)
        item = cJSON_GetObjectItem((const cJSON *)object, name);
    return (const struct json_value *)item;
}

bool json_is_object(const struct json_value *value)
{
    return cJSON_IsObject((const cJSON *)value);
}

bool json_is_null(const struct json_value *value)
{
    return cJSON_IsNull((const cJSON *)value);
}

bool json_text(const struct json_value *value, struct bytes *out)
{
    const char *text = cJSON_GetStringValue((const cJSON *)value);
    if (!text)
        return false;
    *out = bytes_of(text);
    return true;
}

bool json_number(const struct json_value *value, double *out)
{
    if (!cJSON_IsNumber((const cJSON *)value))
        return false;
    *out = ((const cJSON *)value)->valuedouble;
    return true;
}
