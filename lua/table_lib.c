/* The table library with bounds: its C functions walk whole index ranges without a look at the
 * clock, and metamethods can make such a range, and each step in it, as long as they like.
 *
 * A short range of a table without a metatable is the library's own. All else is done in Lua
 * (lua/prelude.c): there the hook sees it, it can be preempted, and a metamethod can wait for a
 * key. sort always is, for the sake of its comparison. */
#include "lua/doom.h"
#include "lua/prelude.h"
#include "lua/sandbox.h"

#define SPAN_MAX ((lua_Integer)1 << 22)
#define SPAN_SHORT ((lua_Unsigned)4096)
#define UNITS_PER_ELEMENT 4u /* of work (lua/doom.h) */

/* The number of elements less one; refuses ranges that are too long. */
static lua_Unsigned span_of(lua_State *L, const char *name, lua_Integer first, lua_Integer last) {
    lua_Unsigned span = first <= last ? (lua_Unsigned)last - (lua_Unsigned)first : 0;
    if (span >= (lua_Unsigned)SPAN_MAX)
        luaL_error(L, "table.%s: more than %d elements", name, (int)SPAN_MAX);
    return span;
}

/* For the functions in Lua: span(name, first, last). */
static int check_span(lua_State *L) {
    lua_Integer first = luaL_checkinteger(L, 2), last = luaL_checkinteger(L, 3);
    if (first <= last && (lua_Unsigned)last - (lua_Unsigned)first >= (lua_Unsigned)SPAN_MAX) {
        luaL_where(L, 3); /* whose call reached the function in Lua through ours */
        lua_pushfstring(L, "table.%s: more than %d elements", lua_tostring(L, 1), (int)SPAN_MAX);
        lua_concat(L, 2);
        return lua_error(L);
    }
    return 0;
}

/* A table without metamethods, or something that the library will refuse. */
static bool is_plain(lua_State *L, int index) {
    if (!lua_istable(L, index) || !lua_getmetatable(L, index))
        return true;
    const struct script_vm *vm = script_vm_of(L);
    const void *meta = lua_topointer(L, -1);
    lua_pop(L, 1);
    return meta == vm->array_mark || meta == vm->object_mark;
}

/* For sort: true if the first count elements of a list are all numbers or all strings, so that to
 * compare them runs nobody's code. */
static int is_simple(lua_State *L) {
    lua_Integer count = luaL_checkinteger(L, 2);
    int type = LUA_TNIL;
    bool simple = lua_istable(L, 1) && is_plain(L, 1);
    for (lua_Integer i = 1; simple && i <= count; i++) {
        int next = lua_rawgeti(L, 1, i);
        lua_pop(L, 1);
        simple = (next == LUA_TNUMBER || next == LUA_TSTRING) && (i == 1 || next == type);
        type = next;
    }
    lua_pushboolean(L, simple);
    return 1;
}

static int finish(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    return lua_gettop(L);
}

/* Calls the library's function (upvalue 1), or the one in Lua (upvalue 2), with what is on the
 * stack. The library's goes on in the same frame, so that its errors name it and the place of the
 * call; none of them waits. */
static int call(lua_State *L, bool library) {
    if (library)
        return lua_tocfunction(L, lua_upvalueindex(1))(L);
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_insert(L, 1);
    lua_callk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, finish);
    return finish(L, LUA_OK, 0);
}

/* As call, for a table with `plain`: by the library if its range is short. */
static int call_for(
    lua_State *L, const char *name, bool plain, lua_Integer first, lua_Integer last) {
    if (!plain)
        return call(L, false);
    if (!lua_istable(L, 1))
        return call(L, true);
    lua_Unsigned span = span_of(L, name, first, last);
    script_work(L, UNITS_PER_ELEMENT * (size_t)span);
    return call(L, span < SPAN_SHORT);
}

/* The integer at index, which then is one there too: the functions in Lua only compare. */
static lua_Integer take_integer(lua_State *L, int index) {
    lua_Integer number = luaL_checkinteger(L, index);
    if (!lua_isinteger(L, index)) {
        lua_pushinteger(L, number);
        lua_replace(L, index);
    }
    return number;
}

/* As that, for one that may be left out. */
static lua_Integer take_optional(lua_State *L, int index, lua_Integer other) {
    return lua_isnoneornil(L, index) ? other : take_integer(L, index);
}

static lua_Integer raw_len(lua_State *L) {
    return lua_istable(L, 1) ? (lua_Integer)lua_rawlen(L, 1) : 0;
}

static int lib_concat(lua_State *L) {
    luaL_checkany(L, 1);
    (void)luaL_optstring(L, 2, "");
    bool plain = is_plain(L, 1);
    lua_Integer first = take_optional(L, 3, 1), last = take_optional(L, 4, plain ? raw_len(L) : 0);
    return call_for(L, "concat", plain, first, last);
}

static int lib_move(lua_State *L) {
    lua_Integer first = take_integer(L, 2), last = take_integer(L, 3);
    (void)take_integer(L, 4);
    bool two = !lua_isnoneornil(L, 5);
    return call_for(L, "move", is_plain(L, 1) && (!two || is_plain(L, 5)), first, last);
}

static int lib_insert(lua_State *L) {
    luaL_checkany(L, 1);
    bool plain = is_plain(L, 1);
    lua_Integer len = plain ? raw_len(L) : 0;
    if (lua_gettop(L) != 3)
        return call(L, true); /* at the end: one step */
    return call_for(L, "insert", plain, take_integer(L, 2), len);
}

static int lib_remove(lua_State *L) {
    luaL_checkany(L, 1);
    if (lua_isnoneornil(L, 2))
        return call(L, true);
    bool plain = is_plain(L, 1);
    return call_for(L, "remove", plain, take_integer(L, 2), plain ? raw_len(L) : 0);
}

/* The results must fit on the stack: that is bound enough. */
static int lib_unpack(lua_State *L) {
    bool plain = is_plain(L, 1);
    lua_Integer first = take_optional(L, 2, 1), last = take_optional(L, 3, plain ? raw_len(L) : 0);
    if (plain && first <= last)
        script_work(L, ((size_t)last - (size_t)first) % LUAI_MAXSTACK);
    return call(L, plain);
}

void script_open_tables(lua_State *L) {
    static const luaL_Reg bounded[] = {{"concat", lib_concat}, {"move", lib_move},
        {"insert", lib_insert}, {"remove", lib_remove}, {"unpack", lib_unpack}, {NULL, NULL}};
    lua_pushcfunction(L, check_span);
    script_push_table_functions(L);
    lua_getfield(L, -2, "table");
    for (const luaL_Reg *entry = bounded; entry->name; entry++) {
        lua_getfield(L, -1, entry->name);
        lua_getfield(L, -3, entry->name);
        lua_pushcclosure(L, entry->func, 2);
        lua_setfield(L, -2, entry->name);
    }
    lua_getfield(L, -1, "sort");
    lua_pushcfunction(L, is_simple);
    script_push_sort(L);
    lua_setfield(L, -2, "sort");
    lua_pop(L, 2);
}
