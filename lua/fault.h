/* Where in the application's files an error came from, and what those lines say.
 *
 * The files are those that the application keeps in memory, so the lines shown are the lines run.
 * Threads: the VM's. Errors: as said. */
#ifndef CONCAVE_LUA_FAULT_H
#define CONCAVE_LUA_FAULT_H

#include <lua.h>

#include "lua/app.h"
#include "shard/fault.h"

/* True if somebody wants to know (the fault's buffers have room). */
static inline bool script_fault_wanted(const struct fault *fault) {
    return fault->message.max > 0;
}

/* Fills the fault from the error message at index on L and the stack of the coroutine where it was
 * raised, which still stands. In a protected call: allocates in Lua. */
void script_fault_fill(
    lua_State *L, int message, lua_State *co, const struct script_app *app, struct fault *fault);
/* Takes the place of our own Lua code off the error text on top of the stack; anything else stays
 * as it is. Allocates in Lua. */
void script_drop_our_place(lua_State *L);
/* The message handler of a load: an error that tells no place, or is no text, gets the place where
 * it was raised. */
int script_tell_place(lua_State *L);
/* One that has no place in the code. */
void script_fault_plain(struct fault *fault, const char *message);

#endif
