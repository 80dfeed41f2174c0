/* What a handler returns, checked and turned into the call's reply.
 * Threads: the VM's. Errors: Lua errors that say what is wrong with the reply. */
#ifndef CONCAVE_LUA_REPLY_H
#define CONCAVE_LUA_REPLY_H

#include "lua/vm.h"

/* Makes call->reply from status, body and headers at index first, first + 1 and first + 2 (missing
 * ones are nil), for a route of this kind. */
void script_make_reply(lua_State *L, int first, enum route_kind kind, struct reply *reply);

/* A reply that the platform makes before the handler runs: {"error": text, "code": code}. */
void script_error_reply(struct reply *reply, int status, const char *code, const char *text);

#endif
