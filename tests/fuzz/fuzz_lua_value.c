/* Values on their way into Lua and out: a text or stored value that is taken for one becomes a Lua
 * value, and that has one encoding, which decodes to the same again, as MessagePack and as JSON.
 *
 * Input: a byte (bit 0: a stored value follows, else JSON), and the bytes. */
#include "core/value.h"
#include "lua/decode.h"
#include "lua/encode.h"
#include "tests/fuzz/vm.h"

static struct buf packed, json, again, scratch;

/* ---- inside of the machine ---- */

/* The text is argument 1. */
static int decode_text(lua_State *L) {
    const struct slice *text = lua_touserdata(L, 1);
    return script_decode_json(L, *text);
}

/* Pushes the value of a text; false if it is none. */
static bool push_json(lua_State *L, struct slice *text) {
    lua_pushcfunction(L, decode_text);
    lua_pushlightuserdata(L, text);
    lua_call(L, 1, 3);
    bool good = lua_isnil(L, -2);
    FUZZ_CHECK(good == !lua_isnil(L, -3));
    FUZZ_CHECK(good || (lua_isstring(L, -2) && (size_t)lua_tointeger(L, -1) <= text->len));
    lua_pop(L, good ? 2 : 3);
    return good;
}

static struct slice encode(lua_State *L, enum script_format format, struct buf *out) {
    buf_reset(out, 65536);
    script_encode(L, -1, format, JSON_VALUE_DEPTH_MAX, "value", out);
    FUZZ_CHECK(buf_ok(out));
    return buf_slice(out);
}

static bool is_null(struct slice value) {
    return value.len == 1 && (unsigned char)value.data[0] == 0xC0;
}

/* The value on top of the stack, which stays. */
static void check_round_trips(lua_State *L) {
    int top = lua_gettop(L);
    struct slice stored = encode(L, SCRIPT_MSGPACK, &packed), text = encode(L, SCRIPT_JSON, &json);
    FUZZ_CHECK(value_valid(stored) || is_null(stored));
    buf_reset(&again, 65536);
    FUZZ_CHECK(value_to_json(stored, &again) == ST_OK);
    fuzz_check_equal(text, buf_slice(&again), "JSON of the value, and of what is stored");
    script_push_value(L, stored);
    fuzz_check_equal(stored, encode(L, SCRIPT_MSGPACK, &again), "what is stored, decoded");
    FUZZ_CHECK(push_json(L, &text));
    fuzz_check_equal(stored, encode(L, SCRIPT_MSGPACK, &again), "the text, decoded");
    lua_settop(L, top);
}

static int take_json(lua_State *L) {
    struct slice *text = lua_touserdata(L, 1);
    struct json_reader reader;
    buf_reset(&scratch, 65536);
    buf_reset(&again, 65536);
    json_reader_init(&reader, *text, &scratch, JSON_VALUE_DEPTH_MAX);
    bool good = value_from_json(&reader, json_next(&reader), &again) == ST_OK &&
                json_next(&reader) == JSON_END;
    FUZZ_CHECK(push_json(L, text) == good);
    if (!good)
        return 0;
    struct slice stored = fuzz_copy(again.data, again.len);
    check_round_trips(L);
    script_push_value(L, stored); /* the same by way of the store */
    fuzz_drop(stored);
    fuzz_check_equal(buf_slice(&packed), encode(L, SCRIPT_MSGPACK, &again), "the stored text");
    return 0;
}

static int take_stored(lua_State *L) {
    const struct slice *value = lua_touserdata(L, 1);
    script_push_value(L, *value);
    if (value_valid(*value) || is_null(*value))
        check_round_trips(L);
    else
        (void)encode(L, SCRIPT_MSGPACK, &packed); /* or an error: a text is not UTF-8 */
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    lua_State *L = fuzz_vm()->lua;
    packed.max = json.max = again.max = scratch.max = SIZE_MAX;
    struct slice input = slice_of((const char *)data, size);
    bool stored = fuzz_take_byte(&input) & 1;
    input = fuzz_copy(input.data, input.len);
    lua_pushcfunction(L, stored ? take_stored : take_json);
    lua_pushlightuserdata(L, &input);
    int result = fuzz_vm_call(L, 1, 0, 5 * NS_PER_S);
    if (result != LUA_OK) {
        FUZZ_CHECK(stored && !value_valid(input) && !is_null(input));
        FUZZ_CHECK(lua_isstring(L, -1));
    }
    lua_settop(L, 0);
    fuzz_drop(input);
    return 0;
}
