#include "lua/decode.h"

#include <limits.h>

#include "core/value_read.h"
#include "lua/json_lib.h"
#include "lua/vm.h"

/* ---- stored values ---- */

static _Noreturn void damaged(lua_State *L) {
    luaL_error(L, "stored value is damaged");
    __builtin_unreachable();
}

static void push_item(lua_State *L, struct slice *rest, unsigned depth);

static void push_array(lua_State *L, struct slice *rest, uint32_t count, unsigned depth) {
    lua_createtable(L, (int)count, 0);
    script_mark_array(L);
    for (uint32_t i = 1; i <= count; i++) {
        push_item(L, rest, depth);
        lua_rawseti(L, -2, i);
    }
}

static void push_map(lua_State *L, struct slice *rest, uint32_t count, unsigned depth) {
    lua_createtable(L, 0, (int)count);
    for (uint32_t i = 0; i < count; i++) {
        struct value_item name;
        if (!value_read(rest, &name) || name.kind != VALUE_STRING)
            damaged(L);
        lua_pushlstring(L, name.string.data, name.string.len);
        push_item(L, rest, depth);
        lua_rawset(L, -3);
    }
}

static void push_table(
    lua_State *L, struct slice *rest, const struct value_item *item, unsigned depth) {
    if (depth == JSON_VALUE_DEPTH_MAX || item->count > INT_MAX)
        damaged(L);
    luaL_checkstack(L, 4, "value nested too deep");
    if (item->kind == VALUE_ARRAY)
        push_array(L, rest, item->count, depth + 1);
    else
        push_map(L, rest, item->count, depth + 1);
}

static void push_item(lua_State *L, struct slice *rest, unsigned depth) {
    struct value_item item;
    if (!value_read(rest, &item))
        damaged(L);
    switch (item.kind) {
    case VALUE_NULL:
        lua_pushlightuserdata(L, script_null());
        return;
    case VALUE_BOOLEAN:
        lua_pushboolean(L, item.boolean);
        return;
    case VALUE_INTEGER:
        lua_pushinteger(L, item.integer);
        return;
    case VALUE_REAL:
        lua_pushnumber(L, item.real);
        return;
    case VALUE_STRING:
        lua_pushlstring(L, item.string.data, item.string.len);
        return;
    case VALUE_ARRAY:
    case VALUE_MAP:
        push_table(L, rest, &item, depth);
    }
}

void script_push_value(lua_State *L, struct slice value) {
    push_item(L, &value, 0);
    if (value.len)
        damaged(L);
}

/* ---- JSON ---- */

static bool push_json_array(lua_State *L, struct json_reader *reader) {
    lua_newtable(L);
    script_mark_array(L);
    enum json_token token;
    for (lua_Integer i = 1; (token = json_next(reader)) != JSON_ARRAY_END; i++) {
        if (!script_push_json(L, reader, token))
            return false;
        lua_rawseti(L, -2, i);
    }
    return true;
}

/* Room for a few members at once: growing a table from nothing to four takes three rehashes, which
 * was a tenth of a transfer's time. */
#define OBJECT_MEMBERS 4

static bool push_json_object(lua_State *L, struct json_reader *reader) {
    lua_createtable(L, 0, OBJECT_MEMBERS);
    enum json_token token;
    while ((token = json_next(reader)) == JSON_NAME) {
        lua_pushlstring(L, reader->string.data, reader->string.len);
        if (!script_push_json(L, reader, json_next(reader)))
            return false;
        lua_rawset(L, -3);
    }
    return token == JSON_OBJECT_END;
}

bool script_push_json(lua_State *L, struct json_reader *reader, enum json_token first) {
    luaL_checkstack(L, 4, "JSON nested too deep");
    switch (first) {
    case JSON_NULL:
        lua_pushlightuserdata(L, script_null());
        return true;
    case JSON_FALSE:
    case JSON_TRUE:
        lua_pushboolean(L, first == JSON_TRUE);
        return true;
    case JSON_INTEGER:
        lua_pushinteger(L, reader->integer);
        return true;
    case JSON_REAL:
        lua_pushnumber(L, reader->real);
        return true;
    case JSON_STRING:
        lua_pushlstring(L, reader->string.data, reader->string.len);
        return true;
    case JSON_ARRAY:
        return push_json_array(L, reader);
    case JSON_OBJECT:
        return push_json_object(L, reader);
    default:
        return false;
    }
}

bool script_push_json_text(lua_State *L, struct json_reader *reader, struct slice text) {
    struct buf *names = &script_vm_of(L)->names;
    int top = lua_gettop(L);
    buf_reset(names, SCRIPT_SCRATCH_KEEP);
    json_reader_init(reader, text, names, JSON_VALUE_DEPTH_MAX);
    if (script_push_json(L, reader, json_next(reader)) && json_next(reader) == JSON_END)
        return true;
    lua_settop(L, top);
    return false;
}
