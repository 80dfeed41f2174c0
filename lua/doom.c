#include "lua/doom.h"

#include "core/clock.h"

/* The price of a hook is a clock reading, 25 ns; an instruction takes about 5 ns. */
#define HOOK_INSTRUCTIONS 4096
#define SLICE_NS NS_PER_MS
/* The longest stretch that cannot yield, by the clock and in hooks: the clock alone would blame the
 * script when the machine was busy elsewhere. */
#define STUCK_NS (10 * NS_PER_MS)
#define STUCK_HOOKS 64u

static const char doomed; /* its address is the error object */

static _Noreturn void unwind(lua_State *L) {
    lua_pushlightuserdata(L, (void *)&doomed);
    lua_error(L);
    __builtin_unreachable();
}

_Noreturn void script_doom(lua_State *L, enum doom why) {
    struct attempt *attempt = script_vm_of(L)->current;
    if (attempt->doom == DOOM_NONE)
        attempt->doom = why;
    unwind(L);
}

void script_check_doom(lua_State *L) {
    if (script_vm_of(L)->current->doom != DOOM_NONE)
        unwind(L);
}

struct attempt *script_attempt(lua_State *L, const char *what) {
    struct attempt *attempt = script_vm_of(L)->current;
    if (attempt->doom != DOOM_NONE)
        unwind(L);
    if (!attempt->txn)
        luaL_error(L, "%s works only while a request is handled", what);
    return attempt;
}

static bool can_yield(lua_State *L, const struct attempt *attempt) {
    return lua_isyieldable(L) && attempt->pinned == 0;
}

int script_wait(lua_State *L, lua_KContext ctx, lua_KFunction k) {
    struct attempt *attempt = script_vm_of(L)->current;
    if (!can_yield(L, attempt))
        script_doom(L, DOOM_RERUN);
    attempt->pause = PAUSE_WAIT;
    return lua_yieldk(L, 0, ctx, k);
}

void script_stretch_look(lua_State *L, struct stretch *stretch) {
    struct attempt *attempt = script_vm_of(L)->current;
    uint64_t now_ns = clock_monotonic_ns();
    if (now_ns >= attempt->deadline_ns)
        script_doom(L, DOOM_TIMEOUT);
    if (stretch->looks++ == 0)
        stretch->started_ns = now_ns;
    if (stretch->looks > stretch->looks_min && now_ns - stretch->started_ns > STUCK_NS)
        script_doom(L, DOOM_STUCK);
}

/* Every HOOK_INSTRUCTIONS instructions, or at the next one after script_hook_hurry. */
static void on_count(lua_State *L, lua_Debug *debug) {
    (void)debug;
    struct attempt *attempt = script_vm_of(L)->current;
    script_hook_install(L); /* the count may have been hurried */
    if (attempt->doom != DOOM_NONE)
        unwind(L);
    uint64_t now_ns = clock_monotonic_ns();
    if (now_ns >= attempt->deadline_ns)
        script_doom(L, DOOM_TIMEOUT);
    attempt->slice_hooks++;
    if (attempt->slice_ns == 0) { /* a turn too short for a hook needs no clock at all */
        attempt->slice_ns = now_ns;
        return;
    }
    uint64_t elapsed_ns = now_ns - attempt->slice_ns;
    if (elapsed_ns < SLICE_NS)
        return;
    if (can_yield(L, attempt)) {
        attempt->pause = PAUSE_TURN;
        lua_yield(L, 0);
        return;
    }
    if (attempt->txn && elapsed_ns > STUCK_NS && attempt->slice_hooks > STUCK_HOOKS)
        script_doom(L, DOOM_STUCK);
}

void script_hook_install(lua_State *L) {
    lua_sethook(L, on_count, LUA_MASKCOUNT, HOOK_INSTRUCTIONS);
}

void script_hook_hurry(struct script_vm *vm) {
    if (vm->running)
        lua_sethook(vm->running, on_count, LUA_MASKCOUNT, 1);
}
