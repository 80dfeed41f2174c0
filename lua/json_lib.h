/* json.*: null, and the marks by which a table stays an array or an object.
 *
 * A mark is one of two metatables of the VM, empty, which getmetatable does not show.
 * Threads: the VM's. */
#ifndef CONCAVE_LUA_JSON_LIB_H
#define CONCAVE_LUA_JSON_LIB_H

#include "lua/vm.h"

/* json.null is a light userdata with this address. */
void *script_null(void);
/* True if the value at index is json.null. */
bool script_is_null(lua_State *L, int index);

/* Marks the table on top of the stack as an array. */
static inline void script_mark_array(lua_State *L) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, script_vm_of(L)->array_meta);
    lua_setmetatable(L, -2);
}

#endif
