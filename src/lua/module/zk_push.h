/* zk_push.h - what the parts of appliance.native.zk share. */
#ifndef APPLIANCE_ZK_PUSH_H
#define APPLIANCE_ZK_PUSH_H

#include "appliance/bind.h"
#include "appliance/zk_client.h"

#define ZK_CLIENT "appliance.zk.client"
#define ZK_WATCH  "appliance.zk.watch"

struct zk_held {              /* the userdata of a client */
    struct zk_client *client; /* NULL once collected */
};

struct zk_looking { /* the userdata of a watch; user value 1: the client's */
    struct zk_watch watch;
    struct look *look; /* who waits for it, one at a time; it takes itself out */
};

struct zk_client *zk_check_client(lua_State *L, int index);
/* As bind_fail, with ZooKeeper's word in `code`. */
int zk_push_fail(lua_State *L, const struct err *, int code);
/* client:call(verb, path [, data [, version [, mode [, watch]]]]), client:multi(parts): see zk_call.c */
extern const luaL_Reg zk_call_methods[];
void zk_open_calls(lua_State *L);

#endif
