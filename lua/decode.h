/* Lua values in: from stored MessagePack and from JSON, straight to tables.
 *
 * Arrays get json.array's mark, so that an empty one stays an array. null inside a value is
 * json.null. Threads: the VM's. Errors: Lua errors (memory), and as said. */
#ifndef CONCAVE_LUA_DECODE_H
#define CONCAVE_LUA_DECODE_H

#include <lua.h>

#include "core/json_read.h"

/* Pushes a stored value. */
void script_push_value(lua_State *L, struct slice value);

/* Decodes a whole JSON text, and lets others have a turn if it is long. To be called at the end of
 * a C function that was called for this: the results are that function's: the value; or nil, what
 * is wrong, and the byte where. The text must stay where it is until then. */
int script_decode_json(lua_State *L, struct slice text);

#endif
