/* Lua values out: as MessagePack for the store, as JSON for replies.
 *
 * A table with the keys 1..n is an array, one with string keys an object; json.array and
 * json.object mark a table as one or the other, and an empty table without a mark is an object.
 * Members are written in byte order of their names, so equal values give equal bytes in every VM.
 * Threads: the VM's.
 * Errors: Lua errors that name the place: "value.items[3].price: not a number (NaN)". A value that
 * takes too long (lua/doom.h) dooms the attempt; one that is larger than the VM's memory is an
 * error. */
#ifndef CONCAVE_LUA_ENCODE_H
#define CONCAVE_LUA_ENCODE_H

#include <lua.h>

#include "core/buf.h"

enum script_format { SCRIPT_MSGPACK, SCRIPT_JSON };

/* Appends the value at index to out. depth_max counts tables inside each other; `root` is the
 * value's name in errors. The caller looks at buf_ok(out) afterwards. */
void script_encode(lua_State *L, int index, enum script_format format, unsigned depth_max,
    const char *root, struct buf *out);

#endif
