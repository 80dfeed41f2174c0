/* now, random, uuid, log, print, escape_html, urlencode. */
#include <stdio.h>

#include "core/clock.h"
#include "core/html.h"
#include "core/json_read.h"
#include "core/json_write.h"
#include "core/url.h"
#include "lua/doom.h"
#include "lua/encode.h"
#include "lua/log.h"
#include "lua/sandbox.h"

static int lib_now(lua_State *L) {
    const struct attempt *attempt = script_vm_of(L)->current;
    uint64_t wall_ns = attempt->call ? attempt->call->wall_ns : clock_wall_ns();
    lua_pushnumber(L, (double)wall_ns / (double)NS_PER_S);
    return 1;
}

/* ---- random numbers ---- */

/* The attempt's generator, seeded at its first use: by the request, or, while loading, by the
 * clock. */
static struct random *generator(lua_State *L) {
    struct attempt *attempt = script_vm_of(L)->current;
    if (!attempt->seeded)
        random_seed(&attempt->random,
            attempt->call ? attempt->call->seed : clock_wall_ns() ^ script_vm_of(L)->shard);
    attempt->seeded = true;
    return &attempt->random;
}

/* random(), random(n), random(m, n), as math.random. */
static int lib_random(lua_State *L) {
    lua_Integer low = 1, high;
    switch (lua_gettop(L)) {
    case 0:
        lua_pushnumber(L, random_real(generator(L)));
        return 1;
    case 1:
        high = luaL_checkinteger(L, 1);
        if (high == 0) { /* all bits, as in math.random */
            lua_pushinteger(L, (lua_Integer)random_next(generator(L)));
            return 1;
        }
        break;
    case 2:
        low = luaL_checkinteger(L, 1);
        high = luaL_checkinteger(L, 2);
        break;
    default:
        return luaL_error(L, "wrong number of arguments");
    }
    luaL_argcheck(L, low <= high, lua_gettop(L), "interval is empty");
    lua_pushinteger(L, random_between(generator(L), low, high));
    return 1;
}

/* A random UUID: RFC 9562, version 4. */
static int lib_uuid(lua_State *L) {
    struct random *random = generator(L);
    uint64_t high = random_next(random), low = random_next(random);
    high = (high & ~UINT64_C(0xF000)) | 0x4000;
    low = (low & ~(UINT64_C(3) << 62)) | UINT64_C(2) << 62;
    char text[37];
    (void)snprintf(text, sizeof text, "%08x-%04x-%04x-%04x-%012llx", (unsigned)(high >> 32),
        (unsigned)(high >> 16 & 0xFFFF), (unsigned)(high & 0xFFFF), (unsigned)(low >> 48),
        (unsigned long long)(low & UINT64_C(0xFFFFFFFFFFFF)));
    lua_pushlstring(L, text, sizeof text - 1);
    return 1;
}

/* ---- log ---- */

static void write_or_keep(
    lua_State *L, enum diag_level level, struct slice message, struct slice fields) {
    struct attempt *attempt = script_vm_of(L)->current;
    if (attempt->call)
        script_log(attempt, level, message, fields);
    else /* while loading there is nothing to lose */
        diag_request(level, "-", 1, message.data, message.len, fields.data, fields.len);
}

/* log(level, message[, table]) */
static int lib_log(lua_State *L) {
    static const char *const names[] = {"debug", "info", "warn", "error", NULL};
    static const enum diag_level levels[] = {DIAG_DEBUG, DIAG_INFO, DIAG_WARN, DIAG_ERROR};
    script_check_doom(L);
    enum diag_level level = levels[script_check_choice(L, 1, names)];
    luaL_checkany(L, 2);
    struct buf *scratch = &script_vm_of(L)->scratch;
    buf_reset(scratch, SCRIPT_SCRATCH_KEEP);
    bool has_fields = !lua_isnoneornil(L, 3);
    script_push_text(L, 2);
    if (has_fields) {
        luaL_checktype(L, 3, LUA_TTABLE);
        script_encode(L, 3, SCRIPT_JSON, JSON_READER_DEPTH_MAX, "fields", scratch);
        if (buf_ok(scratch) && scratch->len && scratch->data[0] != '{')
            return luaL_error(L, "log: fields must be a table with string keys");
    }
    struct slice message, fields = {"", 0};
    message.data = lua_tolstring(L, -1, &message.len);
    if (has_fields && buf_ok(scratch))
        fields = buf_slice(scratch);
    write_or_keep(L, level, message, fields);
    return 0;
}

/* print(...): a line at level info. */
static int lib_print(lua_State *L) {
    script_check_doom(L);
    int count = lua_gettop(L);
    luaL_Buffer line;
    luaL_buffinit(L, &line);
    for (int i = 1; i <= count; i++) {
        if (i > 1)
            luaL_addchar(&line, '\t');
        script_push_text(L, i);
        luaL_addvalue(&line);
    }
    luaL_pushresult(&line);
    struct slice message;
    message.data = lua_tolstring(L, -1, &message.len);
    write_or_keep(L, DIAG_INFO, message, slice_of("", 0));
    return 0;
}

/* ---- text ---- */

static int lib_escape_html(lua_State *L) {
    struct slice text;
    text.data = luaL_checklstring(L, 1, &text.len);
    script_work(L, text.len);
    luaL_Buffer out;
    char *to = luaL_buffinitsize(L, &out, html_escaped_len(text));
    luaL_pushresultsize(&out, html_escape(text, to));
    return 1;
}

static int lib_urlencode(lua_State *L) {
    struct slice text;
    text.data = luaL_checklstring(L, 1, &text.len);
    script_work(L, text.len);
    struct buf *scratch = &script_vm_of(L)->scratch;
    buf_reset(scratch, SCRIPT_SCRATCH_KEEP);
    url_encode(text, scratch);
    if (!buf_ok(scratch))
        return luaL_error(L, "urlencode: out of memory");
    lua_pushlstring(L, scratch->len ? scratch->data : "", scratch->len);
    return 1;
}

void script_open_tools(lua_State *L) {
    static const luaL_Reg functions[] = {{"now", lib_now}, {"random", lib_random},
        {"uuid", lib_uuid}, {"log", lib_log}, {"print", lib_print},
        {"escape_html", lib_escape_html}, {"urlencode", lib_urlencode}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
    lua_getfield(L, -1, "math");
    lua_pushcfunction(L, lib_random);
    lua_setfield(L, -2, "random");
    lua_pop(L, 1);
}
