/* Library functions that call back into the application, written in Lua: a C function in between
 * could neither be preempted nor wait for a key. Threads: the VM's. Errors: Lua errors. */
#ifndef CONCAVE_LUA_PRELUDE_H
#define CONCAVE_LUA_PRELUDE_H

#include <lua.h>

/* Replaces the library's sort on top of the stack by ours. */
void script_push_sort(lua_State *L);
/* Replaces gsub (for strings and tables) and find on top of the stack by the whole gsub. */
void script_push_gsub(lua_State *L);

#endif
