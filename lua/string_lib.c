/* The string library without bytecode and addresses, and with bounds on what one call may make.
 * (For patterns see lua/pattern_lib.c.) */
#include <stdio.h>
#include <string.h>

#include "lua/doom.h"
#include "lua/prelude.h"
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
    size_t done = len + gap_len < total ? len + gap_len : total;
    memcpy(to, text, len);
    memcpy(to + len, gap, done - len);
    while (done < total) { /* each time twice as much, as far as there is room */
        size_t more = done < total - done ? done : total - done;
        memcpy(to + done, to, more);
        done += more;
    }
    luaL_pushresultsize(&buffer, total);
    return 1;
}

/* ---- functions that take time by the length of their texts ---- */

#define FORMAT_BYTES_MAX ((size_t)4096)
#define PACK_BYTES_MAX ((size_t)8 << 20)
#define NUMERAL_BYTES_MAX ((size_t)4096)
#define TEXT_FORMAT_BYTES_MAX ((size_t)64 << 10)
#define UTF8_PIECE_BYTES ((size_t)256 << 10)

/* Goes on as the library's function, upvalue 1 (it has none itself), in the same frame: so its
 * errors name the function and the place of the call. */
static int call_original(lua_State *L) {
    return lua_tocfunction(L, lua_upvalueindex(1))(L);
}

/* Counts the texts among the arguments as work: about a nanosecond a byte. */
static void weigh(lua_State *L) {
    size_t bytes = 0;
    for (int i = lua_gettop(L); i > 0; i--)
        if (lua_type(L, i) == LUA_TSTRING)
            bytes += lua_rawlen(L, i);
    script_work(L, bytes / 4);
}

static int lib_weighed(lua_State *L) {
    weigh(L);
    return call_original(L);
}

static void check_format(lua_State *L, size_t bytes_max) {
    if (lua_type(L, 1) == LUA_TSTRING && lua_rawlen(L, 1) > bytes_max)
        luaL_error(L, "format of more than %d bytes", (int)bytes_max);
}

/* pack, packsize, unpack and os.date work through their format without a look at the clock. */
static int lib_short_format(lua_State *L) {
    check_format(L, FORMAT_BYTES_MAX);
    weigh(L);
    return call_original(L);
}

/* The sum of the numbers in a format, which are sizes; PACK_BYTES_MAX + 1 if it is more. */
static size_t sizes_in(const char *format) {
    size_t sum = 0, number = 0;
    for (; sum + number <= PACK_BYTES_MAX; format++) {
        if (*format >= '0' && *format <= '9') {
            number = number * 10 + (size_t)(*format - '0');
            continue;
        }
        sum += number;
        number = 0;
        if (*format == '\0')
            return sum;
    }
    return PACK_BYTES_MAX + 1;
}

/* pack fills up to a size byte by byte. */
static int lib_pack(lua_State *L) {
    size_t bytes = sizes_in(luaL_checkstring(L, 1));
    if (bytes > PACK_BYTES_MAX)
        return luaL_error(L, "string.pack: more than %d bytes", (int)PACK_BYTES_MAX);
    script_work(L, bytes / 2);
    return lib_short_format(L);
}

/* tonumber: no numeral is that long. */
static int lib_tonumber(lua_State *L) {
    if (lua_type(L, 1) == LUA_TNUMBER && lua_isnone(L, 2))
        return 1;
    if (lua_type(L, 1) == LUA_TSTRING && lua_rawlen(L, 1) > NUMERAL_BYTES_MAX) {
        lua_pushnil(L);
        return 1;
    }
    return call_original(L);
}

/* A position from the end counts from the start then; 0 is in front of the text. */
static lua_Integer position(lua_Integer at, size_t len) {
    if (at >= 0)
        return at;
    return at < -(lua_Integer)len ? 0 : (lua_Integer)len + at + 1;
}

static int finish_utf8_len(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    return lua_gettop(L);
}

/* utf8.len: a long text is counted in pieces, in Lua (upvalue 2), so that others have their turn.
 */
static int lib_utf8_len(lua_State *L) {
    size_t len;
    (void)luaL_checklstring(L, 1, &len);
    if (len <= UTF8_PIECE_BYTES)
        return call_original(L);
    lua_Integer first = position(luaL_optinteger(L, 2, 1), len);
    luaL_argcheck(
        L, first >= 1 && first - 1 <= (lua_Integer)len, 2, "initial position out of bounds");
    lua_Integer last = position(luaL_optinteger(L, 3, -1), len);
    luaL_argcheck(L, last <= (lua_Integer)len, 3, "final position out of bounds");
    bool lax = lua_toboolean(L, 4);
    lua_settop(L, 1);
    lua_pushinteger(L, first);
    lua_pushinteger(L, last);
    lua_pushboolean(L, lax);
    lua_pushinteger(L, (lua_Integer)UTF8_PIECE_BYTES);
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_insert(L, 1);
    lua_callk(L, 5, LUA_MULTRET, 0, finish_utf8_len);
    return finish_utf8_len(L, LUA_OK, 0);
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
    check_format(L, TEXT_FORMAT_BYTES_MAX);
    weigh(L);
    const char *at = luaL_checklstring(L, 1, &len), *end = at + len;
    int count = lua_gettop(L);
    char conversion;
    size_t quoted = 0;
    for (int arg = 2; (conversion = next_conversion(&at, end)) != '\0'; arg++) {
        if (conversion == 'p')
            return luaL_error(L, "invalid conversion '%%p' to 'format'");
        if (conversion == 'q' && lua_type(L, arg) == LUA_TSTRING)
            quoted += lua_rawlen(L, arg);
        if (quoted > TEXT_FORMAT_BYTES_MAX)
            return luaL_error(L, "more than %d bytes for %%q", (int)TEXT_FORMAT_BYTES_MAX);
        if (conversion != 's' || arg > count || lua_type(L, arg) == LUA_TSTRING)
            continue;
        script_push_text(L, arg);
        lua_replace(L, arg);
    }
    return call_original(L);
}

/* Puts function in front of one of the library on top of the stack. */
static void wrap(lua_State *L, const char *name, lua_CFunction function) {
    lua_getfield(L, -1, name);
    lua_pushcclosure(L, function, 1);
    lua_setfield(L, -2, name);
}

void script_open_strings(lua_State *L) {
    lua_getfield(L, -1, "string");
    lua_pushnil(L);
    lua_setfield(L, -2, "dump");
    lua_pushcfunction(L, lib_rep);
    lua_setfield(L, -2, "rep");
    wrap(L, "format", lib_format);
    wrap(L, "upper", lib_weighed);
    wrap(L, "lower", lib_weighed);
    wrap(L, "reverse", lib_weighed);
    wrap(L, "pack", lib_pack);
    wrap(L, "packsize", lib_short_format);
    wrap(L, "unpack", lib_short_format);
    lua_pop(L, 1);
    lua_getfield(L, -1, "utf8");
    wrap(L, "offset", lib_weighed);
    wrap(L, "codepoint", lib_weighed);
    lua_getfield(L, -1, "len");
    lua_pushvalue(L, -1);
    script_push_utf8_len(L);
    lua_pushcclosure(L, lib_utf8_len, 2);
    lua_setfield(L, -2, "len");
    lua_pop(L, 1);
    lua_getfield(L, -1, "os");
    wrap(L, "date", lib_short_format);
    lua_pop(L, 1);
    wrap(L, "tonumber", lib_tonumber);
}
