/* The string library without bytecode and addresses, and with bounds on what one call may make.
 * (For patterns see lua/pattern_lib.c.) */
#include <stdio.h>
#include <string.h>

#include "lua/doom.h"
#include "lua/sandbox.h"

/* string.rep with an empty string loops over the count all the same. */
#define REP_COUNT_MAX ((lua_Integer)1 << 24)

static int lib_rep(lua_State *L) {
    size_t len, gap_len;
    const char *text = luaL_checklstring(L, 1, &len);
    lua_Integer count = luaL_checkinteger(L, 2);
    const char *gap = luaL_optlstring(L, 3, "", &gap_len);
    if (count <= 0 || (len == 0 && gap_len == 0)) {
        lua_pushliteral(L, "");
        return 1;
    }
    size_t bytes_max = script_vm_of(L)->heap.bytes_max;
    if (count > REP_COUNT_MAX || len + gap_len > bytes_max / (size_t)count)
        return luaL_error(L, "string.rep: resulting string too large");
    size_t total = (len + gap_len) * (size_t)count - gap_len;
    luaL_Buffer buffer;
    char *to = luaL_buffinitsize(L, &buffer, total);
    for (lua_Integer i = 0; i < count; i++) {
        memcpy(to, text, len);
        to += len;
        if (i + 1 < count) {
            memcpy(to, gap, gap_len);
            to += gap_len;
        }
    }
    luaL_pushresultsize(&buffer, total);
    return 1;
}

/* The conversion letter of the next specification of a format, moving *at behind it; '\0' at the
 * end. */
static char next_conversion(const char **at, const char *end) {
    while (*at < end) {
        if (*(*at)++ != '%')
            continue;
        if (*at < end && **at == '%') {
            (*at)++;
            continue;
        }
        while (*at < end && strchr("-+ #0123456789.", **at) && **at != '\0')
            (*at)++;
        return *at < end ? *(*at)++ : '\0';
    }
    return '\0';
}

/* string.format: values for %s are turned into text here, because the library's way shows
 * addresses; for the same reason there is no %p. Upvalue 1: the library's function. */
static int lib_format(lua_State *L) {
    size_t len;
    const char *at = luaL_checklstring(L, 1, &len), *end = at + len;
    int count = lua_gettop(L);
    char conversion;
    for (int arg = 2; (conversion = next_conversion(&at, end)) != '\0'; arg++) {
        if (conversion == 'p')
            return luaL_error(L, "invalid conversion '%%p' to 'format'");
        if (conversion != 's' || arg > count || lua_type(L, arg) == LUA_TSTRING)
            continue;
        script_push_text(L, arg);
        lua_replace(L, arg);
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, count, 1);
    return 1;
}

void script_open_strings(lua_State *L) {
    lua_getfield(L, -1, "string");
    lua_pushnil(L);
    lua_setfield(L, -2, "dump");
    lua_pushcfunction(L, lib_rep);
    lua_setfield(L, -2, "rep");
    lua_getfield(L, -1, "format");
    lua_pushcclosure(L, lib_format, 1);
    lua_setfield(L, -2, "format");
    lua_pop(L, 1);
}
