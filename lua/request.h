/* args and req, made from the request for each attempt afresh.
 *
 * req is filled field by field when they are looked at; most handlers need only args.
 * Threads: the VM's. Errors: Lua errors (memory), and as said. */
#ifndef CONCAVE_LUA_REQUEST_H
#define CONCAVE_LUA_REQUEST_H

#include "lua/vm.h"

/* A C function: the results of script_decode_json for the body of the running request, or nothing
 * if that is no JSON. */
int script_decode_body(lua_State *L);
/* Pushes args; at index 1 are the results of script_decode_body. False, with a 400 in the call's
 * reply and nothing pushed, if the body or the query is not what it claims to be. */
bool script_push_args(lua_State *L, struct call *call);
/* Pushes req and notes it in the attempt. */
void script_push_req(lua_State *L, struct attempt *attempt);

#endif
