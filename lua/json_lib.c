#include "lua/json_lib.h"

#include "lua/decode.h"
#include "lua/encode.h"
#include "lua/sandbox.h"

static const char null_value;

void *script_null(void) {
    return (void *)&null_value;
}

bool script_is_null(lua_State *L, int index) {
    return lua_touserdata(L, index) == &null_value;
}

static int lib_encode(lua_State *L) {
    luaL_checkany(L, 1);
    struct buf *scratch = &script_vm_of(L)->scratch;
    buf_reset(scratch, SCRIPT_SCRATCH_KEEP);
    if (lua_isnil(L, 1))
        lua_pushlightuserdata(L, script_null());
    else
        lua_pushvalue(L, 1);
    script_encode(L, -1, SCRIPT_JSON, JSON_READER_DEPTH_MAX, "value", scratch);
    if (!buf_ok(scratch))
        return luaL_error(L, "json.encode: out of memory");
    lua_pushlstring(L, scratch->data, scratch->len);
    return 1;
}

static int decode_argument(lua_State *L) {
    struct slice text;
    text.data = lua_tolstring(L, 1, &text.len); /* stays: the argument does */
    return script_decode_json(L, text);
}

static int end_decode(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    if (lua_isnil(L, 2))
        return luaL_error(
            L, "json.decode: %s at byte %I", lua_tostring(L, 3), (LUAI_UACINT)lua_tointeger(L, 4));
    lua_settop(L, 2);
    return 1;
}

static int lib_decode(lua_State *L) {
    (void)luaL_checkstring(L, 1);
    lua_settop(L, 1);
    lua_pushcfunction(L, decode_argument);
    lua_pushvalue(L, 1);
    lua_callk(L, 1, 3, 0, end_decode);
    return end_decode(L, LUA_OK, 0);
}

static int mark(lua_State *L, int meta) {
    if (lua_isnone(L, 1))
        lua_newtable(L);
    luaL_checktype(L, 1, LUA_TTABLE);
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
        return luaL_error(L, "cannot change a protected metatable");
    lua_settop(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, meta);
    lua_setmetatable(L, 1);
    return 1;
}

static int lib_array(lua_State *L) {
    return mark(L, script_vm_of(L)->array_meta);
}

static int lib_object(lua_State *L) {
    return mark(L, script_vm_of(L)->object_meta);
}

static int make_mark(lua_State *L, const void **address) {
    lua_newtable(L);
    *address = lua_topointer(L, -1);
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

void script_open_json(lua_State *L) {
    static const luaL_Reg functions[] = {{"encode", lib_encode}, {"decode", lib_decode},
        {"array", lib_array}, {"object", lib_object}, {NULL, NULL}};
    struct script_vm *vm = script_vm_of(L);
    vm->array_meta = make_mark(L, &vm->array_mark);
    vm->object_meta = make_mark(L, &vm->object_mark);
    luaL_newlib(L, functions);
    lua_pushlightuserdata(L, script_null());
    lua_setfield(L, -2, "null");
    lua_setfield(L, -2, "json");
}
