/* The part of tests that is written in Lua: call, expect, and the store outside of transactions.
 * Threads: the VM's. Errors: Lua errors. */
#ifndef CONCAVE_LUA_TEST_PRELUDE_H
#define CONCAVE_LUA_TEST_PRELUDE_H

#include <lua.h>

/* Sets the globals, given the table of native functions on top of the stack, which stays. */
void script_run_test_prelude(lua_State *L);

#endif
