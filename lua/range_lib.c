/* range and prefix: iterators over keys in byte order.
 *
 * The iterator is a closure over a userdata with the walk. The walk belongs to the transaction,
 * which ends it at the latest with the attempt; a `for` loop that is left early closes it. An
 * iterator kept in an upvalue until another request is an error there. */
#include "lua/decode.h"
#include "lua/doom.h"
#include "lua/sandbox.h"
#include "lua/store_lib.h"

struct walk {
    struct txn_range *range; /* NULL: at its end */
    uint64_t serial;         /* of the attempt it belongs to */
    bool limited;
    uint64_t left; /* items, if limited */
};

static void end_walk(struct walk *walk) {
    if (walk->range)
        txn_range_close(walk->range);
    walk->range = NULL;
}

static int step_walk(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    struct attempt *attempt = script_attempt(L, "range");
    struct walk *walk = lua_touserdata(L, lua_upvalueindex(1));
    if (walk->serial != attempt->serial)
        return luaL_error(L, "range: this iterator belongs to another request");
    if (walk->limited && walk->left == 0)
        end_walk(walk);
    if (!walk->range)
        return 0;
    struct range_item item;
    enum status next = txn_range_next(walk->range, &item);
    switch (next) {
    case ST_OK:
        walk->left--;
        lua_pushlstring(L, item.key.data, item.key.len);
        script_push_value(L, item.value);
        lua_pushinteger(L, (lua_Integer)item.version);
        return 3;
    case ST_END:
        end_walk(walk);
        return 0;
    case ST_PENDING:
        return script_wait(L, ctx, step_walk);
    default:
        script_store_failed(L, "range", slice_of(NULL, 0), next);
    }
}

static int next_item(lua_State *L) {
    lua_settop(L, 0);
    return step_walk(L, LUA_OK, 0);
}

/* __close of the loop's closing value. */
static int close_walk(lua_State *L) {
    struct attempt *attempt = script_vm_of(L)->current;
    struct walk *walk = lua_touserdata(L, 1);
    if (walk && attempt->doom == DOOM_NONE && walk->serial == attempt->serial)
        end_walk(walk);
    return 0;
}

/* Reads {limit = n, reverse = true} at index, if there is such a table. */
static void read_options(lua_State *L, int index, struct walk *walk, struct range_spec *spec) {
    if (lua_isnoneornil(L, index))
        return;
    luaL_checktype(L, index, LUA_TTABLE);
    lua_pushnil(L);
    while (lua_next(L, index)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        if (strcmp(name, "limit") == 0) {
            int is_integer;
            lua_Integer limit = lua_tointegerx(L, -1, &is_integer);
            if (!is_integer || limit < 0)
                luaL_error(L, "range: limit must be an integer, 0 or more");
            walk->limited = true;
            walk->left = (uint64_t)limit;
            spec->expect = (size_t)limit;
        } else if (strcmp(name, "reverse") == 0) {
            spec->reverse = lua_toboolean(L, -1);
        } else {
            luaL_error(L, "range: the options are 'limit' and 'reverse'");
        }
        lua_pop(L, 1);
    }
}

static struct slice check_bound(lua_State *L, int index, const char *name) {
    struct slice bound = {NULL, 0};
    if (lua_isnoneornil(L, index))
        return bound;
    if (lua_type(L, index) != LUA_TSTRING)
        luaL_error(L, "range: %s must be a string or nil, got %s", name, luaL_typename(L, index));
    bound.data = lua_tolstring(L, index, &bound.len);
    return bound;
}

/* The walk's userdata is on top of the stack: opens it and returns what a generic `for` wants. */
static int open_walk(
    lua_State *L, struct attempt *attempt, struct walk *walk, const struct range_spec *spec) {
    enum status status = txn_range_open(attempt->txn, spec, &walk->range);
    if (status != ST_OK)
        script_store_failed(L, "range", slice_of(NULL, 0), status);
    walk->serial = attempt->serial;
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, next_item, 1);
    lua_insert(L, -2);
    lua_pushnil(L);
    lua_pushnil(L);
    lua_rotate(L, -3, 2); /* iterator, nil, nil, closing value */
    return 4;
}

static struct walk *push_walk(lua_State *L) {
    struct walk *walk = lua_newuserdatauv(L, sizeof *walk, 0);
    *walk = (struct walk){0};
    lua_rawgeti(L, LUA_REGISTRYINDEX, script_vm_of(L)->walk_meta);
    lua_setmetatable(L, -2);
    return walk;
}

/* range(from, to[, opts]) */
static int lib_range(lua_State *L) {
    struct attempt *attempt = script_attempt(L, "range");
    lua_settop(L, 3);
    struct range_spec spec = {.from = check_bound(L, 1, "from"), .to = check_bound(L, 2, "to")};
    spec.bounded = spec.to.data != NULL;
    struct walk *walk = push_walk(L);
    read_options(L, 3, walk, &spec);
    return open_walk(L, attempt, walk, &spec);
}

/* prefix(p[, opts]) */
static int lib_prefix(lua_State *L) {
    struct attempt *attempt = script_attempt(L, "prefix");
    lua_settop(L, 2);
    struct range_spec spec = {0};
    struct slice prefix;
    if (lua_type(L, 1) != LUA_TSTRING)
        return luaL_error(L, "prefix: a string expected, got %s", luaL_typename(L, 1));
    prefix.data = lua_tolstring(L, 1, &prefix.len);
    char *scratch = lua_newuserdatauv(L, prefix.len + 1, 0);
    range_spec_prefix(&spec, prefix, scratch);
    struct walk *walk = push_walk(L);
    read_options(L, 2, walk, &spec);
    return open_walk(L, attempt, walk, &spec);
}

void script_open_ranges(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"range", lib_range}, {"prefix", lib_prefix}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, close_walk);
    lua_setfield(L, -2, "__close");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    script_vm_of(L)->walk_meta = luaL_ref(L, LUA_REGISTRYINDEX);
}
