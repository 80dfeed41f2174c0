/* The world that an application sees: the standard library without what reaches files, processes,
 * bytecode, the collector or other requests, and our calls beside it.
 *
 * Library tables are read-only from the start, globals from the end of the load on: the real table
 * is hidden behind an empty one whose metatable refuses writes. Threads: the VM's. Errors: Lua
 * errors. */
#ifndef CONCAVE_LUA_SANDBOX_H
#define CONCAVE_LUA_SANDBOX_H

#include <lauxlib.h>
#include <lua.h>

struct attempt;

/* Fills the globals of a fresh state. */
void script_sandbox_open(lua_State *L);
/* Makes the globals read-only. */
void script_sandbox_seal(lua_State *L);

/* Replaces the table on top of the stack by an empty read-only view of it. `what` completes "cannot
 * set 'x': ..." and is a string constant. */
void script_push_readonly(lua_State *L, const char *what);

/* tostring() without addresses: pushes the text of the value at index. May call __tostring. */
void script_push_text(lua_State *L, int index);

/* The place in `names`, which ends with NULL, of the string that is argument `index`. Raises an
 * error that lists them if it is none of them. */
int script_check_choice(lua_State *L, int index, const char *const names[]);

/* ---- the parts; each adds its functions to the table of globals on top of the stack ---- */

/* An attempt that waits is dropped: the application's coroutines that wait with it count as dead.
 * While its machine and its own coroutine still stand. */
void script_leave_coroutines(struct attempt *attempt);
void script_open_control(lua_State *L);  /* pcall, xpcall, coroutine (lua/control_lib.c) */
void script_open_strings(lua_State *L);  /* string (lua/string_lib.c) */
void script_open_patterns(lua_State *L); /* string.find, ... (lua/pattern_lib.c) */
void script_open_tables(lua_State *L);   /* table (lua/table_lib.c) */
void script_open_store(lua_State *L);    /* get, set, ... (lua/store_lib.c) */
void script_open_ranges(lua_State *L);   /* range, prefix (lua/range_lib.c) */
void script_open_json(lua_State *L);     /* json (lua/json_lib.c) */
void script_open_tools(lua_State *L);    /* now, random, log, ... (lua/tools_lib.c) */
void script_open_render(lua_State *L);   /* render (lua/render_lib.c) */
void script_open_reply(lua_State *L);    /* abort, redirect (lua/reply.c) */
void script_open_request(lua_State *L);  /* the metatable of req (lua/request.c) */

#endif
