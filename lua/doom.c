#include "lua/doom.h"

#include "core/clock.h"

/* The price of a hook is a clock reading, 25 ns; an instruction takes about 5 ns, unless it works
 * on something large: comparing two strings of 16 MB takes milliseconds. So past this many bytes in
 * large blocks there are fewer instructions between hooks, in proportion. */
#define HOOK_INSTRUCTIONS 4096
#define HOOK_LARGE_BYTES ((size_t)128 << 10)
#define HOOK_CAREFUL 256u
/* The collector's pace in percent (Lua 5.4 manual, 2.5.1): Lua's defaults, and ours near the cap.
 */
#define GC_PAUSE_PERCENT 200
#define GC_PAUSE_MIN_PERCENT 110
#define GC_STEP_PERCENT 100
#define GC_STEP_FULL_PERCENT 800
#define SLICE_NS NS_PER_MS
/* The longest stretch that cannot yield, by the clock and in hooks: the clock alone would blame the
 * script when the machine was busy elsewhere. */
#define STUCK_NS (10 * NS_PER_MS)
#define STUCK_HOOKS 64u
/* Of the time from one hook or look to the next no more than this counts: they are some
 * microseconds apart, and what takes milliseconds again and again has too many of them soon. A
 * thread that was held up once, for however long, is no script that runs too long. */
#define STALL_NS NS_PER_MS
#define LOOKS_MIN 24u

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

static uint64_t busy_ns(uint64_t took_ns) {
    return took_ns < STALL_NS ? took_ns : STALL_NS;
}

void script_work_look(lua_State *L, unsigned looks_min) {
    struct script_vm *vm = script_vm_of(L);
    struct attempt *attempt = vm->current;
    uint64_t now_ns = clock_monotonic_ns();
    attempt->work = 0;
    if (now_ns >= attempt->deadline_ns || is_unwanted(attempt))
        script_doom(L, DOOM_TIMEOUT);
    attempt->looks_busy_ns =
        attempt->looks == 0 ? 0 : attempt->looks_busy_ns + busy_ns(now_ns - attempt->looked_ns);
    attempt->looks++;
    attempt->looked_ns = now_ns;
    if (looks_min < LOOKS_MIN)
        looks_min = LOOKS_MIN;
    if (attempt->txn && attempt->looks > looks_min && attempt->looks_busy_ns > STUCK_NS)
        script_doom(L, DOOM_STUCK);
    script_hook_hurry(vm);
}

/* Lua's collector begins a cycle when memory has doubled, whatever the cap; past half of that it
 * would never begin one. Then each allocation that fails runs a whole cycle at once (or, for the
 * auxiliary library's buffers, none: it is an error). So the fuller the heap, the earlier a cycle
 * begins and the more of it each allocation does. */
static void pace_collector(lua_State *L, struct script_vm *vm) {
    size_t max = vm->heap.bytes_max, bytes = vm->heap.bytes;
    size_t moved = bytes > vm->tuned_bytes ? bytes - vm->tuned_bytes : vm->tuned_bytes - bytes;
    if (moved < max / 64)
        return;
    vm->tuned_bytes = bytes;
    int pause = GC_PAUSE_PERCENT, step = GC_STEP_PERCENT;
    if (bytes > max / 3) {
        size_t used = ((size_t)lua_gc(L, LUA_GCCOUNT) << 10) + 1;
        size_t percent = max / 4 * 3 * 100 / used;
        pause = percent > GC_PAUSE_PERCENT ? GC_PAUSE_PERCENT : (int)percent;
        pause = pause < GC_PAUSE_MIN_PERCENT ? GC_PAUSE_MIN_PERCENT : pause;
        step = GC_STEP_FULL_PERCENT;
    }
    (void)lua_gc(L, LUA_GCINC, pause, step, 0);
}

bool script_can_rest(lua_State *L) {
    const struct attempt *attempt = script_vm_of(L)->current;
    return attempt->slice_ns != 0 && can_yield(L, attempt);
}

bool script_tired(lua_State *L) {
    return script_can_rest(L) &&
           clock_monotonic_ns() - script_vm_of(L)->current->slice_ns >= SLICE_NS;
}

int script_rest(lua_State *L, lua_KContext ctx, lua_KFunction k) {
    script_vm_of(L)->current->pause = PAUSE_TURN;
    return lua_yieldk(L, 0, ctx, k);
}

static unsigned hook_instructions_max(const struct script_vm *vm) {
    size_t times = heap_large_bytes(&vm->heap) / HOOK_LARGE_BYTES;
    if (times <= 1)
        return HOOK_INSTRUCTIONS;
    return times < HOOK_INSTRUCTIONS ? (unsigned)(HOOK_INSTRUCTIONS / times) : 1;
}

/* Decides when the next hook comes, by what the last stretch took. An instruction may be a lookup
 * through 2000 metatables, or the comparison of long texts. So an attempt begins with short
 * stretches that double; one that took too long was a surprise, and the attempt gets no long ones
 * any more. */
static void pace(struct attempt *attempt, uint64_t now_ns) {
    uint64_t took_ns = now_ns - attempt->hook_ns;
    unsigned max = hook_instructions_max(attempt->vm);
    attempt->looks = 0;
    attempt->work = 0;
    if (attempt->hook_ns == 0) {
        took_ns = 0;
    } else if (took_ns > 2 * SLICE_NS) {
        attempt->hook_careful = true;
        attempt->hook_count = (unsigned)(attempt->hook_count * SLICE_NS / 2 / took_ns) + 1;
    }
    attempt->hook_ns = now_ns;
    attempt->slice_busy_ns += busy_ns(took_ns);
    if (attempt->hook_careful && max > HOOK_CAREFUL)
        max = HOOK_CAREFUL;
    if (took_ns < SLICE_NS / 4)
        attempt->hook_count *= 2;
    if (attempt->hook_count > max)
        attempt->hook_count = max;
}

/* Every so many instructions, or at the next one after script_hook_hurry. */
static void on_count(lua_State *L, lua_Debug *debug) {
    (void)debug;
    struct attempt *attempt = script_vm_of(L)->current;
    uint64_t now_ns = clock_monotonic_ns();
    pace(attempt, now_ns);
    pace_collector(L, attempt->vm);
    script_hook_install(L);
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
    if (attempt->txn && attempt->slice_busy_ns > STUCK_NS && attempt->slice_hooks > STUCK_HOOKS)
        script_doom(L, DOOM_STUCK);
}

void script_hook_install(lua_State *L) {
    const struct attempt *attempt = script_vm_of(L)->current;
    int count = attempt && attempt->hook_count ? (int)attempt->hook_count : HOOK_INSTRUCTIONS;
    if (lua_gethookcount(L) != count) /* setting it walks the whole stack */
        lua_sethook(L, on_count, LUA_MASKCOUNT, count);
}

void script_hook_hurry(struct script_vm *vm) {
    if (vm->running)
        lua_sethook(vm->running, on_count, LUA_MASKCOUNT, 1);
}

/* Its slice of time counts from now. */
static void begin_turn(struct attempt *attempt) {
    const struct script_vm *vm = attempt->vm;
    if (attempt->hook_count == 0)
        attempt->hook_count = hook_instructions_max(vm) / 8 + 1;
    attempt->slice_hooks = 0;
    attempt->slice_busy_ns = 0;
    attempt->looks = 0;
    attempt->work = 0;
    attempt->slice_ns = attempt->hook_ns = clock_monotonic_ns();
}

int script_turn(struct attempt *attempt, int arguments) {
    struct script_vm *vm = attempt->vm;
    lua_State *co = attempt->thread.state;
    int results;
    attempt->pause = PAUSE_NONE;
    attempt->parked_count = 0;
    vm->current = attempt;
    vm->running = co;
    begin_turn(attempt);
    script_hook_install(co);
    int status = lua_resume(co, vm->lua, arguments, &results);
    vm->running = NULL;
    vm->current = NULL;
    return status;
}
