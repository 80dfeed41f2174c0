/* pcall, xpcall and coroutines that let go of what is not the application's: the error of a doomed
 * attempt, memory errors, and yields of the platform (a wait for a key, preemption).
 *
 * A yield of the platform inside a coroutine of the application reaches the function that resumed
 * it. That one yields in turn, down to the loop, and resumes the inner coroutine when it is resumed
 * itself. Meanwhile the inner coroutine is parked: another request that got hold of it through an
 * upvalue cannot resume it. */
#include "lua/doom.h"
#include "lua/fault.h"
#include "lua/sandbox.h"

/* ---- pcall, xpcall ---- */

/* What both come to: below the results (or the error) lie `ctx` values of the call itself. */
static int finish_pcall(lua_State *L, int status, lua_KContext ctx) {
    script_check_doom(L);
    if (status == LUA_ERRMEM)
        script_doom(L, DOOM_MEMORY);
    if (status != LUA_OK && status != LUA_YIELD) {
        script_drop_our_place(L);
        lua_pushboolean(L, 0);
        lua_pushvalue(L, -2);
        return 2;
    }
    return lua_gettop(L) - (int)ctx;
}

static int lib_pcall(lua_State *L) {
    luaL_checkany(L, 1);
    lua_pushboolean(L, 1); /* the first result if all goes well */
    lua_insert(L, 1);
    int status = lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, finish_pcall);
    return finish_pcall(L, status, 0);
}

/* Stands in for the user's message handler (upvalue 1). A doomed attempt runs no more code of the
 * user's: its error was raised by the hook, with hooks off, so that a loop would never end. */
static int handle_message(lua_State *L) {
    if (script_vm_of(L)->current->doom != DOOM_NONE)
        return 1;
    lua_settop(L, 1);
    script_drop_our_place(L);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 1, 1);
    return 1;
}

static int lib_xpcall(lua_State *L) {
    int count = lua_gettop(L);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_pushvalue(L, 2);
    lua_pushcclosure(L, handle_message, 1);
    lua_replace(L, 2);
    lua_pushboolean(L, 1);
    lua_pushvalue(L, 1);
    lua_rotate(L, 3, 2); /* f, handler, true, f, arguments */
    int status = lua_pcallk(L, count - 2, LUA_MULTRET, 2, 2, finish_pcall);
    return finish_pcall(L, status, 2);
}

/* ---- coroutines ---- */

/* Marks in the word that Lua keeps for us with each coroutine. */
#define WORD_PARKED ((uintptr_t)1)
#define WORD_LEFT ((uintptr_t)2)

/* A coroutine is parked while it waits in a yield of the platform. */
static void set_parked(lua_State *co, bool parked) {
    uintptr_t *word = lua_getextraspace(co);
    *word = parked ? *word | WORD_PARKED : *word & ~WORD_PARKED;
}

static bool is_parked(lua_State *co) {
    return *(uintptr_t *)lua_getextraspace(co) & WORD_PARKED;
}

/* A doomed attempt left by a yield and will not come back; for another request that got hold of the
 * coroutine it is as dead as one that ended with an error. */
static void set_left(lua_State *co) {
    *(uintptr_t *)lua_getextraspace(co) |= WORD_LEFT;
}

static bool is_left(lua_State *co) {
    return *(uintptr_t *)lua_getextraspace(co) & WORD_LEFT;
}

static const char *status_name(lua_State *L, lua_State *co) {
    if (L == co)
        return "running";
    if (is_left(co))
        return "dead";
    if (is_parked(co))
        return "normal";
    lua_Debug frame;
    switch (lua_status(co)) {
    case LUA_YIELD:
        return "suspended";
    case LUA_OK:
        if (lua_getstack(co, 0, &frame))
            return "normal"; /* it has resumed another one */
        return lua_gettop(co) ? "suspended" : "dead";
    default:
        return "dead";
    }
}

static lua_State *check_thread(lua_State *L, int index) {
    lua_State *co = lua_tothread(L, index);
    luaL_argexpected(L, co, index, "coroutine");
    return co;
}

static int yield_up(lua_State *L, lua_State *co, lua_KContext ctx, lua_KFunction k) {
    struct attempt *attempt = script_vm_of(L)->current;
    set_parked(co, true);
    if (attempt->parked_count < SCRIPT_PARKED_MAX)
        attempt->parked[attempt->parked_count++] = co;
    return lua_yieldk(L, 0, ctx, k);
}

void script_leave_coroutines(struct attempt *attempt) {
    for (unsigned i = 0; i < attempt->parked_count; i++)
        set_left(attempt->parked[i]);
    attempt->parked_count = 0;
}

enum step { STEP_DONE, STEP_FAILED, STEP_PLATFORM };

/* Resumes co with count values from its stack. STEP_DONE: *results values lie on its stack;
 * STEP_FAILED: an error does; STEP_PLATFORM: pass the yield on. Unwinds if the attempt is doomed.
 */
static enum step resume_step(lua_State *L, lua_State *co, int count, int *results) {
    struct script_vm *vm = script_vm_of(L);
    struct attempt *attempt = vm->current;
    bool pins = !lua_isyieldable(L);
    set_parked(co, false);
    attempt->pinned += pins;
    attempt->pause = PAUSE_NONE;
    vm->running = co;
    script_hook_install(co);
    int status = lua_resume(co, L, count, results);
    vm->running = L;
    attempt->pinned -= pins;
    if (attempt->doom != DOOM_NONE) {
        set_left(co); /* it stays as it is: closing it could run code of the user's */
        script_check_doom(L);
    }
    if (status == LUA_YIELD && attempt->pause != PAUSE_NONE)
        return STEP_PLATFORM;
    if (status == LUA_ERRMEM)
        script_doom(L, DOOM_MEMORY);
    return status == LUA_OK || status == LUA_YIELD ? STEP_DONE : STEP_FAILED;
}

/* Moves the arguments above `below` to co; false, with the reason on L, if co cannot be resumed. */
static bool pass_arguments(lua_State *L, lua_State *co, int below) {
    int count = lua_gettop(L) - below;
    const char *status = status_name(L, co);
    if (strcmp(status, "suspended") != 0) {
        lua_pushfstring(L, "cannot resume %s coroutine",
            strcmp(status, "dead") == 0 ? "dead" : "non-suspended");
        return false;
    }
    if (!lua_checkstack(co, count)) {
        lua_pushliteral(L, "too many arguments to resume");
        return false;
    }
    lua_xmove(L, co, count);
    return true;
}

static int end_resume(lua_State *L, lua_State *co, enum step step, int results) {
    if (step == STEP_DONE && lua_checkstack(L, results + 1)) {
        lua_pushboolean(L, 1);
        lua_xmove(co, L, results);
        return results + 1;
    }
    lua_pushboolean(L, 0);
    if (step == STEP_DONE) {
        lua_pop(co, results);
        lua_pushliteral(L, "too many results to resume");
    } else {
        lua_xmove(co, L, 1);
    }
    return 2;
}

static int continue_resume(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    script_check_doom(L);
    lua_State *co = lua_tothread(L, 1);
    int results = 0;
    enum step step = resume_step(L, co, 0, &results);
    if (step == STEP_PLATFORM)
        return yield_up(L, co, ctx, continue_resume);
    return end_resume(L, co, step, results);
}

static int lib_resume(lua_State *L) {
    lua_State *co = check_thread(L, 1);
    int count = lua_gettop(L) - 1;
    if (!pass_arguments(L, co, 1)) {
        lua_pushboolean(L, 0);
        lua_insert(L, -2);
        return 2;
    }
    int results = 0;
    enum step step = resume_step(L, co, count, &results);
    if (step == STEP_PLATFORM)
        return yield_up(L, co, 0, continue_resume);
    return end_resume(L, co, step, results);
}

/* Raises the error on top of L's stack as one of wrap's: with a place in front, if it is a text. */
static int raise_wrapped(lua_State *L) {
    if (lua_type(L, -1) == LUA_TSTRING) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

static int end_wrap(lua_State *L, lua_State *co, enum step step, int results) {
    if (step == STEP_DONE && lua_checkstack(L, results)) {
        lua_xmove(co, L, results);
        return results;
    }
    if (step == STEP_DONE)
        return luaL_error(L, "too many results to resume");
    lua_xmove(co, L, 1);
    return raise_wrapped(L);
}

static int continue_wrap(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    script_check_doom(L);
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    int results = 0;
    enum step step = resume_step(L, co, 0, &results);
    if (step == STEP_PLATFORM)
        return yield_up(L, co, ctx, continue_wrap);
    return end_wrap(L, co, step, results);
}

static int call_wrapped(lua_State *L) {
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    int count = lua_gettop(L), results = 0;
    if (!pass_arguments(L, co, 0))
        return raise_wrapped(L);
    enum step step = resume_step(L, co, count, &results);
    if (step == STEP_PLATFORM)
        return yield_up(L, co, 0, continue_wrap);
    return end_wrap(L, co, step, results);
}

static int lib_create(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_State *co = lua_newthread(L);
    set_parked(co, false);
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    return 1;
}

static int lib_wrap(lua_State *L) {
    lib_create(L);
    lua_pushcclosure(L, call_wrapped, 1);
    return 1;
}

/* True in a coroutine of the application; the request's own has nobody to yield to. */
static bool inside(lua_State *L) {
    struct attempt *attempt = script_vm_of(L)->current;
    return L != attempt->thread.state && lua_isyieldable(L);
}

static int lib_yield(lua_State *L) {
    script_check_doom(L);
    if (L == script_vm_of(L)->current->thread.state)
        return luaL_error(L, "attempt to yield from outside a coroutine");
    return lua_yield(L, lua_gettop(L));
}

static int lib_isyieldable(lua_State *L) {
    lua_pushboolean(L, inside(L));
    return 1;
}

static int lib_status(lua_State *L) {
    lua_pushstring(L, status_name(L, check_thread(L, 1)));
    return 1;
}

void script_open_control(lua_State *L) {
    static const luaL_Reg globals[] = {{"pcall", lib_pcall}, {"xpcall", lib_xpcall}, {NULL, NULL}};
    static const luaL_Reg coroutines[] = {{"create", lib_create}, {"resume", lib_resume},
        {"yield", lib_yield}, {"wrap", lib_wrap}, {"status", lib_status},
        {"isyieldable", lib_isyieldable}, {NULL, NULL}};
    luaL_setfuncs(L, globals, 0);
    luaL_newlib(L, coroutines);
    lua_setfield(L, -2, "coroutine");
}
