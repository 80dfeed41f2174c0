/* get, set, delete, incr: the application's way to the transaction (shard/txn.h).
 *
 * A call that must wait yields and is made again by its continuation; its arguments are still on
 * its part of the stack then. */
#include "lua/store_lib.h"

#include <math.h>

#include "core/json_write.h"
#include "core/value.h"
#include "lua/decode.h"
#include "lua/doom.h"
#include "lua/encode.h"
#include "lua/json_lib.h"
#include "lua/sandbox.h"

#define TOO_LARGE_TEXT ": the transaction is too large"

/* An error like others, to be caught if it suits; if it is not, the reply is a 413. */
static _Noreturn void fail_too_large(lua_State *L, const char *call) {
    luaL_where(L, 1);
    lua_pushfstring(L, "%s" TOO_LARGE_TEXT, call);
    lua_concat(L, 2);
    script_vm_of(L)->current->too_large = lua_tostring(L, -1);
    lua_error(L);
    __builtin_unreachable();
}

bool script_was_too_large(struct attempt *attempt) {
    lua_State *co = attempt->thread.state;
    if (lua_gettop(co) == 0 || lua_type(co, -1) != LUA_TSTRING)
        return false;
    const char *text = lua_tostring(co, -1);
    return text == attempt->too_large && strstr(text, TOO_LARGE_TEXT) != NULL;
}

_Noreturn void script_store_failed(
    lua_State *L, const char *call, struct slice key, enum status status) {
    struct attempt *attempt = script_vm_of(L)->current;
    switch (status) {
    case ST_DOOMED:
        script_doom(L, DOOM_LOST);
    case ST_NOMEM:
        luaL_error(L, "%s: out of memory", call);
        break;
    case ST_TOO_LARGE:
        fail_too_large(L, call);
    case ST_INVALID:
        luaL_error(L, "%s: key must be a non-empty UTF-8 string of at most %d bytes", call,
            (int)txn_key_bytes_max(attempt->txn));
        break;
    case ST_NOT_A_NUMBER:
        luaL_error(L, "%s: the value of '%s' is not a number", call, key.data);
        break;
    case ST_OVERFLOW:
        luaL_error(L, "%s: the sum for '%s' passes the range of its type", call, key.data);
        break;
    default:
        luaL_error(L, "%s: %s", call, status_text(status));
    }
    __builtin_unreachable();
}

/* The key at index 1. */
static struct slice check_key(lua_State *L, const char *call, const struct attempt *attempt) {
    struct slice key = {NULL, 0};
    if (lua_type(L, 1) != LUA_TSTRING)
        luaL_error(L, "%s: key must be a string, got %s", call, luaL_typename(L, 1));
    key.data = lua_tolstring(L, 1, &key.len);
    if (key.len == 0 || key.len > txn_key_bytes_max(attempt->txn) || !utf8_valid(key))
        script_store_failed(L, call, key, ST_INVALID);
    return key;
}

/* ---- get ---- */

static int step_get(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    struct attempt *attempt = script_attempt(L, "get");
    struct slice key = {NULL, 0}, value;
    uint64_t version;
    key.data = lua_tolstring(L, 1, &key.len);
    enum status found = txn_get(attempt->txn, key, &value, &version);
    switch (found) {
    case ST_OK:
        script_push_value(L, value);
        lua_pushinteger(L, (lua_Integer)version);
        return 2;
    case ST_NOT_FOUND:
        lua_pushnil(L);
        return 1;
    case ST_PENDING:
        return script_wait(L, ctx, step_get);
    default:
        script_store_failed(L, "get", key, found);
    }
}

static int lib_get(lua_State *L) {
    (void)check_key(L, "get", script_attempt(L, "get"));
    return step_get(L, LUA_OK, 0);
}

/* ---- set ---- */

static int lib_set(lua_State *L) {
    struct attempt *attempt = script_attempt(L, "set");
    struct slice key = check_key(L, "set", attempt);
    if (lua_isnone(L, 2))
        return luaL_error(L, "set: value expected (nil deletes)");
    enum status status;
    if (lua_isnil(L, 2)) {
        status = txn_delete(attempt->txn, key);
    } else {
        if (script_is_null(L, 2))
            return luaL_error(L, "set: null cannot be stored (nil deletes)");
        struct buf *scratch = &attempt->vm->scratch;
        buf_reset(scratch, SCRIPT_SCRATCH_KEEP);
        script_encode(L, 2, SCRIPT_MSGPACK, JSON_VALUE_DEPTH_MAX, "value", scratch);
        if (!buf_ok(scratch))
            return luaL_error(L, "set: out of memory");
        size_t bytes_max = txn_value_bytes_max(attempt->txn);
        if (scratch->len > bytes_max)
            return luaL_error(L, "set: the value of '%s' is larger than %I bytes", key.data,
                (LUAI_UACINT)bytes_max);
        status = txn_set(attempt->txn, key, buf_slice(scratch));
    }
    if (status != ST_OK)
        script_store_failed(L, "set", key, status);
    return 0;
}

/* ---- delete ---- */

static int step_delete(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    struct attempt *attempt = script_attempt(L, "delete");
    struct slice key = {NULL, 0};
    uint64_t version;
    key.data = lua_tolstring(L, 1, &key.len);
    enum status found = txn_version(attempt->txn, key, &version);
    if (found == ST_PENDING)
        return script_wait(L, ctx, step_delete);
    enum status result = found;
    if (found == ST_OK)
        result = txn_delete(attempt->txn, key);
    else if (found == ST_NOT_FOUND)
        result = ST_OK;
    if (result != ST_OK)
        script_store_failed(L, "delete", key, result);
    lua_pushboolean(L, found == ST_OK);
    return 1;
}

static int lib_delete(lua_State *L) {
    (void)check_key(L, "delete", script_attempt(L, "delete"));
    return step_delete(L, LUA_OK, 0);
}

/* ---- incr ---- */

/* The number at index 2; 1 if there is none. */
static struct number check_by(lua_State *L) {
    if (lua_isnoneornil(L, 2))
        return (struct number){.integer = 1};
    if (lua_type(L, 2) != LUA_TNUMBER)
        luaL_error(L, "incr: by must be a number, got %s", luaL_typename(L, 2));
    if (lua_isinteger(L, 2))
        return (struct number){.integer = lua_tointeger(L, 2)};
    double real = lua_tonumber(L, 2);
    if (!isfinite(real))
        luaL_error(L, "incr: by must be a finite number");
    return (struct number){.is_real = true, .real = real};
}

static int step_incr(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    struct attempt *attempt = script_attempt(L, "incr");
    struct slice key = {NULL, 0}, value = {NULL, 0};
    uint64_t version;
    key.data = lua_tolstring(L, 1, &key.len);
    enum status found = txn_get(attempt->txn, key, &value, &version);
    if (found == ST_PENDING)
        return script_wait(L, ctx, step_incr);
    if (found != ST_OK && found != ST_NOT_FOUND)
        script_store_failed(L, "incr", key, found);
    struct buf *scratch = &attempt->vm->scratch;
    struct number sum;
    buf_reset(scratch, SCRIPT_SCRATCH_KEEP);
    if (found == ST_NOT_FOUND)
        value = slice_of(NULL, 0);
    enum status added = value_add(value, check_by(L), scratch, &sum);
    if (added == ST_OK)
        added = txn_set(attempt->txn, key, buf_slice(scratch));
    if (added != ST_OK)
        script_store_failed(L, "incr", key, added);
    if (sum.is_real)
        lua_pushnumber(L, sum.real);
    else
        lua_pushinteger(L, sum.integer);
    return 1;
}

static int lib_incr(lua_State *L) {
    (void)check_key(L, "incr", script_attempt(L, "incr"));
    (void)check_by(L);
    return step_incr(L, LUA_OK, 0);
}

void script_open_store(lua_State *L) {
    static const luaL_Reg functions[] = {{"get", lib_get}, {"set", lib_set}, {"delete", lib_delete},
        {"incr", lib_incr}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}
