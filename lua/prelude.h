/* Library functions that call back into the application or take long, written in Lua: a C function
 * in between could neither be preempted nor wait for a key. Threads: the VM's. Errors: Lua errors.
 */
#ifndef CONCAVE_LUA_PRELUDE_H
#define CONCAVE_LUA_PRELUDE_H

#include <lua.h>

/* Replaces the library's sort and a function is_simple(list, count) on top of the stack by ours. */
void script_push_sort(lua_State *L);
/* Replaces find on top of the stack by gsub for functions: its arguments are two strings, a
 * function and an integer. */
void script_push_gsub(lua_State *L);
/* Replaces the library's utf8.len on top of the stack by one that counts in pieces: its arguments
 * are the text, first and last position in it, lax, and the bytes of a piece. */
void script_push_utf8_len(lua_State *L);
/* Replaces a function span(name, first, last), which refuses too long a range, on top of the stack
 * by a table of the table library's functions for what has a metatable or is long. */
void script_push_table_functions(lua_State *L);

#endif
