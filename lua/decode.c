#include "lua/decode.h"

#include <limits.h>

#include "core/value_read.h"
#include "lua/doom.h"
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

/* Room for a few members at once: growing a table from nothing to four takes three rehashes, which
 * was a tenth of a transfer's time. */
#define OBJECT_MEMBERS 4
#define TOKENS_PER_LOOK 512u
#define SHORT_BYTES_MAX ((size_t)32 << 10) /* decoded in one go */

/* Where a decoding is. The tables that are open lie on the Lua stack, each under the name of the
 * member that comes next in it, if it is an object. */
struct decoder {
    struct json_reader reader;
    unsigned depth;                               /* open tables */
    lua_Integer counts[JSON_VALUE_DEPTH_MAX + 1]; /* elements so far; -1 for an object */
};

enum progress { DECODED, MALFORMED, TIRED };

static bool push_scalar(lua_State *L, const struct json_reader *reader, enum json_token token) {
    switch (token) {
    case JSON_NULL:
        lua_pushlightuserdata(L, script_null());
        return true;
    case JSON_FALSE:
    case JSON_TRUE:
        lua_pushboolean(L, token == JSON_TRUE);
        return true;
    case JSON_INTEGER:
        lua_pushinteger(L, reader->integer);
        return true;
    case JSON_REAL:
        lua_pushnumber(L, reader->real);
        return true;
    case JSON_STRING:
    case JSON_NAME:
        lua_pushlstring(L, reader->string.data, reader->string.len);
        return true;
    default:
        return false;
    }
}

static void open_table(lua_State *L, struct decoder *d, bool array) {
    luaL_checkstack(L, 4, "JSON nested too deep");
    if (array) {
        lua_newtable(L);
        script_mark_array(L);
    } else {
        lua_createtable(L, 0, OBJECT_MEMBERS);
    }
    d->counts[d->depth++] = array ? 0 : -1;
}

/* Puts the value on top of the stack into the table that it belongs to; false if it is the whole.
 */
static bool add_value(lua_State *L, struct decoder *d) {
    if (d->depth == 0)
        return false;
    lua_Integer *count = &d->counts[d->depth - 1];
    if (*count < 0)
        lua_rawset(L, -3);
    else
        lua_rawseti(L, -2, ++*count);
    return true;
}

/* Goes on until the end, or, if it may rest, until it is time for others to have a turn. */
static enum progress decode(lua_State *L, struct decoder *d, bool may_rest) {
    for (unsigned tokens = 1;; tokens++) {
        enum json_token token = json_next(&d->reader);
        bool whole = false;
        switch (token) {
        case JSON_ARRAY:
        case JSON_OBJECT:
            open_table(L, d, token == JSON_ARRAY);
            break;
        case JSON_NAME:
            (void)push_scalar(L, &d->reader, token);
            break;
        case JSON_ARRAY_END:
        case JSON_OBJECT_END:
            d->depth--;
            whole = !add_value(L, d);
            break;
        default:
            if (!push_scalar(L, &d->reader, token))
                return MALFORMED;
            whole = !add_value(L, d);
        }
        if (whole)
            return json_next(&d->reader) == JSON_END ? DECODED : MALFORMED;
        if (may_rest && tokens % TOKENS_PER_LOOK == 0 && script_tired(L))
            return TIRED;
    }
}

static int end_decoding(lua_State *L, const struct decoder *d, enum progress progress) {
    if (progress == DECODED)
        return 1;
    if (!buf_ok(d->reader.scratch))
        return luaL_error(L, "out of memory while JSON was decoded");
    lua_pushnil(L);
    lua_pushstring(L, d->reader.error);
    lua_pushinteger(L, (lua_Integer)d->reader.error_at);
    return 3;
}

/* Goes on with the decoder at index. */
static int decode_on(lua_State *L, int status, lua_KContext index) {
    (void)status;
    struct decoder *d = lua_touserdata(L, (int)index);
    enum progress progress = decode(L, d, true);
    if (progress == TIRED)
        return script_rest(L, index, decode_on);
    return end_decoding(L, d, progress);
}

static void begin_decoding(lua_State *L, struct decoder *d, struct slice text) {
    struct buf *names = &script_vm_of(L)->current->names;
    buf_reset(names, SCRIPT_SCRATCH_KEEP);
    d->depth = 0;
    json_reader_init(&d->reader, text, names, JSON_VALUE_DEPTH_MAX);
}

int script_decode_json(lua_State *L, struct slice text) {
    if (text.len > SHORT_BYTES_MAX) {
        begin_decoding(L, lua_newuserdatauv(L, sizeof(struct decoder), 0), text);
        return decode_on(L, LUA_OK, lua_gettop(L));
    }
    struct decoder decoder;
    begin_decoding(L, &decoder, text);
    return end_decoding(L, &decoder, decode(L, &decoder, false));
}
