#include "lua/sandbox.h"

#include <lualib.h>
#include <string.h>

#include "core/clock.h"
#include "lua/doom.h"
#include "lua/json_lib.h"
#include "lua/load.h"
#include "lua/test_lib.h"

#define LOAD_BYTES_MAX ((size_t)256 << 10)

static const char readonly_key; /* in the metatable of a read-only view */

/* ---- read-only views ---- */

/* __newindex; upvalue: why */
static int refuse_write(lua_State *L) {
    script_push_text(L, 2);
    return luaL_error(
        L, "cannot set '%s': %s", lua_tostring(L, -1), lua_tostring(L, lua_upvalueindex(1)));
}

/* The iterator of __pairs; upvalue: the hidden table, which must not be handed out. */
static int next_hidden(lua_State *L) {
    lua_settop(L, 2);
    if (lua_next(L, lua_upvalueindex(1)))
        return 2;
    lua_pushnil(L);
    return 1;
}

static int pairs_hidden(lua_State *L) {
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushcclosure(L, next_hidden, 1);
    return 1;
}

/* Gives the table on top of the stack a metatable that shows the table below it, read-only; pops
 * neither. */
static void set_readonly(lua_State *L, const char *what) {
    lua_createtable(L, 0, 5);
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__index");
    lua_pushstring(L, what);
    lua_pushcclosure(L, refuse_write, 1);
    lua_setfield(L, -2, "__newindex");
    lua_pushvalue(L, -3);
    lua_pushcclosure(L, pairs_hidden, 1);
    lua_setfield(L, -2, "__pairs");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pushboolean(L, 1);
    lua_rawsetp(L, -2, &readonly_key);
    lua_setmetatable(L, -2);
}

void script_push_readonly(lua_State *L, const char *what) {
    lua_newtable(L);
    set_readonly(L, what);
    lua_remove(L, -2);
}

void script_sandbox_seal(lua_State *L) {
    lua_newtable(L);
    lua_pushglobaltable(L);
    lua_pushnil(L);
    while (lua_next(L, -2)) { /* moves the globals; an existing field may be cleared on the way */
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -5);
        lua_pushvalue(L, -1);
        lua_pushnil(L);
        lua_rawset(L, -4);
    }
    set_readonly(L, "globals are sealed once the application is loaded");
    lua_pop(L, 2);
}

/* ---- replaced functions of the base library ---- */

void script_push_text(lua_State *L, int index) {
    index = lua_absindex(L, index);
    if (luaL_callmeta(L, index, "__tostring")) {
        if (!lua_isstring(L, -1))
            luaL_error(L, "'__tostring' must return a string");
        return;
    }
    switch (lua_type(L, index)) {
    case LUA_TNIL:
    case LUA_TBOOLEAN:
    case LUA_TNUMBER:
    case LUA_TSTRING:
        luaL_tolstring(L, index, NULL);
        return;
    case LUA_TLIGHTUSERDATA:
        lua_pushstring(L, script_is_null(L, index) ? "null" : "userdata");
        return;
    default: /* no address: it would tell VMs and attempts apart */
        lua_pushstring(L, luaL_typename(L, index));
    }
}

int script_check_choice(lua_State *L, int index, const char *const names[]) {
    const char *name = luaL_checkstring(L, index);
    for (int i = 0; names[i]; i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    lua_pushfstring(L, "'%s' is none of %s", name, names[0]);
    for (int i = 1; names[i]; i++) {
        lua_pushfstring(L, ", %s", names[i]);
        lua_concat(L, 2);
    }
    return luaL_argerror(L, index, lua_tostring(L, -1));
}

static int lib_tostring(lua_State *L) {
    luaL_checkany(L, 1);
    script_push_text(L, 1);
    return 1;
}

/* True if the value at index is an array or object of json's, whose metatable is only a mark. */
static bool has_mark(lua_State *L, int index) {
    if (lua_type(L, index) != LUA_TTABLE || !lua_getmetatable(L, index))
        return false;
    const void *meta = lua_topointer(L, -1);
    lua_pop(L, 1);
    const struct script_vm *vm = script_vm_of(L);
    return meta == vm->array_mark || meta == vm->object_mark;
}

static int lib_getmetatable(lua_State *L) {
    luaL_checkany(L, 1);
    if (has_mark(L, 1) || !lua_getmetatable(L, 1)) {
        lua_pushnil(L);
        return 1;
    }
    luaL_getmetafield(L, 1, "__metatable"); /* pushes nothing if it is nil */
    return 1;
}

static int lib_setmetatable(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    int type = lua_type(L, 2);
    luaL_argexpected(L, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table");
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL)
        return luaL_error(L, "cannot change a protected metatable");
    if (type == LUA_TTABLE) {
        lua_pushliteral(L, "__mode");
        if (lua_rawget(L, 2) == LUA_TSTRING && strchr(lua_tostring(L, -1), 'k'))
            return luaL_error(L, "__mode with 'k' is not available: the collector may take seconds "
                                 "over a chain of weak keys, in one go");
        lua_pushliteral(L, "__gc");
        if (lua_rawget(L, 2) != LUA_TNIL)
            return luaL_error(
                L, "__gc is not available: finalizers run at any time, in any request");
    }
    lua_settop(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

static int lib_rawset(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    luaL_checkany(L, 3);
    if (lua_getmetatable(L, 1)) {
        if (lua_rawgetp(L, -1, &readonly_key) != LUA_TNIL)
            return luaL_error(L, "rawset: the table is read-only");
        lua_pop(L, 2);
    }
    lua_settop(L, 3);
    lua_rawset(L, 1);
    return 1;
}

/* Gathers what a reader function gives into one string, on top of the stack. */
static void gather_chunk(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_newtable(L);
    size_t bytes = 0;
    for (lua_Integer i = 1;; i++) {
        lua_pushvalue(L, 1);
        lua_call(L, 0, 1);
        size_t len = 0;
        if (lua_isnil(L, -1) || (lua_tolstring(L, -1, &len) && len == 0))
            break;
        if (lua_type(L, -1) != LUA_TSTRING)
            luaL_error(L, "reader function must return a string");
        bytes += len;
        if (bytes > LOAD_BYTES_MAX)
            luaL_error(L, "load: more than %d bytes", (int)LOAD_BYTES_MAX);
        lua_rawseti(L, -2, i);
    }
    lua_pop(L, 1);
    luaL_Buffer text;
    lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
    int pieces = lua_gettop(L);
    luaL_buffinit(L, &text);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, pieces, i);
        luaL_addvalue(&text);
    }
    luaL_pushresult(&text);
    lua_remove(L, pieces);
}

/* The parser takes its text in pieces, so that it can be stopped: a name is looked up in every
 * function around it, and 256 KiB of names inside of 150 functions with 190 locals each took
 * seconds. */
#define PIECE_BYTES ((size_t)128)
#define PIECE_NS_MAX (64 * NS_PER_US)
#define SLOW_PIECES_MAX 8u
#define SLOW_NS_MAX (10 * NS_PER_MS)
#define UNITS_PER_BYTE 4u /* of work (lua/doom.h) */

struct source {
    const char *at;
    size_t left;
    uint64_t piece_ns; /* when the last piece was given; 0 = none yet */
    unsigned slow;     /* pieces that took too long */
    uint64_t slow_ns;  /* and how long they took */
};

static const char *read_piece(lua_State *L, void *ctx, size_t *len) {
    struct source *source = ctx;
    const char *piece = source->at;
    uint64_t now_ns = clock_monotonic_ns();
    if (source->piece_ns != 0 && now_ns - source->piece_ns > PIECE_NS_MAX) {
        source->slow++;
        source->slow_ns += now_ns - source->piece_ns;
        if (source->slow > SLOW_PIECES_MAX && source->slow_ns > SLOW_NS_MAX)
            script_doom(L, DOOM_STUCK);
    }
    source->piece_ns = now_ns;
    *len = source->left < PIECE_BYTES ? source->left : PIECE_BYTES;
    source->at += *len;
    source->left -= *len;
    return piece;
}

/* load(chunk[, name[, mode[, env]]]): text only. */
static int lib_load(lua_State *L) {
    bool own_env = !lua_isnone(L, 4);
    lua_settop(L, 4);
    if (lua_type(L, 1) == LUA_TSTRING)
        lua_pushvalue(L, 1);
    else
        gather_chunk(L);
    size_t len;
    const char *text = lua_tolstring(L, 5, &len);
    if (len > LOAD_BYTES_MAX)
        return luaL_error(L, "load: more than %d bytes", (int)LOAD_BYTES_MAX);
    const char *name = luaL_optstring(L, 2, lua_type(L, 1) == LUA_TSTRING ? text : "=(load)");
    const char *mode = luaL_optstring(L, 3, "t");
    if (!strchr(mode, 't')) {
        lua_pushnil(L);
        lua_pushfstring(L, "attempt to load a text chunk (mode is '%s')", mode);
        return 2;
    }
    struct source source = {.at = text, .left = len};
    int result = lua_load(L, read_piece, &source, name, "t");
    script_check_doom(L);
    script_work(L, len * UNITS_PER_BYTE);
    if (result == LUA_ERRMEM)
        script_doom(L, DOOM_MEMORY);
    if (result != LUA_OK) {
        lua_pushnil(L);
        lua_insert(L, -2);
        return 2;
    }
    if (own_env) {
        lua_pushvalue(L, 4);
        if (!lua_setupvalue(L, -2, 1))
            lua_pop(L, 1);
    }
    return 1;
}

/* ---- putting it together ---- */

/* Takes fields away from the table on top of the stack. */
static void remove_fields(lua_State *L, const char *const *names) {
    for (; *names; names++) {
        lua_pushnil(L);
        lua_setfield(L, -2, *names);
    }
}

static void open_base(lua_State *L) {
    static const char *const removed[] = {"collectgarbage", "dofile", "loadfile", "warn", NULL};
    static const luaL_Reg replaced[] = {{"tostring", lib_tostring}, {"load", lib_load},
        {"getmetatable", lib_getmetatable}, {"setmetatable", lib_setmetatable},
        {"rawset", lib_rawset}, {NULL, NULL}};
    lua_pushcfunction(L, luaopen_base);
    lua_call(L, 0, 1);
    remove_fields(L, removed);
    luaL_setfuncs(L, replaced, 0);
    lua_pop(L, 1);
}

static void open_library(lua_State *L, const char *name, lua_CFunction open) {
    lua_pushcfunction(L, open);
    lua_call(L, 0, 1);
    lua_setfield(L, -2, name);
}

/* os with what tells the time. */
static void open_os(lua_State *L) {
    static const char *const kept[] = {"clock", "date", "time", NULL};
    lua_pushcfunction(L, luaopen_os);
    lua_call(L, 0, 1);
    lua_createtable(L, 0, 3);
    for (const char *const *name = kept; *name; name++) {
        lua_getfield(L, -2, *name);
        lua_setfield(L, -2, *name);
    }
    lua_remove(L, -2);
    lua_setfield(L, -2, "os");
}

/* The metatable of strings shows itself as a read-only copy: methods go to the real library without
 * a detour, and nobody can change them. */
static void close_string_metatable(lua_State *L) {
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1);
    lua_createtable(L, 0, 1);
    lua_getfield(L, -4, "string");
    lua_setfield(L, -2, "__index");
    script_push_readonly(L, "the metatable of strings is read-only");
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 2);
}

void script_sandbox_open(lua_State *L) {
    static const char *const libraries[] = {
        "string", "table", "math", "utf8", "coroutine", "os", "json", NULL};
    static const char *const random_parts[] = {"randomseed", NULL};
    open_base(L);
    lua_pushglobaltable(L);
    open_library(L, "string", luaopen_string);
    open_library(L, "table", luaopen_table);
    open_library(L, "math", luaopen_math);
    open_library(L, "utf8", luaopen_utf8);
    open_os(L);
    lua_getfield(L, -1, "math");
    remove_fields(L, random_parts);
    lua_pop(L, 1);
    script_open_control(L);
    script_open_strings(L);
    script_open_patterns(L);
    script_open_tables(L);
    script_open_json(L);
    script_open_store(L);
    script_open_ranges(L);
    script_open_tools(L);
    script_open_render(L);
    script_open_reply(L);
    script_open_request(L);
    script_open_load(L);
    script_open_tests(L);
    for (const char *const *name = libraries; *name; name++) {
        lua_getfield(L, -1, *name);
        script_push_readonly(L, "library tables are read-only");
        lua_setfield(L, -2, *name);
    }
    close_string_metatable(L);
    lua_pop(L, 1);
}
