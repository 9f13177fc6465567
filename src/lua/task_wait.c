/* task_wait.c - the two waits that need nothing but the scheduler: sleep, and a queue between tasks. */
#include "appliance/bind.h"
#include "appliance/clock.h"
#include "task_inner.h"

#define SLEEP     "appliance.sleep"
#define QUEUE     "appliance.queue"
#define QUEUE_GET "appliance.queue.get"

struct sleep {
    struct wait wait;
    struct timer timer;
};

static int sleep_close(lua_State *L)
{
    timer_stop(&((struct sleep *)luaL_checkudata(L, 1, SLEEP))->timer);
    return 0;
}

static void sleep_over(struct timer *t)
{
    wait_finish(&((struct sleep *)((char *)t - offsetof(struct sleep, timer)))->wait);
}

static int slept(lua_State *L, int status, lua_KContext context)
{
    (void)L, (void)status, (void)context;
    return 0;
}

/* task.sleep(seconds) */
static int task_sleep(lua_State *L)
{
    lua_Number seconds = luaL_checknumber(L, 1);
    struct sleep *op = bind_op(L, sizeof *op, SLEEP);
    timer_start_ns(&op->timer, bind_loop(L), clock_span_ns(seconds), sleep_over);
    return task_await(L, &op->wait, slept);
}

/* First in, first out, between tasks. Its values are in user value 1, a table: [head] .. [tail - 1]. */
struct queue {
    lua_Integer head, tail, limit; /* limit 0: none */
    bool closed;
    struct queue_get *getters; /* oldest first */
};

struct queue_get {
    struct wait wait;
    struct queue *queue; /* NULL when not in its list */
    struct queue_get *next;
};

static void leave(struct queue_get *get)
{
    if (!get->queue)
        return;
    for (struct queue_get **at = &get->queue->getters; *at; at = &(*at)->next)
        if (*at == get) {
            *at = get->next;
            break;
        }
    get->queue = NULL;
}

static int get_close(lua_State *L)
{
    struct queue_get *get = luaL_checkudata(L, 1, QUEUE_GET);
    struct queue *q = get->queue;
    bool woken = get->wait.done;
    leave(get);
    /* It was told of a value and is cancelled before it took it: tell the next. */
    if (q && woken && q->head < q->tail && q->getters)
        wait_finish(&q->getters->wait);
    return 0;
}

static void enter(struct queue *q, struct queue_get *get)
{
    struct queue_get **at = &q->getters;
    while (*at)
        at = &(*at)->next;
    *at = get;
    get->next = NULL;
    get->queue = q;
}

static int got(lua_State *L, int status, lua_KContext context)
{
    (void)status, (void)context;
    struct queue *q = luaL_checkudata(L, 1, QUEUE);
    struct queue_get *get = luaL_checkudata(L, 2, QUEUE_GET);
    if (q->head == q->tail && !q->closed) { /* somebody else was faster */
        leave(get);
        wait_reset(&get->wait);
        enter(q, get);
        return task_await(L, &get->wait, got);
    }
    leave(get);
    if (q->head == q->tail)
        return 0;
    lua_getiuservalue(L, 1, 1);
    lua_geti(L, -1, q->head);
    lua_pushnil(L);
    lua_seti(L, -3, q->head++);
    if (q->head == q->tail)
        q->head = q->tail = 1;
    else if (q->getters)
        wait_finish(&q->getters->wait);
    return 1;
}

/* queue:get() -> the oldest value; waits for one. nil once it is closed and empty. */
static int queue_get(lua_State *L)
{
    struct queue *q = luaL_checkudata(L, 1, QUEUE);
    lua_settop(L, 1);
    struct queue_get *get = bind_op(L, sizeof *get, QUEUE_GET);
    bind_pin(L, 1);
    enter(q, get);
    if (q->head != q->tail || q->closed)
        wait_finish(&get->wait);
    return task_await(L, &get->wait, got);
}

/* queue:put(value) -> true, or false when it is full or closed. Never waits. */
static int queue_put(lua_State *L)
{
    struct queue *q = luaL_checkudata(L, 1, QUEUE);
    luaL_checkany(L, 2);
    luaL_argcheck(L, !lua_isnil(L, 2), 2, "nil can't be put: it means the end");
    bool room = !q->closed && (q->limit == 0 || q->tail - q->head < q->limit);
    if (room) {
        lua_settop(L, 2);
        lua_getiuservalue(L, 1, 1);
        lua_insert(L, 2);
        lua_seti(L, 2, q->tail); /* may raise for lack of memory: then nothing was put */
        q->tail++;
        if (q->getters)
            wait_finish(&q->getters->wait);
    }
    lua_pushboolean(L, room);
    return 1;
}

static int queue_close(lua_State *L)
{
    struct queue *q = luaL_checkudata(L, 1, QUEUE);
    q->closed = true;
    for (struct queue_get *get = q->getters; get; get = get->next)
        wait_finish(&get->wait);
    return 0;
}

static int queue_length(lua_State *L)
{
    struct queue *q = luaL_checkudata(L, 1, QUEUE);
    lua_pushinteger(L, q->tail - q->head);
    return 1;
}

/* task.queue([limit]) -> queue */
static int queue_new(lua_State *L)
{
    lua_Integer limit = luaL_optinteger(L, 1, 0);
    struct queue *q = lua_newuserdatauv(L, sizeof *q, 1);
    *q = (struct queue){.head = 1, .tail = 1, .limit = limit};
    luaL_setmetatable(L, QUEUE);
    lua_newtable(L);
    lua_setiuservalue(L, -2, 1);
    return 1;
}

int task_open_waits(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"get", queue_get}, {"put", queue_put}, {"close", queue_close}, {"length", queue_length}, {NULL, NULL}};
    bind_type(L, SLEEP, sleep_close, NULL);
    bind_type(L, QUEUE_GET, get_close, NULL);
    bind_type(L, QUEUE, queue_close, methods);
    lua_pushcfunction(L, task_sleep);
    lua_setfield(L, -2, "sleep");
    lua_pushcfunction(L, queue_new);
    lua_setfield(L, -2, "queue");
    return 1;
}
