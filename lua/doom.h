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

/* A stretch of C code that nothing can interrupt, looked at from inside every now and then. */
struct stretch {
    uint64_t started_ns; /* 0: not looked at yet */
    unsigned looks;
    unsigned looks_min; /* fewer are never too many, whatever the clock says */
};
/* Dooms the attempt if its budget is used up or the stretch has lasted too long. */
void script_stretch_look(lua_State *L, struct stretch *stretch);

/* For C code that works long and can pause: whether it should now, by script_give_way. Where it
 * cannot, false, and this is a look at the stretch. Dooms as that does. */
bool script_turn_over(lua_State *L, struct stretch *stretch);
/* Yields to the loop and goes on in k(L, LUA_YIELD, 0), with the stack as it is. The result is the
 * caller's result. After script_turn_over has said so. */
int script_give_way(lua_State *L, lua_KFunction k);

/* Prepares preemption: for all coroutines of a fresh state, or for one that is resumed, which may
 * have last run when there was less in memory. */
void script_hook_install(lua_State *L);
/* Lets the hook look at the clock before the next instruction: for C code that has done much at
 * once. Safe at any time. */
void script_hook_hurry(struct script_vm *vm);

#endif
