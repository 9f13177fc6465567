/* appliance.native.aws.checksum - what S3 wants of bytes that are in memory, in the form in which it goes into headers.
 *
 *   checksum.of("CRC64NVME" | "CRC32C" | "CRC32" | "SHA256" | "SHA1" | "MD5", text) -> base64 | nil, err
 *   checksum.base64(text) -> base64 */
#include "appliance/aws_checksum.h"
#include "appliance/bind.h"

#define BASE64 "appliance.aws.base64"

static int base64_close(lua_State *L)
{
    buf_free(luaL_checkudata(L, 1, BASE64));
    return 0;
}

static struct bytes check_bytes(lua_State *L, int index)
{
    struct bytes text;
    text.data = luaL_checklstring(L, index, &text.length);
    return text;
}

static int of(lua_State *L)
{
    enum aws_checksum_kind kind = aws_checksum_kind_of(check_bytes(L, 1));
    luaL_argcheck(L, kind != AWS_CHECKSUM_NONE, 1, "no checksum of that name");
    char text[AWS_CHECKSUM_TEXT_SIZE];
    struct err err;
    if (!aws_checksum_of(kind, check_bytes(L, 2), text, &err))
        return bind_fail(L, &err);
    lua_pushstring(L, text);
    return 1;
}

static int base64(lua_State *L)
{
    struct bytes raw = check_bytes(L, 1);
    struct buf *out = bind_op(L, sizeof *out, BASE64);
    buf_init(out, raw.length / 3 * 4 + 8);
    if (!aws_base64(out, raw))
        return luaL_error(L, "no memory");
    lua_pushlstring(L, out->length ? out->data : "", out->length);
    return 1;
}

int aws_open_checksum(lua_State *L);
int aws_open_checksum(lua_State *L)
{
    static const luaL_Reg functions[] = {{"of", of}, {"base64", base64}, {NULL, NULL}};
    bind_type(L, BASE64, base64_close, NULL);
    luaL_newlib(L, functions);
    return 1;
}
