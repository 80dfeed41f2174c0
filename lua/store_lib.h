/* What the store calls share: checking keys, and turning statuses into Lua errors.
 * Threads: the VM's. Errors: Lua errors. */
#ifndef CONCAVE_LUA_STORE_LIB_H
#define CONCAVE_LUA_STORE_LIB_H

#include "lua/vm.h"

/* Raises the error for a status that a txn_ call gave for a key. Dooms the attempt for ST_DOOMED
 * and ST_NOMEM. `call` is the name in the text; key may be empty. */
_Noreturn void script_store_failed(
    lua_State *L, const char *call, struct slice key, enum status status);

/* True if the error on top of the attempt's coroutine is that its transaction is too large. */
bool script_was_too_large(struct attempt *attempt);

#endif
