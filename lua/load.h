/* Loading an application into a fresh Lua state: route, on, require, and sealing the globals.
 *
 * The first load of all (app->learning) notes routes and files in the application; every later one
 * must declare the same routes, in any order, and only looks their functions up.
 * Threads: the VM's. Errors: Lua errors with file:line. */
#ifndef CONCAVE_LUA_LOAD_H
#define CONCAVE_LUA_LOAD_H

#include <lua.h>

/* A C function to be called on a fresh state: opens the libraries, runs the application's file,
 * seals the globals. */
int script_load(lua_State *L);

/* Adds route, on and require to the table of globals on top of the stack. */
void script_open_load(lua_State *L);

#endif
