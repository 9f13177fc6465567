#include "supervise_spec.h"
#include "supervise_fields.h"

#include <arpa/inet.h>
#include <lauxlib.h>
#include <pwd.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { NAME_MAX_SIZE = 63, PATH_MAX_SIZE = 1000 };

struct spec_reading {
    struct reading fields;
    struct service_spec *spec;
};

static struct service_spec *spec_of(struct reading *r)
{
    return ((struct spec_reading *)((char *)r - offsetof(struct spec_reading, fields)))->spec;
}

/* --- lists --- */

static void read_command(struct reading *r, int table)
{
    lua_State *L = r->L;
    if (!fields_get(r, table, "command", LUA_TTABLE)) {
        if (lua_getfield(L, table, "command") == LUA_TNIL)
            fields_fault(r, "command is missing: { \"/path/of/program\", \"argument\", ... }");
        lua_pop(L, 1);
        return;
    }
    size_t count = lua_rawlen(L, -1);
    if (count == 0)
        fields_fault(r, "command is empty: { \"/path/of/program\", \"argument\", ... }");
    spec_of(r)->argv = fields_zeroed(r, count + 1, sizeof(char *));
    for (size_t i = 0; i < count; i++) {
        int type = lua_rawgeti(L, -1, (lua_Integer)i + 1);
        if (type != LUA_TSTRING && type != LUA_TNUMBER)
            fields_fault(r, "command[%zu] must be a string, not a %s", i + 1, lua_typename(L, type));
        else if (fields_has_zero(L, -1))
            fields_fault(r, "command[%zu] holds a zero byte", i + 1);
        spec_of(r)->argv[i] = fields_copy(r, type == LUA_TSTRING || type == LUA_TNUMBER ? lua_tostring(L, -1) : "");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void read_env(struct reading *r, int table)
{
    lua_State *L = r->L;
    if (!fields_get(r, table, "env", LUA_TTABLE))
        return;
    int env = lua_gettop(L);
    size_t count = 0, at = 0;
    for (lua_pushnil(L); lua_next(L, env); lua_pop(L, 1))
        count++;
    spec_of(r)->envp = fields_zeroed(r, count + 1, sizeof(char *));
    for (lua_pushnil(L); lua_next(L, env); lua_pop(L, 1)) {
        int type = lua_type(L, -1);
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
        if (!name || !*name || strchr(name, '=') || fields_has_zero(L, -2)) {
            fields_fault(r, "env has a name that can't be one: %s", name ? name : lua_typename(L, lua_type(L, -2)));
            continue;
        }
        if (type != LUA_TSTRING && type != LUA_TNUMBER) {
            fields_fault(r, "env.%s must be a string, not a %s", name, lua_typename(L, type));
            continue;
        }
        lua_pushvalue(L, -1); /* a number is turned into text in place, which lua_next would not survive on the original's key */
        if (fields_has_zero(L, -1)) {
            fields_fault(r, "env.%s holds a zero byte", name);
        } else {
            lua_pushfstring(L, "%s=%s", name, lua_tostring(L, -1));
            spec_of(r)->envp[at++] = fields_copy(r, lua_tostring(L, -1));
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    }
    qsort(spec_of(r)->envp, at, sizeof(char *), by_text); /* the same table gives the same environment */
    lua_pop(L, 1);
}

static void read_after(struct reading *r, int table)
{
    static const char *const kinds[] = {"ready", "started", "done"}; /* as enum need_kind */
    lua_State *L = r->L;
    if (!fields_get(r, table, "after", LUA_TTABLE))
        return;
    int after = lua_gettop(L);
    size_t count = 0;
    for (lua_pushnil(L); lua_next(L, after); lua_pop(L, 1))
        count++;
    spec_of(r)->after = fields_zeroed(r, count + 1, sizeof *spec_of(r)->after);
    for (lua_pushnil(L); lua_next(L, after); lua_pop(L, 1)) {
        const char *kind = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
        int found = -1;
        for (int i = 0; kind && i < 3; i++)
            if (strcmp(kind, kinds[i]) == 0)
                found = i;
        if (lua_type(L, -2) != LUA_TSTRING) {
            fields_fault(r, "after must map names to kinds: { master = \"ready\" }");
        } else if (found < 0) {
            fields_fault(r, "after.%s must be \"ready\", \"started\" or \"done\"", lua_tostring(L, -2));
        } else {
            struct need *need = &spec_of(r)->after[spec_of(r)->after_count];
            need->service = fields_copy(r, lua_tostring(L, -2));
            need->kind = (enum need_kind)found;
            spec_of(r)->after_count++;
        }
    }
    lua_pop(L, 1);
}

static void read_clean(struct reading *r, int table)
{
    lua_State *L = r->L;
    const size_t most = sizeof spec_of(r)->clean_status / sizeof *spec_of(r)->clean_status;
    if (!fields_get(r, table, "clean", LUA_TTABLE))
        return;
    size_t count = lua_rawlen(L, -1);
    if (count > most)
        fields_fault(r, "clean has %zu exit codes, there is room for %zu", count, most);
    for (size_t i = 0; i < count && i < most; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        int is_integer;
        lua_Integer code = lua_tointegerx(L, -1, &is_integer);
        if (!is_integer || code < 1 || code > 255)
            fields_fault(r, "clean[%zu] must be an exit code from 1 to 255", i + 1);
        else
            spec_of(r)->clean_status[i] = (int)code;
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* --- the parts of a service --- */

static void read_ready(struct reading *r, int table)
{
    static const char *const fields[] = {"kind", "host", "port", "path", "has", "period", "deadline", "misses", "health_period", NULL};
    static const char *const kinds[] = {"tcp", "http", "hive", "line", "lua", NULL};
    static const enum ready_kind kind_of[] = {READY_TCP, READY_HTTP, READY_HIVE, READY_LINE, READY_LUA};
    if (!fields_get(r, table, "ready", LUA_TTABLE))
        return;
    int from = lua_gettop(r->L), kind = -1;
    struct ready_spec *ready = &spec_of(r)->ready;
    r->prefix = "ready.";
    fields_refuse_unknown(r, from, fields);
    fields_word(r, from, "kind", kinds, &kind);
    fields_string(r, from, "host", &ready->host);
    fields_int(r, from, "port", 1, 65535, &ready->port);
    fields_string(r, from, "path", &ready->path);
    fields_string(r, from, "has", &ready->has);
    fields_seconds(r, from, "period", &ready->period_ms);
    fields_seconds(r, from, "deadline", &ready->deadline_ms);
    fields_int(r, from, "misses", 0, 1000000, &ready->health_misses);
    fields_seconds(r, from, "health_period", &ready->health_period_ms);
    if (kind >= 0)
        ready->kind = kind_of[kind];
    else if (lua_getfield(r->L, from, "kind") == LUA_TNIL)
        fields_fault(r, "ready.kind is missing: \"tcp\", \"http\", \"hive\", \"line\" or \"lua\"");
    lua_settop(r->L, from);

    bool connects = ready_connects(ready->kind);
    unsigned char address[16];
    if (connects && lua_getfield(r->L, from, "port") == LUA_TNIL)
        fields_fault(r, "ready.port is missing");
    lua_settop(r->L, from);
    if (ready->host && inet_pton(AF_INET, ready->host, address) != 1 && inet_pton(AF_INET6, ready->host, address) != 1)
        fields_fault(r, "ready.host must be a numeric address like 127.0.0.1, not \"%s\"", ready->host);
    if (ready->path && (ready->path[0] != '/' || strlen(ready->path) > PATH_MAX_SIZE || strpbrk(ready->path, " \t\r\n")))
        fields_fault(r, "ready.path must begin with /, hold no white space and have at most %d bytes", PATH_MAX_SIZE);
    if (ready->health_misses > 0 && !connects)
        fields_fault(r, "ready.misses needs kind \"tcp\", \"http\" or \"hive\": there is nothing to probe");
    if (ready->period_ms < 1 || ready->health_period_ms < 1)
        fields_fault(r, "ready.period and ready.health_period must be at least 0.001");
    r->prefix = "";
    lua_pop(r->L, 1);
}

static void read_backoff(struct reading *r, int table)
{
    static const char *const fields[] = {"min", "max", "healthy", "give_up", NULL};
    if (!fields_get(r, table, "backoff", LUA_TTABLE))
        return;
    int from = lua_gettop(r->L);
    r->prefix = "backoff.";
    fields_refuse_unknown(r, from, fields);
    fields_seconds(r, from, "min", &spec_of(r)->backoff_min_ms);
    fields_seconds(r, from, "max", &spec_of(r)->backoff_max_ms);
    fields_seconds(r, from, "healthy", &spec_of(r)->healthy_ms);
    fields_int(r, from, "give_up", 0, 1000000, &spec_of(r)->give_up);
    if (spec_of(r)->backoff_max_ms < spec_of(r)->backoff_min_ms)
        fields_fault(r, "backoff.max is less than backoff.min");
    r->prefix = "";
    lua_pop(r->L, 1);
}

static void read_signal(struct reading *r, int table, const char *field, int *out)
{
    lua_State *L = r->L;
    int type = lua_getfield(L, table, field);
    int found = 0;
    if (type == LUA_TNUMBER) {
        found = (int)lua_tointeger(L, -1);
        found = sigabbrev_np(found) ? found : 0;
    } else if (type == LUA_TSTRING) {
        const char *name = lua_tostring(L, -1);
        if (strncasecmp(name, "SIG", 3) == 0)
            name += 3;
        for (int number = 1; number < NSIG && !found; number++)
            if (sigabbrev_np(number) && strcasecmp(sigabbrev_np(number), name) == 0)
                found = number;
    }
    if (found)
        *out = found;
    else if (type != LUA_TNIL)
        fields_fault(r, "%s%s must be a signal like \"TERM\"", r->prefix, field);
    lua_pop(L, 1);
}

static void read_stop(struct reading *r, int table)
{
    static const char *const fields[] = {"signal", "grace", "dump", NULL};
    if (!fields_get(r, table, "stop", LUA_TTABLE))
        return;
    int from = lua_gettop(r->L);
    r->prefix = "stop.";
    fields_refuse_unknown(r, from, fields);
    read_signal(r, from, "signal", &spec_of(r)->stop_signal);
    read_signal(r, from, "dump", &spec_of(r)->dump_signal);
    fields_seconds(r, from, "grace", &spec_of(r)->grace_ms);
    r->prefix = "";
    lua_pop(r->L, 1);
}

static void read_log(struct reading *r, int table)
{
    static const char *const fields[] = {"file", "size", "keep", "full", "console", NULL};
    static const char *const full_words[] = {"drop", "block", NULL};
    if (!fields_get(r, table, "log", LUA_TTABLE))
        return;
    int from = lua_gettop(r->L), full = spec_of(r)->log_full;
    r->prefix = "log.";
    fields_refuse_unknown(r, from, fields);
    fields_string(r, from, "file", &spec_of(r)->log_file);
    fields_number(r, from, "size", 1, 1e15, 1, &spec_of(r)->log_size);
    fields_int(r, from, "keep", 0, 10000, &spec_of(r)->log_keep);
    fields_word(r, from, "full", full_words, &full);
    spec_of(r)->log_full = (enum log_full)full;
    fields_boolean(r, from, "console", &spec_of(r)->log_console);
    r->prefix = "";
    lua_pop(r->L, 1);
}

/* A name, or a number. Without an entry in the user database the group has the number of the user. */
static void read_user(struct reading *r, int table)
{
    lua_State *L = r->L;
    struct service_spec *spec = spec_of(r);
    int type = lua_getfield(L, table, "user");
    int is_integer = 0;
    lua_Integer number = lua_tointegerx(L, -1, &is_integer);
    struct passwd entry, *found = NULL;
    char text[4096];
    if (is_integer && number >= 0 && number < UINT32_MAX) {
        getpwuid_r((uid_t)number, &entry, text, sizeof text, &found);
        spec->set_user = true;
        spec->uid = (uid_t)number;
        spec->gid = found ? found->pw_gid : (gid_t)number;
    } else if (type == LUA_TSTRING) {
        getpwnam_r(lua_tostring(L, -1), &entry, text, sizeof text, &found);
        if (!found)
            fields_fault(r, "user \"%s\" is unknown here: give a number, or add it to /etc/passwd", lua_tostring(L, -1));
        spec->set_user = found != NULL;
        spec->uid = found ? found->pw_uid : 0;
        spec->gid = found ? found->pw_gid : 0;
    } else if (type != LUA_TNIL) {
        fields_fault(r, "user must be a name or a number, not a %s", lua_typename(L, type));
    }
    lua_pop(L, 1);
}

static void read_name(struct reading *r, int table)
{
    lua_State *L = r->L;
    if (!fields_get(r, table, "name", LUA_TSTRING)) {
        fields_fault(r, "name is missing");
        return;
    }
    const char *name = lua_tostring(L, -1);
    size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    if (length == 0 || length > NAME_MAX_SIZE || name[length] || fields_has_zero(L, -1)) {
        fields_fault(r, "name must have 1 to %d letters, digits, dots, dashes and underscores", NAME_MAX_SIZE);
    } else {
        free(spec_of(r)->name);
        spec_of(r)->name = NULL; /* copy may raise */
        spec_of(r)->name = fields_copy(r, name);
    }
    lua_pop(L, 1);
}

static void read_lease(struct reading *r, int table)
{
    struct service_spec *spec = spec_of(r);
    fields_string(r, table, "lease", &spec->lease);
    if (spec->lease && (!*spec->lease || strlen(spec->lease) > NAME_MAX_SIZE))
        fields_fault(r, "lease must be the name of one, with 1 to %d bytes", NAME_MAX_SIZE);
}

void supervise_read_spec(lua_State *L, int index, struct service_spec **box)
{
    static const char *const fields[] = {"name",
                                         "command",
                                         "env",
                                         "dir",
                                         "user",
                                         "nice",
                                         "after",
                                         "lease",
                                         "ready",
                                         "oneshot",
                                         "critical",
                                         "restart",
                                         "backoff",
                                         "stop",
                                         "clean",
                                         "log",
                                         "change",
                                         "inputs",
                                         "role",
                                         "loose",
                                         "loose_from",
                                         /* for the reconciler */ NULL};
    static const char *const policies[] = {"always", "on-failure", "never", NULL};
    luaL_checktype(L, index, LUA_TTABLE);
    luaL_checkstack(L, 20, "service");
    lua_newtable(L);
    struct spec_reading reading = {.fields = {.L = L, .faults = lua_gettop(L), .prefix = ""}};
    struct reading *r = &reading.fields;
    struct service_spec *spec = *box = reading.spec = service_spec_new("without a name");
    if (!spec) {
        luaL_error(L, "not enough memory");
        return;
    }
    fields_refuse_unknown(r, index, fields);
    read_name(r, index);
    read_command(r, index);
    read_env(r, index);
    fields_string(r, index, "dir", &spec->dir);
    read_user(r, index);
    fields_int(r, index, "nice", -20, 39, &spec->nice);
    read_after(r, index);
    read_lease(r, index);
    read_ready(r, index);
    fields_boolean(r, index, "oneshot", &spec->oneshot);
    if (spec->oneshot && spec->lease)
        fields_fault(r, "oneshot and lease exclude each other");
    fields_boolean(r, index, "critical", &spec->critical);
    int policy = spec->restart;
    fields_word(r, index, "restart", policies, &policy);
    spec->restart = (enum restart_policy)policy;
    read_backoff(r, index);
    read_stop(r, index);
    read_clean(r, index);
    read_log(r, index);
    fields_raise(r, lua_pushfstring(L, "service %s", spec->name));
    lua_settop(L, r->faults - 1);
}
