/* What happens to the scheduler when a task goes wrong in ways that Lua code alone can't stage: no memory, a clock that jumps. */
#include "appliance/bind.h"
#include "appliance/log.h"
#include "fault.h"
#include "turning.h"

#include <lualib.h>
#include <stdio.h>
#include <string.h>

enum { ROOM = 4 << 20, BUDGET_MS = 50 };

static struct {
    size_t used, ceiling;
    char said[8192];
} world;

static void *allocate(void *unused, void *block, size_t old_size, size_t new_size)
{
    (void)unused;
    old_size = block ? old_size : 0;
    if (new_size == 0) {
        free(block);
        world.used -= old_size;
        return NULL;
    }
    if (new_size > old_size && world.used + new_size - old_size > world.ceiling)
        return NULL;
    void *moved = realloc(block, new_size);
    if (moved)
        world.used += new_size - old_size;
    return moved;
}

static void listen_to(enum log_level level, const char *text, size_t length)
{
    (void)level;
    size_t at = strlen(world.said);
    snprintf(world.said + at, sizeof world.said - at, "%.*s\n", (int)length, text);
}

static int jump(lua_State *L)
{
    fault_clock(clock_ns() + (long long)(luaL_checknumber(L, 1) * NS_PER_S));
    return 0;
}

static int open_state(void **state)
{
    world.ceiling = SIZE_MAX;
    world.said[0] = '\0';
    lua_State *L = lua_newstate(allocate, NULL);
    luaL_openlibs(L);
    bind_preload(L);
    lua_pushcfunction(L, jump);
    lua_setglobal(L, "jump");
    log_set_sink(listen_to);
    task_set_budget(BUDGET_MS);
    *state = L;
    return 0;
}

static int close_state(void **state)
{
    log_set_sink(NULL);
    fault_clock(-1);
    task_set_budget(2000);
    world.ceiling = SIZE_MAX;
    task_shutdown(*state);
    lua_close(*state);
    assert_int_equal(world.used, 0);
    return 0;
}

struct ending {
    bool ended, failed;
};

static void note_end(void *argument, bool failed)
{
    *(struct ending *)argument = (struct ending){true, failed};
}

/* Runs it as a task to its end, as main.c does: with nobody above who would catch an error. */
static struct ending run(lua_State *L, const char *text)
{
    struct ending ending = {0};
    if (luaL_loadstring(L, text) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    task_on_end(task_start(L, 0, "test"), note_end, &ending);
    lua_pop(L, 1);
    assert_true(task_turn_until(L, &ending.ended, NULL));
    return ending;
}

static void a_task_without_memory_ends_alone(void **state)
{
    lua_State *L = *state;
    run(L, "require 'appliance.core.task'");
    world.ceiling = world.used + ROOM;
    assert_true(run(L, "local list = {}\n"
                       "while true do list = { list } end")
                    .failed);
    assert_non_null(strstr(world.said, ":2: not enough memory"));
    assert_false(run(L, "local text = ('x'):rep(1 << 20)").failed); /* all it had is free again */
}

static void an_error_that_cannot_be_told_is_told_by_its_place(void **state)
{
    lua_State *L = *state;
    assert_true(run(L, "local odd = setmetatable({}, { __tostring = function() error 'no' end })\n"
                       "error(odd)")
                    .failed);
    assert_non_null(strstr(world.said, "test failed at [string"));
    assert_true(run(L, "error(setmetatable({}, { __tostring = function() while true do end end }))").failed);
    assert_true(run(L, "error(setmetatable({}, { __tostring = function() require 'appliance.core.task'.sleep(1000) end }))").failed);
    assert_true(run(L, "error(nil)").failed);
}

static void time_in_which_the_process_stood_still_is_no_computing(void **state)
{
    lua_State *L = *state;
    assert_false(run(L, "for i = 1, 1e6 do end\n"
                        "jump(3600)\n"
                        "for i = 1, 1e6 do end")
                     .failed);
    assert_string_equal(world.said, "");
}

static void a_task_that_computes_too_long_is_closed_with_its_variables_as_they_were(void **state)
{
    lua_State *L = *state;
    assert_true(run(L, "local look\n"
                       "local outer <close> = setmetatable({}, { __close = function() SEEN = look() end })\n"
                       "local function inner(value)\n"
                       "  look = function() return value end\n"
                       "  local broken <close> = setmetatable({}, { __close = function() error 'no' end })\n"
                       "  local patient <close> = setmetatable({}, { __close = function()\n"
                       "    SAID = select(2, pcall(require 'appliance.core.task'.sleep, 0.001))\n"
                       "  end })\n"
                       "  while true do end\n"
                       "end\n"
                       "inner 'value'")
                    .failed);
    lua_getglobal(L, "SEEN");
    assert_string_equal(lua_tostring(L, -1), "value");
    lua_getglobal(L, "SAID");
    assert_non_null(strstr(lua_tostring(L, -1), "can't wait here"));
    lua_pop(L, 2);
}

static void a_stack_that_overflows_ends_the_task_alone(void **state)
{
    lua_State *L = *state;
    task_set_budget(20000);
    assert_true(run(L, "local function deeper(n) return 1 + deeper(n) end\n"
                       "deeper(1)")
                    .failed);
    assert_non_null(strstr(world.said, "stack overflow"));
    assert_true(run(L, "local function deeper() return pcall(deeper) and error 'deep' end\n"
                       "deeper() error 'end'")
                    .failed);
    assert_false(run(L, "return 1").failed);
}

static void tasks_that_wake_each_other_leave_the_loop_its_turn(void **state)
{
    lua_State *L = *state;
    /* The last of the queue is cancelled by the first: the round ends all the same. */
    assert_false(run(L, "local task = require 'appliance.core.task'\n"
                        "local victim\n"
                        "local first = task.start(function() task.yield(); victim:cancel(); while true do task.yield() end end)\n"
                        "local second = task.start(function() while true do task.yield() end end)\n"
                        "victim = task.start(function() while true do task.yield() end end)\n"
                        "task.sleep(0.001)\n"
                        "first:cancel() second:cancel()")
                     .failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_task_without_memory_ends_alone, open_state, close_state),
        cmocka_unit_test_setup_teardown(an_error_that_cannot_be_told_is_told_by_its_place, open_state, close_state),
        cmocka_unit_test_setup_teardown(time_in_which_the_process_stood_still_is_no_computing, open_state, close_state),
        cmocka_unit_test_setup_teardown(a_task_that_computes_too_long_is_closed_with_its_variables_as_they_were, open_state, close_state),
        cmocka_unit_test_setup_teardown(a_stack_that_overflows_ends_the_task_alone, open_state, close_state),
        cmocka_unit_test_setup_teardown(tasks_that_wake_each_other_leave_the_loop_its_turn, open_state, close_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
