/* Ends that nothing in the application can catch, and stretches that cannot be interrupted.
 *
 * A doomed attempt carries a mark. It leaves its coroutine by a yield that is never resumed. Where
 * it cannot yield, an error unwinds it, a light userdata of ours, up to where it can; our pcall,
 * xpcall and coroutine functions look at the mark, not at the error, and so does every store call
 * and hook. So no handler, coroutine, __close or error object keeps it alive.
 *
 * Threads: the VM's. Errors: these raise Lua errors; they do not return. */
#ifndef CONCAVE_LUA_DOOM_H
#define CONCAVE_LUA_DOOM_H

#include "lua/vm.h"

/* Marks the running attempt and unwinds. The first reason stays. */
_Noreturn void script_doom(lua_State *L, enum doom why);
/* Unwinds if the running attempt is marked. */
void script_check_doom(lua_State *L);

/* The running attempt, for calls that need a transaction: `what` names the call in the error of one
 * made while the application loads. Unwinds if doomed. */
struct attempt *script_attempt(lua_State *L, const char *what);

/* A store call was answered ST_PENDING: yields to the loop and goes on in k(L, LUA_YIELD, ctx), or
 * dooms the attempt to run again where yielding is impossible. The result is the caller's result.
 */
int script_wait(lua_State *L, lua_KContext ctx, lua_KFunction k);

/* ---- work that no hook sees ----
 *
 * C functions count what they do in units of some nanoseconds. The count runs on from one function
 * to the next until a hook sees the attempt again: a metamethod may be a C function too, and then a
 * million calls of it are one stretch. */
#define SCRIPT_WORK_PER_LOOK 65536u

/* Looks at the clock: dooms the attempt if its budget is used up, or if the stretch has lasted too
 * long in more than looks_min looks; else brings the next hook forward. C code that rests whenever
 * it is tired is no such stretch: SCRIPT_LOOKS_ENDLESS. */
#define SCRIPT_LOOKS_ENDLESS UINT32_MAX
void script_work_look(lua_State *L, unsigned looks_min);
/* True where script_rest is possible. */
bool script_can_rest(lua_State *L);
/* True if C code that could go on for long should let others have a turn, which it can. */
bool script_tired(lua_State *L);
/* Lets them: goes on in k(L, LUA_YIELD, ctx). The result is the caller's result. */
int script_rest(lua_State *L, lua_KContext ctx, lua_KFunction k);
/* Counts units of work, and looks at the clock every now and then. */
static inline void script_work(lua_State *L, size_t units) {
    struct attempt *attempt = script_vm_of(L)->current;
    attempt->work += units;
    if (attempt->work >= SCRIPT_WORK_PER_LOOK)
        script_work_look(L, 0);
}

/* One turn: resumes the attempt's coroutine with the arguments on its stack, preempted after its
 * slice of time, which begins at attempt->slice_ns. As lua_resume; why it yielded is in
 * attempt->pause. */
int script_turn(struct attempt *attempt, int arguments);

/* Prepares preemption: for all coroutines of a fresh state, or for one that is resumed, which may
 * have last run when there was less in memory. */
void script_hook_install(lua_State *L);
/* Lets the hook look at the clock before the next instruction: for C code that has done much at
 * once. Safe at any time. */
void script_hook_hurry(struct script_vm *vm);

#endif
