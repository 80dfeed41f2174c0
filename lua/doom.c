#include "lua/doom.h"

#include "core/clock.h"

/* The price of a hook is a clock reading, 25 ns; an instruction takes about 5 ns, unless it works
 * on something large: comparing two strings of 16 MB takes milliseconds. So past this many bytes in
 * large blocks there are fewer instructions between hooks, in proportion. */
#define HOOK_INSTRUCTIONS 4096
#define HOOK_LARGE_BYTES ((size_t)128 << 10)
#define SLICE_NS NS_PER_MS
/* The longest stretch that cannot yield, by the clock and in hooks: the clock alone would blame the
 * script when the machine was busy elsewhere. */
#define STUCK_NS (10 * NS_PER_MS)
#define STUCK_HOOKS 64u

static const char doomed; /* its address is the error object */

static bool can_yield(lua_State *L, const struct attempt *attempt) {
    return lua_isyieldable(L) && attempt->pinned == 0;
}

/* Leaves for good. Where the coroutine can yield it does, and is never resumed: that takes no time
 * and runs none of the application's code. An error would stop at every pcall on the way, each of
 * which walks the whole stack; a hundred thousand of them, one inside the other, took a minute. */
static _Noreturn void unwind(lua_State *L) {
    if (can_yield(L, script_vm_of(L)->current))
        lua_yield(L, 0); /* from a C function this does not return */
    lua_pushlightuserdata(L, (void *)&doomed);
    lua_error(L);
    __builtin_unreachable();
}

/* The same for the hook, where lua_yield returns and acts when the hook does. */
static void unwind_hook(lua_State *L) {
    if (can_yield(L, script_vm_of(L)->current))
        lua_yield(L, 0);
    else
        unwind(L);
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

int script_wait(lua_State *L, lua_KContext ctx, lua_KFunction k) {
    struct attempt *attempt = script_vm_of(L)->current;
    if (!can_yield(L, attempt))
        script_doom(L, DOOM_RERUN);
    attempt->pause = PAUSE_WAIT;
    return lua_yieldk(L, 0, ctx, k);
}

/* Nobody waits for its end any more: of a call, or of a load. */
static bool is_unwanted(const struct attempt *attempt) {
    const struct script_app *app = attempt->vm->app;
    return attempt->call ? call_abandoned(attempt->call)
                         : attempt->vm->creating && app->stopped && app->stopped(app->ctx);
}

void script_stretch_look(lua_State *L, struct stretch *stretch) {
    struct attempt *attempt = script_vm_of(L)->current;
    uint64_t now_ns = clock_monotonic_ns();
    if (now_ns >= attempt->deadline_ns || is_unwanted(attempt))
        script_doom(L, DOOM_TIMEOUT);
    if (stretch->looks++ == 0)
        stretch->started_ns = now_ns;
    if (stretch->looks > stretch->looks_min && now_ns - stretch->started_ns > STUCK_NS)
        script_doom(L, DOOM_STUCK);
}

bool script_turn_over(lua_State *L, struct stretch *stretch) {
    struct attempt *attempt = script_vm_of(L)->current;
    script_check_doom(L);
    if (attempt->txn && !can_yield(L, attempt)) {
        script_stretch_look(L, stretch);
        return false;
    }
    uint64_t now_ns = clock_monotonic_ns();
    if (now_ns >= attempt->deadline_ns)
        script_doom(L, DOOM_TIMEOUT);
    return attempt->txn && now_ns - attempt->slice_ns >= SLICE_NS; /* a load is not shared */
}

int script_give_way(lua_State *L, lua_KFunction k) {
    script_vm_of(L)->current->pause = PAUSE_TURN;
    return lua_yieldk(L, 0, 0, k);
}

/* Every HOOK_INSTRUCTIONS instructions, or at the next one after script_hook_hurry. */
static void on_count(lua_State *L, lua_Debug *debug) {
    (void)debug;
    struct attempt *attempt = script_vm_of(L)->current;
    script_hook_install(L); /* the count may have been hurried */
    uint64_t now_ns = clock_monotonic_ns();
    if (attempt->doom == DOOM_NONE && (now_ns >= attempt->deadline_ns || is_unwanted(attempt)))
        attempt->doom = DOOM_TIMEOUT;
    if (attempt->doom != DOOM_NONE) {
        unwind_hook(L);
        return;
    }
    attempt->slice_hooks++;
    if (attempt->slice_ns == 0) { /* while loading */
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

static int hook_instructions(const struct script_vm *vm) {
    size_t times = heap_large_bytes(&vm->heap) / HOOK_LARGE_BYTES;
    if (times <= 1)
        return HOOK_INSTRUCTIONS;
    return times < HOOK_INSTRUCTIONS ? (int)(HOOK_INSTRUCTIONS / times) : 1;
}

void script_hook_install(lua_State *L) {
    int count = hook_instructions(script_vm_of(L));
    if (lua_gethookcount(L) != count) /* setting it walks the whole stack */
        lua_sethook(L, on_count, LUA_MASKCOUNT, count);
}

void script_hook_hurry(struct script_vm *vm) {
    if (vm->running)
        lua_sethook(vm->running, on_count, LUA_MASKCOUNT, 1);
}
