#include "lua/test_run.h"

#include <stdlib.h>

#include "core/clock.h"
#include "lua/doom.h"
#include "lua/fault.h"
#include "lua/test_lib.h"

/* What one test may take, with all that it calls. */
#define TEST_NS_MAX (60 * NS_PER_S)

static bool test_at(const struct script_app *app, unsigned index, struct script_test_info *info) {
    if (index >= app->test_count)
        return false;
    const struct script_app_test *test = &app->tests[index];
    *info = (struct script_test_info){.name = slice_of(test->name, strlen(test->name)),
        .file = slice_of(test->file, strlen(test->file)),
        .line = test->line};
    return true;
}

static void close_test(struct script_test *test) {
    if (!test)
        return;
    if (test->attempt)
        script_attempt_put(test->attempt);
    script_vm_destroy(test->vm);
    fault_free(&test->fault);
    free(test);
}

static enum status open_test(
    struct script_app *app, unsigned index, struct script_test **test_out, struct buf *error) {
    struct script_test *test = calloc(1, sizeof *test);
    enum status status = ST_NOMEM;
    if (test) {
        fault_init(&test->fault);
        status = script_vm_create_for_test(app, index, test, &test->vm, error);
    }
    if (status == ST_OK && test->vm->test_function == LUA_NOREF) {
        buf_printf(error, "%s: a file must declare the same tests each time it loads", app->name);
        status = ST_INVALID;
    }
    if (status == ST_OK) {
        test->attempt = script_attempt_get(test->vm);
        status =
            test->attempt && script_thread_get(test->vm, &test->attempt->thread) ? ST_OK : ST_NOMEM;
    }
    if (status != ST_OK) {
        close_test(test);
        return status;
    }
    test->attempt->deadline_ns = clock_monotonic_ns() + TEST_NS_MAX;
    *test_out = test;
    return ST_OK;
}

/* ---- failing ---- */

/* In a protected call. Argument: the test; the error object lies on its coroutine's stack. */
static int note_fault(lua_State *L) {
    struct script_test *test = lua_touserdata(L, 1);
    lua_State *co = test->attempt->thread.state;
    lua_settop(L, 1);
    lua_xmove(co, L, 1);
    if (lua_type(L, 2) == LUA_TTABLE)
        lua_pushliteral(L, "error object is a table");
    else
        luaL_tolstring(L, 2, NULL);
    script_fault_fill(L, 3, co, test->vm->app, &test->fault);
    return 0;
}

static enum script_test_step fail_plainly(struct script_test *test, const char *message) {
    script_fault_plain(&test->fault, message);
    return SCRIPT_TEST_FAILED;
}

static enum script_test_step fail(struct script_test *test) {
    lua_State *L = test->vm->lua;
    lua_pushcfunction(L, note_fault);
    lua_pushlightuserdata(L, test);
    bool noted = lua_pcall(L, 1, 0, 0) == LUA_OK;
    lua_settop(L, 0);
    if (!noted)
        return fail_plainly(test, "an error for whose message there is no memory");
    return SCRIPT_TEST_FAILED;
}

static enum script_test_step end_doomed(struct script_test *test) {
    switch (test->attempt->doom) {
    case DOOM_TIMEOUT:
        return fail_plainly(test, "the test ran for more than 60 s");
    case DOOM_MEMORY:
        return fail_plainly(test, "the test needs more memory than --lua-memory-max");
    default:
        return fail_plainly(test, "the test ran too long where it cannot be interrupted");
    }
}

/* ---- a step ---- */

static enum script_test_step end_step(struct script_test *test, int status) {
    if (test->attempt->doom != DOOM_NONE)
        return end_doomed(test);
    switch (status) {
    case LUA_OK:
        return SCRIPT_TEST_PASSED;
    case LUA_YIELD:
        return SCRIPT_TEST_REQUEST;
    case LUA_ERRMEM:
        return fail_plainly(test, "the test needs more memory than --lua-memory-max");
    default:
        return fail(test);
    }
}

static int resume_test(struct script_test *test) {
    struct attempt *attempt = test->attempt;
    int status;
    do { /* preempted, it goes on: nobody else waits */
        status = script_turn(attempt, 0);
    } while (status == LUA_YIELD && attempt->doom == DOOM_NONE && attempt->pause == PAUSE_TURN);
    return status;
}

static enum script_test_step step(
    struct script_test *test, const struct reply *reply, struct script_test_request *request) {
    if (!reply)
        lua_rawgeti(test->attempt->thread.state, LUA_REGISTRYINDEX, test->vm->test_function);
    test->reply = reply;
    enum script_test_step result = end_step(test, resume_test(test));
    if (result == SCRIPT_TEST_REQUEST)
        *request = test->request;
    return result;
}

static const struct fault *fault_of(const struct script_test *test) {
    return &test->fault;
}

const struct script_tester script_tester = {
    .test_at = test_at, .open = open_test, .step = step, .fault = fault_of, .close = close_test};
