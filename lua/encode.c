#include "lua/encode.h"

#include <assert.h>
#include <math.h>
#include <msgpack.h>
#include <stdlib.h>

#include "core/json_write.h"
#include "lua/doom.h"
#include "lua/json_lib.h"

#define UNITS_PER_VALUE 4u
#define BYTES_PER_UNIT 4u

/* Where the encoder is, for errors: one on the C stack for each table that is open. */
struct place {
    const struct place *up;
    struct slice name; /* of the member, or data NULL */
    lua_Integer index; /* of the element */
};

struct encoder {
    lua_State *L;
    struct script_vm *vm;
    struct buf *out;
    enum script_format format;
    unsigned depth, depth_max;
    const char *root;
    msgpack_packer packer;
};

/* One member of an object that is being written: its name, and its bytes in out. */
struct member {
    const char *name; /* of a string that the table holds */
    size_t name_len;
    size_t at, len;
};

static void encode_value(struct encoder *e, const struct place *place);

static int write_packed(void *out, const char *data, size_t len) {
    buf_append(out, data, len);
    return 0; /* failures are in the buffer */
}

/* ---- errors ---- */

static void add_place(luaL_Buffer *text, const struct place *place) {
    lua_State *L = text->L;
    if (!place)
        return;
    add_place(text, place->up); /* as deep as the value, so bounded */
    if (place->name.data) {
        luaL_addchar(text, '.');
        if (utf8_valid(place->name))
            lua_pushlstring(L, place->name.data, place->name.len);
        else /* so that the error itself can be told in a reply */
            lua_pushliteral(L, "?");
    } else {
        lua_pushfstring(L, "[%I]", (LUAI_UACINT)place->index);
    }
    luaL_addvalue(text);
}

static _Noreturn void fail(struct encoder *e, const struct place *place, const char *why) {
    luaL_Buffer text;
    luaL_buffinit(e->L, &text);
    luaL_addstring(&text, e->root);
    add_place(&text, place);
    luaL_addstring(&text, ": ");
    luaL_addstring(&text, why);
    luaL_pushresult(&text);
    luaL_where(e->L, 1);
    lua_insert(e->L, -2);
    lua_concat(e->L, 2);
    lua_error(e->L);
    __builtin_unreachable();
}

/* One value, or a text of len bytes, more. A table may be in a value often: sixty of them, each
 * twice in the next one, make a tree that no memory holds and no time suffices for. */
static void step(struct encoder *e, const struct place *place, size_t len) {
    script_work(e->L, UNITS_PER_VALUE + len / BYTES_PER_UNIT);
    if (e->out->len > e->vm->heap.bytes_max)
        fail(e, place, "its encoding is larger than the memory of a Lua VM (--lua-memory-max)");
}

/* ---- scalars ---- */

static void encode_string(struct encoder *e, const struct place *place, struct slice text) {
    step(e, place, text.len);
    if (!utf8_valid(text))
        fail(e, place, "not valid UTF-8");
    if (e->format == SCRIPT_JSON) {
        json_write_string(e->out, text);
        return;
    }
    if (text.len > UINT32_MAX)
        fail(e, place, "string too long");
    msgpack_pack_str(&e->packer, text.len);
    msgpack_pack_str_body(&e->packer, text.data, text.len);
}

static void encode_number(struct encoder *e, const struct place *place) {
    bool json = e->format == SCRIPT_JSON;
    if (lua_isinteger(e->L, -1)) {
        lua_Integer integer = lua_tointeger(e->L, -1);
        if (json)
            json_write_integer(e->out, integer);
        else
            msgpack_pack_int64(&e->packer, integer);
        return;
    }
    double real = lua_tonumber(e->L, -1);
    if (isnan(real))
        fail(e, place, "not a number (NaN)");
    if (isinf(real))
        fail(e, place, "infinite");
    if (json)
        json_write_real(e->out, real);
    else
        msgpack_pack_double(&e->packer, real);
}

static void encode_word(struct encoder *e, const char *word) {
    if (e->format == SCRIPT_JSON)
        buf_append_text(e->out, word);
    else if (word[0] == 'n')
        msgpack_pack_nil(&e->packer);
    else if (word[0] == 't')
        msgpack_pack_true(&e->packer);
    else
        msgpack_pack_false(&e->packer);
}

/* ---- tables ---- */

/* An open table in the output. JSON: each entry is written with a ',' in front, and the first one
 * becomes the bracket. MessagePack: a byte is kept free for the count; a larger header is inserted
 * when the count is known, which costs one move of the entries. */
static size_t open_table(struct encoder *e) {
    if (e->format == SCRIPT_MSGPACK)
        buf_append_byte(e->out, 0);
    return e->out->len;
}

static void close_packed(struct encoder *e, size_t start, size_t count, bool object) {
    struct buf *out = e->out;
    if (count < 16) {
        out->data[start - 1] = (char)((object ? 0x80 : 0x90) | count);
        return;
    }
    size_t more = count <= UINT16_MAX ? 2 : 4;
    if (!buf_reserve(out, more))
        return;
    char *at = out->data + start;
    memmove(at + more, at, out->len - start);
    out->len += more;
    at[-1] = (char)((object ? 0xDE : 0xDC) + (more == 4));
    for (size_t i = 0; i < more; i++)
        at[i] = (char)(count >> 8 * (more - 1 - i));
}

static void close_table(struct encoder *e, size_t start, size_t count, bool object) {
    if (!buf_ok(e->out))
        return;
    if (e->format == SCRIPT_MSGPACK) {
        close_packed(e, start, count, object);
    } else if (count == 0) {
        buf_append_text(e->out, object ? "{}" : "[]");
    } else {
        e->out->data[start] = object ? '{' : '[';
        buf_append_byte(e->out, object ? '}' : ']');
    }
}

static void encode_element(struct encoder *e, const struct place *place, lua_Integer index) {
    if (e->format == SCRIPT_JSON)
        buf_append_byte(e->out, ',');
    struct place here = {.up = place, .index = index};
    encode_value(e, &here);
}

/* Checks that the table on top of the stack has the keys 1..n and nothing else; returns n. */
static lua_Integer check_array(struct encoder *e, const struct place *place) {
    lua_State *L = e->L;
    lua_Integer count = 0, highest = 0;
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        lua_pop(L, 1);
        if (!lua_isinteger(L, -1))
            fail(e, place, "table with mixed keys (an array has 1..n, an object has strings)");
        lua_Integer key = lua_tointeger(L, -1);
        if (key < 1)
            fail(e, place, "array with an index below 1");
        highest = key > highest ? key : highest;
        count++;
    }
    if (highest != count)
        fail(e, place, "array with holes");
    return count;
}

/* The table on top of the stack, as an array. Its parts mostly come in order from lua_next; if not,
 * what was written is taken back and the elements are looked up one by one. */
static void encode_array(struct encoder *e, const struct place *place) {
    lua_State *L = e->L;
    size_t start = open_table(e);
    lua_Integer count = 0;
    bool in_order = true;
    lua_pushnil(L);
    while (in_order && lua_next(L, -2)) {
        in_order = lua_isinteger(L, -2) && lua_tointeger(L, -2) == count + 1;
        if (in_order)
            encode_element(e, place, ++count);
        lua_pop(L, 1);
    }
    if (!in_order) {
        lua_pop(L, 1);
        e->out->len = buf_ok(e->out) ? start : e->out->len;
        count = check_array(e, place);
        for (lua_Integer i = 1; i <= count; i++) {
            lua_rawgeti(L, -1, i);
            encode_element(e, place, i);
            lua_pop(L, 1);
        }
    }
    close_table(e, start, (size_t)count, false);
}

static int compare_members(const void *a, const void *b) {
    const struct member *x = a, *y = b;
    return slice_compare(slice_of(x->name, x->name_len), slice_of(y->name, y->name_len));
}

/* Puts the members' bytes, [start, out->len), into the order of their names. */
static void sort_members(struct encoder *e, size_t start, struct member *members, size_t count) {
    bool sorted = true;
    for (size_t i = 1; i < count && sorted; i++)
        sorted = compare_members(&members[i - 1], &members[i]) < 0;
    if (sorted || !buf_ok(e->out))
        return;
    if (count <= 8) {
        for (size_t i = 1; i < count; i++) {
            struct member member = members[i];
            size_t j = i;
            for (; j > 0 && compare_members(&member, &members[j - 1]) < 0; j--)
                members[j] = members[j - 1];
            members[j] = member;
        }
    } else {
        qsort(members, count, sizeof *members, compare_members);
    }
    struct buf *sorting = &e->vm->sorting;
    sorting->len = 0;
    for (size_t i = 0; i < count; i++)
        buf_append(sorting, e->out->data + members[i].at, members[i].len);
    if (!buf_ok(sorting)) {
        e->out->failed = true;
        return;
    }
    assert(sorting->len == e->out->len - start);
    memcpy(e->out->data + start, sorting->data, sorting->len);
}

/* The member whose name and value are on top of the stack. */
static void encode_member(struct encoder *e, const struct place *place) {
    struct slice name;
    step(e, place, BYTES_PER_UNIT * UNITS_PER_VALUE); /* to be sorted, too */
    if (lua_type(e->L, -2) != LUA_TSTRING)
        fail(e, place,
            lua_type(e->L, -2) == LUA_TNUMBER
                ? "table with mixed keys (an array has 1..n, an object has strings)"
                : "table with a key that is neither a string nor an integer");
    name.data = lua_tolstring(e->L, -2, &name.len);
    struct member member = {.name = name.data, .name_len = name.len, .at = e->out->len};
    struct place here = {.up = place, .name = name};
    if (e->format == SCRIPT_JSON)
        buf_append_byte(e->out, ',');
    encode_string(e, &here, name);
    if (e->format == SCRIPT_JSON)
        buf_append_byte(e->out, ':');
    encode_value(e, &here);
    member.len = e->out->len - member.at;
    buf_append(&e->vm->members, &member, sizeof member);
}

/* The table below the first pair (name, value) on the stack, as an object; pops the pair. */
static void encode_object(struct encoder *e, const struct place *place, bool empty) {
    struct buf *members = &e->vm->members;
    size_t first = members->len, count = 0;
    size_t start = open_table(e);
    for (bool more = !empty; more; more = lua_next(e->L, -2)) {
        encode_member(e, place);
        count++;
        lua_pop(e->L, 1);
    }
    if (!buf_ok(members) || count > UINT32_MAX) {
        e->out->failed = true;
    } else if (count) {
        sort_members(e, start, (struct member *)(void *)(members->data + first), count);
        members->len = first;
    }
    close_table(e, start, count, true);
}

static void encode_table(struct encoder *e, const struct place *place) {
    lua_State *L = e->L;
    if (e->depth == e->depth_max)
        fail(e, place, "nested too deep, or a cycle");
    e->depth++;
    luaL_checkstack(L, 8, "value nested too deep");
    bool array = false, object = false;
    if (lua_getmetatable(L, -1)) {
        const void *meta = lua_topointer(L, -1);
        array = meta == e->vm->array_mark;
        object = meta == e->vm->object_mark;
        lua_pop(L, 1);
    }
    if (array) {
        encode_array(e, place);
    } else {
        lua_pushnil(L);
        bool empty = !lua_next(L, -2);
        if (!empty && !object && lua_isinteger(L, -2)) {
            lua_pop(L, 2);
            encode_array(e, place);
        } else {
            encode_object(e, place, empty);
        }
    }
    e->depth--;
}

/* The value on top of the stack, which stays. */
static void encode_value(struct encoder *e, const struct place *place) {
    lua_State *L = e->L;
    step(e, place, 0);
    switch (lua_type(L, -1)) {
    case LUA_TSTRING: {
        struct slice text;
        text.data = lua_tolstring(L, -1, &text.len);
        encode_string(e, place, text);
        return;
    }
    case LUA_TNUMBER:
        encode_number(e, place);
        return;
    case LUA_TBOOLEAN:
        encode_word(e, lua_toboolean(L, -1) ? "true" : "false");
        return;
    case LUA_TTABLE:
        encode_table(e, place);
        return;
    default:
        if (!script_is_null(L, -1))
            fail(e, place, lua_pushfstring(L, "a %s cannot be encoded", luaL_typename(L, -1)));
        encode_word(e, "null");
    }
}

void script_encode(lua_State *L, int index, enum script_format format, unsigned depth_max,
    const char *root, struct buf *out) {
    struct encoder e = {.L = L,
        .vm = script_vm_of(L),
        .out = out,
        .format = format,
        .depth_max = depth_max,
        .root = root};
    msgpack_packer_init(&e.packer, out, write_packed);
    buf_reset(&e.vm->members, SCRIPT_SCRATCH_KEEP); /* an error may have left some */
    buf_reset(&e.vm->sorting, SCRIPT_SCRATCH_KEEP);
    lua_pushvalue(L, index);
    encode_value(&e, NULL);
    lua_pop(L, 1);
}
