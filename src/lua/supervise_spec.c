#include "supervise_spec.h"

#include <arpa/inet.h>
#include <lauxlib.h>
#include <math.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { NAME_MAX_SIZE = 63, PATH_MAX_SIZE = 1000, DURATION_MAX_S = 1000000000 };

/* One reading: where the spec goes, and a Lua table that collects what is wrong with it. */
struct reading {
    lua_State *L;
    int faults;            /* stack index */
    const char *prefix;    /* of the fields now being read: "", "ready." ... */
    struct service_spec *spec;
};

__attribute__((format(printf, 2, 3))) static void fault(struct reading *r, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    lua_pushstring(r->L, text);
    lua_rawseti(r->L, r->faults, (lua_Integer)lua_rawlen(r->L, r->faults) + 1);
}

static char *copy(struct reading *r, const char *text)
{
    char *out = strdup(text);
    if (!out)
        luaL_error(r->L, "not enough memory");
    return out;
}

static void *zeroed(struct reading *r, size_t count, size_t size)
{
    void *out = calloc(count, size);
    if (!out)
        luaL_error(r->L, "not enough memory");
    return out;
}

/* Pushes the field when it is there and of that type. */
static bool get(struct reading *r, int table, const char *field, int type)
{
    int got = lua_getfield(r->L, table, field);
    if (got == type)
        return true;
    if (got != LUA_TNIL)
        fault(r, "%s%s must be a %s, not a %s", r->prefix, field, lua_typename(r->L, type), lua_typename(r->L, got));
    lua_pop(r->L, 1);
    return false;
}

static bool has_zero(lua_State *L, int index)
{
    size_t length;
    const char *text = lua_tolstring(L, index, &length);
    return strlen(text) != length;
}

static void read_string(struct reading *r, int table, const char *field, char **out)
{
    if (!get(r, table, field, LUA_TSTRING))
        return;
    if (has_zero(r->L, -1))
        fault(r, "%s%s holds a zero byte", r->prefix, field);
    else
        *out = copy(r, lua_tostring(r->L, -1));
    lua_pop(r->L, 1);
}

static void read_boolean(struct reading *r, int table, const char *field, bool *out)
{
    if (!get(r, table, field, LUA_TBOOLEAN))
        return;
    *out = lua_toboolean(r->L, -1);
    lua_pop(r->L, 1);
}

static void read_number(struct reading *r, int table, const char *field, double least, double most, double scale, int64_t *out)
{
    if (!get(r, table, field, LUA_TNUMBER))
        return;
    double value = lua_tonumber(r->L, -1);
    if (!(value >= least && value <= most)) /* also what is no number */
        fault(r, "%s%s must be from %.14g to %.14g, not %.14g", r->prefix, field, least, most, value);
    else
        *out = (int64_t)llround(value * scale);
    lua_pop(r->L, 1);
}

static void read_seconds(struct reading *r, int table, const char *field, int64_t *out_ms)
{
    read_number(r, table, field, 0, DURATION_MAX_S, 1000, out_ms);
}

static void read_int(struct reading *r, int table, const char *field, int least, int most, int *out)
{
    int64_t value = *out;
    read_number(r, table, field, least, most, 1, &value);
    *out = (int)value;
}

/* One of `words`, ended by NULL; its place in the list. */
static void read_word(struct reading *r, int table, const char *field, const char *const words[], int *out)
{
    if (!get(r, table, field, LUA_TSTRING))
        return;
    const char *text = lua_tostring(r->L, -1);
    char all[120] = "";
    for (int i = 0; words[i]; i++) {
        if (strcmp(text, words[i]) == 0) {
            *out = i;
            lua_pop(r->L, 1);
            return;
        }
        size_t length = strlen(all);
        snprintf(all + length, sizeof all - length, "%s\"%s\"", i ? ", " : "", words[i]);
    }
    fault(r, "%s%s must be one of %s, not \"%s\"", r->prefix, field, all, text);
    lua_pop(r->L, 1);
}

/* A misspelt field would be passed over in silence: whoever wrote it believes it works. */
static void refuse_unknown(struct reading *r, int table, const char *const known[])
{
    lua_State *L = r->L;
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
        bool found = false;
        if (lua_type(L, -2) != LUA_TSTRING) {
            fault(r, "%s[%s] has no name", r->prefix, luaL_tolstring(L, -2, NULL));
            lua_pop(L, 1);
            continue;
        }
        for (int i = 0; known[i] && !found; i++)
            found = strcmp(lua_tostring(L, -2), known[i]) == 0;
        if (!found)
            fault(r, "%s%s is no field of a service", r->prefix, lua_tostring(L, -2));
    }
}

/* --- lists --- */

static void read_command(struct reading *r, int table)
{
    lua_State *L = r->L;
    if (!get(r, table, "command", LUA_TTABLE)) {
        if (lua_getfield(L, table, "command") == LUA_TNIL)
            fault(r, "command is missing: { \"/path/of/program\", \"argument\", ... }");
        lua_pop(L, 1);
        return;
    }
    size_t count = lua_rawlen(L, -1);
    if (count == 0)
        fault(r, "command is empty: { \"/path/of/program\", \"argument\", ... }");
    r->spec->argv = zeroed(r, count + 1, sizeof(char *));
    for (size_t i = 0; i < count; i++) {
        int type = lua_rawgeti(L, -1, (lua_Integer)i + 1);
        if (type != LUA_TSTRING && type != LUA_TNUMBER)
            fault(r, "command[%zu] must be a string, not a %s", i + 1, lua_typename(L, type));
        else if (has_zero(L, -1))
            fault(r, "command[%zu] holds a zero byte", i + 1);
        r->spec->argv[i] = copy(r, type == LUA_TSTRING || type == LUA_TNUMBER ? lua_tostring(L, -1) : "");
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
    if (!get(r, table, "env", LUA_TTABLE))
        return;
    int env = lua_gettop(L);
    size_t count = 0, at = 0;
    for (lua_pushnil(L); lua_next(L, env); lua_pop(L, 1))
        count++;
    r->spec->envp = zeroed(r, count + 1, sizeof(char *));
    for (lua_pushnil(L); lua_next(L, env); lua_pop(L, 1)) {
        int type = lua_type(L, -1);
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
        if (!name || !*name || strchr(name, '=') || has_zero(L, -2)) {
            fault(r, "env has a name that can't be one: %s", name ? name : lua_typename(L, lua_type(L, -2)));
            continue;
        }
        if (type != LUA_TSTRING && type != LUA_TNUMBER) {
            fault(r, "env.%s must be a string, not a %s", name, lua_typename(L, type));
            continue;
        }
        lua_pushvalue(L, -1); /* a number is turned into text in place, which lua_next would not survive on the original's key */
        if (has_zero(L, -1)) {
            fault(r, "env.%s holds a zero byte", name);
        } else {
            lua_pushfstring(L, "%s=%s", name, lua_tostring(L, -1));
            r->spec->envp[at++] = copy(r, lua_tostring(L, -1));
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    }
    qsort(r->spec->envp, at, sizeof(char *), by_text); /* the same table gives the same environment */
    lua_pop(L, 1);
}

static void read_after(struct reading *r, int table)
{
    static const char *const kinds[] = {"ready", "started", "done"}; /* as enum need_kind */
    lua_State *L = r->L;
    if (!get(r, table, "after", LUA_TTABLE))
        return;
    int after = lua_gettop(L);
    size_t count = 0;
    for (lua_pushnil(L); lua_next(L, after); lua_pop(L, 1))
        count++;
    r->spec->after = zeroed(r, count + 1, sizeof *r->spec->after);
    for (lua_pushnil(L); lua_next(L, after); lua_pop(L, 1)) {
        const char *kind = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
        int found = -1;
        for (int i = 0; kind && i < 3; i++)
            if (strcmp(kind, kinds[i]) == 0)
                found = i;
        if (lua_type(L, -2) != LUA_TSTRING) {
            fault(r, "after must map names to kinds: { master = \"ready\" }");
        } else if (found < 0) {
            fault(r, "after.%s must be \"ready\", \"started\" or \"done\"", lua_tostring(L, -2));
        } else {
            struct need *need = &r->spec->after[r->spec->after_count];
            need->service = copy(r, lua_tostring(L, -2));
            need->kind = (enum need_kind)found;
            r->spec->after_count++;
        }
    }
    lua_pop(L, 1);
}

static void read_clean(struct reading *r, int table)
{
    lua_State *L = r->L;
    const size_t most = sizeof r->spec->clean_status / sizeof *r->spec->clean_status;
    if (!get(r, table, "clean", LUA_TTABLE))
        return;
    size_t count = lua_rawlen(L, -1);
    if (count > most)
        fault(r, "clean has %zu exit codes, there is room for %zu", count, most);
    for (size_t i = 0; i < count && i < most; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        int is_integer;
        lua_Integer code = lua_tointegerx(L, -1, &is_integer);
        if (!is_integer || code < 1 || code > 255)
            fault(r, "clean[%zu] must be an exit code from 1 to 255", i + 1);
        else
            r->spec->clean_status[i] = (int)code;
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* --- the parts of a service --- */

static void read_ready(struct reading *r, int table)
{
    static const char *const fields[] = {"kind", "host", "port", "path", "has", "period", "deadline", "misses", "health_period", NULL};
    static const char *const kinds[] = {"tcp", "http", "line", "lua", NULL};
    static const enum ready_kind kind_of[] = {READY_TCP, READY_HTTP, READY_LINE, READY_LUA};
    if (!get(r, table, "ready", LUA_TTABLE))
        return;
    int from = lua_gettop(r->L), kind = -1;
    struct ready_spec *ready = &r->spec->ready;
    r->prefix = "ready.";
    refuse_unknown(r, from, fields);
    read_word(r, from, "kind", kinds, &kind);
    read_string(r, from, "host", &ready->host);
    read_int(r, from, "port", 1, 65535, &ready->port);
    read_string(r, from, "path", &ready->path);
    read_string(r, from, "has", &ready->has);
    read_seconds(r, from, "period", &ready->period_ms);
    read_seconds(r, from, "deadline", &ready->deadline_ms);
    read_int(r, from, "misses", 0, 1000000, &ready->health_misses);
    read_seconds(r, from, "health_period", &ready->health_period_ms);
    if (kind >= 0)
        ready->kind = kind_of[kind];
    else if (lua_getfield(r->L, from, "kind") == LUA_TNIL)
        fault(r, "ready.kind is missing: \"tcp\", \"http\", \"line\" or \"lua\"");
    lua_settop(r->L, from);

    bool connects = ready->kind == READY_TCP || ready->kind == READY_HTTP;
    unsigned char address[16];
    if (connects && lua_getfield(r->L, from, "port") == LUA_TNIL)
        fault(r, "ready.port is missing");
    lua_settop(r->L, from);
    if (ready->host && inet_pton(AF_INET, ready->host, address) != 1 && inet_pton(AF_INET6, ready->host, address) != 1)
        fault(r, "ready.host must be a numeric address like 127.0.0.1, not \"%s\"", ready->host);
    if (ready->path && (ready->path[0] != '/' || strlen(ready->path) > PATH_MAX_SIZE || strpbrk(ready->path, " \t\r\n")))
        fault(r, "ready.path must begin with /, hold no white space and have at most %d bytes", PATH_MAX_SIZE);
    if (ready->health_misses > 0 && !connects)
        fault(r, "ready.misses needs kind \"tcp\" or \"http\": there is nothing to probe");
    if (ready->period_ms < 1 || ready->health_period_ms < 1)
        fault(r, "ready.period and ready.health_period must be at least 0.001");
    r->prefix = "";
    lua_pop(r->L, 1);
}

static void read_backoff(struct reading *r, int table)
{
    static const char *const fields[] = {"min", "max", "healthy", "give_up", NULL};
    if (!get(r, table, "backoff", LUA_TTABLE))
        return;
    int from = lua_gettop(r->L);
    r->prefix = "backoff.";
    refuse_unknown(r, from, fields);
    read_seconds(r, from, "min", &r->spec->backoff_min_ms);
    read_seconds(r, from, "max", &r->spec->backoff_max_ms);
    read_seconds(r, from, "healthy", &r->spec->healthy_ms);
    read_int(r, from, "give_up", 0, 1000000, &r->spec->give_up);
    if (r->spec->backoff_max_ms < r->spec->backoff_min_ms)
        fault(r, "backoff.max is less than backoff.min");
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
        fault(r, "%s%s must be a signal like \"TERM\"", r->prefix, field);
    lua_pop(L, 1);
}

static void read_stop(struct reading *r, int table)
{
    static const char *const fields[] = {"signal", "grace", "dump", NULL};
    if (!get(r, table, "stop", LUA_TTABLE))
        return;
    int from = lua_gettop(r->L);
    r->prefix = "stop.";
    refuse_unknown(r, from, fields);
    read_signal(r, from, "signal", &r->spec->stop_signal);
    read_signal(r, from, "dump", &r->spec->dump_signal);
    read_seconds(r, from, "grace", &r->spec->grace_ms);
    r->prefix = "";
    lua_pop(r->L, 1);
}

static void read_log(struct reading *r, int table)
{
    static const char *const fields[] = {"file", "size", "keep", "full", "console", NULL};
    static const char *const full_words[] = {"drop", "block", NULL};
    if (!get(r, table, "log", LUA_TTABLE))
        return;
    int from = lua_gettop(r->L), full = r->spec->log_full;
    r->prefix = "log.";
    refuse_unknown(r, from, fields);
    read_string(r, from, "file", &r->spec->log_file);
    read_number(r, from, "size", 1, 1e15, 1, &r->spec->log_size);
    read_int(r, from, "keep", 0, 10000, &r->spec->log_keep);
    read_word(r, from, "full", full_words, &full);
    r->spec->log_full = (enum log_full)full;
    read_boolean(r, from, "console", &r->spec->log_console);
    r->prefix = "";
    lua_pop(r->L, 1);
}

/* A name, or a number. Without an entry in the user database the group has the number of the user. */
static void read_user(struct reading *r, int table)
{
    lua_State *L = r->L;
    struct service_spec *spec = r->spec;
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
            fault(r, "user \"%s\" is unknown here: give a number, or add it to /etc/passwd", lua_tostring(L, -1));
        spec->set_user = found != NULL;
        spec->uid = found ? found->pw_uid : 0;
        spec->gid = found ? found->pw_gid : 0;
    } else if (type != LUA_TNIL) {
        fault(r, "user must be a name or a number, not a %s", lua_typename(L, type));
    }
    lua_pop(L, 1);
}

static void read_name(struct reading *r, int table)
{
    lua_State *L = r->L;
    if (!get(r, table, "name", LUA_TSTRING)) {
        fault(r, "name is missing");
        return;
    }
    const char *name = lua_tostring(L, -1);
    size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    if (length == 0 || length > NAME_MAX_SIZE || name[length] || has_zero(L, -1)) {
        fault(r, "name must have 1 to %d letters, digits, dots, dashes and underscores", NAME_MAX_SIZE);
    } else {
        free(r->spec->name);
        r->spec->name = NULL; /* copy may raise */
        r->spec->name = copy(r, name);
    }
    lua_pop(L, 1);
}

static void raise_faults(struct reading *r)
{
    lua_State *L = r->L;
    size_t count = lua_rawlen(L, r->faults);
    if (count == 0)
        return;
    luaL_Buffer text;
    luaL_buffinit(L, &text);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            luaL_addstring(&text, "; ");
        lua_rawgeti(L, r->faults, (lua_Integer)i + 1);
        luaL_addvalue(&text);
    }
    luaL_pushresult(&text);
    luaL_error(L, "service %s: %s", r->spec->name, lua_tostring(L, -1));
}

void supervise_read_spec(lua_State *L, int index, struct service_spec **box)
{
    static const char *const fields[] = {"name",  "command", "env",   "dir",  "user",    "nice",     "after",  "ready",
                                         "oneshot", "critical", "restart", "backoff", "stop",  "clean",    "log",
                                         "change", "inputs", "role", /* for the reconciler */ NULL};
    static const char *const policies[] = {"always", "on-failure", "never", NULL};
    luaL_checktype(L, index, LUA_TTABLE);
    luaL_checkstack(L, 20, "service");
    lua_newtable(L);
    struct reading reading = {.L = L, .faults = lua_gettop(L), .prefix = ""}, *r = &reading;
    struct service_spec *spec = *box = r->spec = service_spec_new("without a name");
    if (!spec)
        luaL_error(L, "not enough memory");
    refuse_unknown(r, index, fields);
    read_name(r, index);
    read_command(r, index);
    read_env(r, index);
    read_string(r, index, "dir", &spec->dir);
    read_user(r, index);
    read_int(r, index, "nice", -20, 39, &spec->nice);
    read_after(r, index);
    read_ready(r, index);
    read_boolean(r, index, "oneshot", &spec->oneshot);
    read_boolean(r, index, "critical", &spec->critical);
    int policy = spec->restart;
    read_word(r, index, "restart", policies, &policy);
    spec->restart = (enum restart_policy)policy;
    read_backoff(r, index);
    read_stop(r, index);
    read_clean(r, index);
    read_log(r, index);
    raise_faults(r);
    lua_settop(L, r->faults - 1);
}
