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

/* Pushes the JSON value whose first token was `first`; false with reader->error set (and the stack
 * as it was, or with one value too many) if the text is not JSON. */
bool script_push_json(lua_State *L, struct json_reader *reader, enum json_token first);

/* Pushes a whole JSON text; false with reader filled for the message, and nothing pushed. */
bool script_push_json_text(lua_State *L, struct json_reader *reader, struct slice text);

#endif
