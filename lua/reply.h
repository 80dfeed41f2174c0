/* What a handler returns, checked and turned into the call's reply.
 * Threads: the VM's. Errors: Lua errors that say what is wrong with the reply. */
#ifndef CONCAVE_LUA_REPLY_H
#define CONCAVE_LUA_REPLY_H

#include "lua/vm.h"

/* Makes call->reply from status, body and headers at index first, first + 1 and first + 2 (missing
 * ones are nil), for a route of this kind. */
void script_make_reply(lua_State *L, int first, enum route_kind kind, struct reply *reply);

/* The 400 that the platform answers before the handler runs: {"error": text, "code": code}, or a
 * page for a client that likes HTML better. */
void script_refuse(struct call *call, const char *code, const char *text);

#endif
