#include "aws_given.h"

#include "appliance/bind.h"
#include "aws_push.h"

#include <string.h>

enum { HEADERS_CEILING = 64 * 1024, CEILING_LIMIT = 1 << 30 };

void aws_given_init(struct aws_given *s)
{
    headers_init(&s->headers, HEADERS_CEILING);
}

void aws_given_free(struct aws_given *s)
{
    credentials_free(&s->keys);
    headers_free(&s->headers);
}

/* The string on top is kept for as long as the request: the caller's tables may change while we wait. Pops it. */
struct bytes aws_pin(lua_State *L)
{
    struct bytes text;
    text.data = lua_tolstring(L, -1, &text.length);
    lua_rawseti(L, AWS_GIVEN_PINS, (lua_Integer)lua_rawlen(L, AWS_GIVEN_PINS) + 1);
    return text;
}

struct bytes aws_bytes_field(lua_State *L, int index, const char *name)
{
    if (!bind_field_string(L, index, name, NULL))
        return (struct bytes){"", 0};
    lua_getfield(L, index, name);
    return aws_pin(L);
}

const char *aws_text_field(lua_State *L, int index, const char *name, const char *otherwise)
{
    struct bytes text = aws_bytes_field(L, index, name);
    if (text.length == 0)
        return otherwise;
    if (strlen(text.data) != text.length)
        luaL_error(L, "%s: it has a zero byte", name);
    return text.data;
}

static void read_keys(lua_State *L, struct aws_given *s)
{
    struct err err;
    int kind = lua_getfield(L, AWS_GIVEN_SPEC, "keys");
    if (kind != LUA_TNIL) {
        luaL_argexpected(L, kind == LUA_TTABLE, AWS_GIVEN_SPEC, "table with a table of keys");
        int at = lua_gettop(L);
        struct bytes id = aws_bytes_field(L, at, "access_key_id"), secret = aws_bytes_field(L, at, "secret_access_key");
        struct bytes token = aws_bytes_field(L, at, "session_token");
        if (!credentials_set(&s->keys, id, secret, token, (struct bytes){"", 0}, CREDENTIALS_NEVER, &err))
            luaL_error(L, "keys: %s", err.text);
        s->spec.keys = &s->keys;
    }
    lua_pop(L, 1);
}

static void read_checksum(lua_State *L, struct aws_spec *spec)
{
    int kind = lua_getfield(L, AWS_GIVEN_SPEC, "checksum");
    if (kind == LUA_TBOOLEAN && !lua_toboolean(L, -1)) {
        spec->flags |= AWS_CHECKSUM_OFF;
    } else if (kind == LUA_TSTRING) {
        spec->checksum = aws_checksum_kind_of(bytes_of(lua_tostring(L, -1)));
        if (spec->checksum == AWS_CHECKSUM_NONE)
            luaL_error(L, "checksum: \"%s\" is none: CRC64NVME, CRC32C, CRC32, SHA256, SHA1 or MD5", lua_tostring(L, -1));
    } else if (kind != LUA_TNIL && kind != LUA_TBOOLEAN) {
        luaL_error(L, "checksum: false or a name expected, got %s", lua_typename(L, kind));
    }
    lua_pop(L, 1);
}

static unsigned read_flags(lua_State *L)
{
    static const struct {
        const char *field;
        unsigned flag;
    } flags[] = {
        {"anonymous", AWS_ANONYMOUS},
        {"may_fail_in_200", AWS_MAY_FAIL_IN_200},
        {"checksum_needed", AWS_CHECKSUM_NEEDED},
        {"dualstack", AWS_DUALSTACK},
        {"fips", AWS_FIPS},
        {"request_payer", AWS_REQUEST_PAYER},
        {"expect_continue", AWS_EXPECT_CONTINUE},
        {"no_retry", AWS_NO_RETRY},
        {"no_proxy", AWS_NO_PROXY},
    };
    unsigned all = 0;
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (bind_field_boolean(L, AWS_GIVEN_SPEC, flags[i].field, false))
            all |= flags[i].flag;
    return all;
}

static void read_limits(lua_State *L, struct aws_spec *spec)
{
    spec->deadline_ms = bind_field_ms(L, AWS_GIVEN_SPEC, "timeout", 0);
    spec->connect_ms = bind_field_ms(L, AWS_GIVEN_SPEC, "connect_timeout", 0);
    spec->first_byte_ms = bind_field_ms(L, AWS_GIVEN_SPEC, "first_byte_timeout", 0);
    spec->stall_ms = bind_field_ms(L, AWS_GIVEN_SPEC, "stall_timeout", 0);
    spec->presign_s = bind_field_ms(L, AWS_GIVEN_SPEC, "presign", 0) / 1000;
    double ceiling = bind_field_number(L, AWS_GIVEN_SPEC, "ceiling", 1 << 20);
    if (!(ceiling >= 0 && ceiling <= CEILING_LIMIT))
        luaL_error(L, "ceiling: 0 to 1 GiB");
    spec->ceiling = ceiling < 1 ? 1 : (size_t)ceiling;
}

static void read_endpoint(lua_State *L, struct aws_given *s)
{
    struct err err;
    struct bytes url = aws_bytes_field(L, AWS_GIVEN_SPEC, "endpoint");
    if (url.length == 0)
        return;
    if (!aws_endpoint_read(url, &s->endpoint, &err))
        luaL_error(L, "endpoint: %s", err.text);
    s->spec.endpoint = &s->endpoint;
}

static void read_style(lua_State *L, struct aws_spec *spec)
{
    if (lua_getfield(L, AWS_GIVEN_SPEC, "path_style") != LUA_TNIL)
        spec->style = bind_field_boolean(L, AWS_GIVEN_SPEC, "path_style", false) ? S3_STYLE_PATH : S3_STYLE_VIRTUAL;
    lua_pop(L, 1);
}

void aws_given_read(lua_State *L, struct aws_given *s)
{
    struct aws_spec *spec = &s->spec;
    spec->service = aws_text_field(L, AWS_GIVEN_SPEC, "service", "s3");
    spec->method = aws_text_field(L, AWS_GIVEN_SPEC, "method", "GET");
    spec->region = aws_text_field(L, AWS_GIVEN_SPEC, "region", NULL);
    spec->role = aws_text_field(L, AWS_GIVEN_SPEC, "role", NULL);
    spec->ca_file = aws_text_field(L, AWS_GIVEN_SPEC, "ca_file", NULL);
    spec->subject = aws_text_field(L, AWS_GIVEN_SPEC, "subject", NULL);
    spec->bucket = aws_bytes_field(L, AWS_GIVEN_SPEC, "bucket");
    spec->key = aws_bytes_field(L, AWS_GIVEN_SPEC, "key");
    spec->path = aws_bytes_field(L, AWS_GIVEN_SPEC, "path");
    spec->flags = read_flags(L);
    read_style(L, spec);
    read_endpoint(L, s);
    read_limits(L, spec);
    read_checksum(L, spec);
    read_keys(L, s);
    spec->headers = &s->headers;
    aws_check_headers(L, AWS_GIVEN_SPEC, &s->headers);
}
