/* appliance.native.aws - all that talks to AWS, as one shared object: its parts share libcurl, libcrypto and the open connections. Loaded by
 * the first require, so that a node which needs none of it does not pay for them. Each part is a field, made by an `aws_open_PART` of
 * aws_PART.c; lua/appliance has a module for each that others are to require. */

#include <lauxlib.h>
#include <lua.h>

int aws_open_checksum(lua_State *L);
int aws_open_digest(lua_State *L);
int aws_open_http(lua_State *L);
int aws_open_credentials(lua_State *L);
int aws_open_imds(lua_State *L);
int aws_open_request(lua_State *L);
int aws_open_transfer(lua_State *L);

int luaopen_appliance_native_aws(lua_State *L);
int luaopen_appliance_native_aws(lua_State *L)
{
    static const struct {
        const char *name;
        int (*open)(lua_State *);
    } parts[] = {
        {"checksum", aws_open_checksum}, {"digest", aws_open_digest},
        {"http", aws_open_http},         {"credentials", aws_open_credentials},
        {"imds", aws_open_imds},         {"request", aws_open_request},
        {"transfer", aws_open_transfer}, {NULL, NULL},
    };
    lua_newtable(L);
    for (int i = 0; parts[i].name; i++) {
        parts[i].open(L);
        lua_setfield(L, -2, parts[i].name);
    }
    return 1;
}
