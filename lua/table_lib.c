/* The table library with bounds: its C functions walk whole index ranges without a look at the
 * clock, and metamethods can make such a range as long as they like. sort is written in Lua, so
 * that it can be preempted and its comparison can wait for a key. */
#include "lua/doom.h"
#include "lua/prelude.h"
#include "lua/sandbox.h"

/* The longest range: some tens of milliseconds. After one that is worth a hook the clock is looked
 * at: in a loop around such calls there are hundreds of them from hook to hook. */
#define SPAN_MAX ((lua_Integer)1 << 22)
#define SPAN_HURRY ((lua_Unsigned)4096)

static void check_span(lua_State *L, const char *name, lua_Integer first, lua_Integer last) {
    lua_Unsigned span = first <= last ? (lua_Unsigned)last - (lua_Unsigned)first : 0;
    if (span >= (lua_Unsigned)SPAN_MAX)
        luaL_error(L, "table.%s: more than %d elements", name, (int)SPAN_MAX);
    if (span >= SPAN_HURRY)
        script_hook_hurry(script_vm_of(L));
}

/* Calls the library's own function, upvalue 1, with what is on the stack. */
static int call_original(lua_State *L) {
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

static int lib_concat(lua_State *L) {
    luaL_checkany(L, 1);
    lua_Integer first = luaL_optinteger(L, 3, 1);
    lua_Integer last = lua_isnoneornil(L, 4) ? luaL_len(L, 1) : luaL_checkinteger(L, 4);
    check_span(L, "concat", first, last);
    return call_original(L);
}

static int lib_move(lua_State *L) {
    check_span(L, "move", luaL_checkinteger(L, 2), luaL_checkinteger(L, 3));
    return call_original(L);
}

static int lib_insert(lua_State *L) {
    luaL_checkany(L, 1);
    if (lua_gettop(L) == 3)
        check_span(L, "insert", luaL_checkinteger(L, 2), luaL_len(L, 1));
    return call_original(L);
}

static int lib_remove(lua_State *L) {
    luaL_checkany(L, 1);
    if (!lua_isnoneornil(L, 2))
        check_span(L, "remove", luaL_checkinteger(L, 2), luaL_len(L, 1));
    return call_original(L);
}

void script_open_tables(lua_State *L) {
    static const luaL_Reg bounded[] = {{"concat", lib_concat}, {"move", lib_move},
        {"insert", lib_insert}, {"remove", lib_remove}, {NULL, NULL}};
    lua_getfield(L, -1, "table");
    for (const luaL_Reg *entry = bounded; entry->name; entry++) {
        lua_getfield(L, -1, entry->name);
        lua_pushcclosure(L, entry->func, 1);
        lua_setfield(L, -2, entry->name);
    }
    lua_getfield(L, -1, "sort");
    script_push_sort(L);
    lua_setfield(L, -2, "sort");
    lua_pop(L, 1);
}
