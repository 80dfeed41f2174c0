#include "core/value.h"

#include <assert.h>
#include <math.h>
#include <msgpack.h>

#include "core/json_write.h"
#include "core/value_read.h"

/* ---- packing ---- */

static int append(void *out, const char *data, size_t len) {
    buf_append(out, data, len);
    return 0; /* a failure is kept by the buffer */
}

/* An array or map whose items are still coming, so that their count is not known. */
struct open_container {
    size_t header; /* its place in the output; one byte is kept there */
    size_t count;
    bool is_map;
};

struct header {
    char bytes[5]; /* array32 and map32 */
    size_t len;
};

static int append_header(void *to, const char *data, size_t len) {
    struct header *header = to;
    assert(len <= sizeof header->bytes - header->len);
    memcpy(header->bytes + header->len, data, len);
    header->len += len;
    return 0;
}

/* Writes the header in front of the items. Up to 15 of them it is the one byte that was kept; else
 * the items move up by two or four, which is once for each level of nesting at most. */
static void close_container(struct buf *out, const struct open_container *container) {
    struct header header = {.len = 0};
    msgpack_packer packer;
    msgpack_packer_init(&packer, &header, append_header);
    if (container->is_map)
        msgpack_pack_map(&packer, container->count);
    else
        msgpack_pack_array(&packer, container->count);
    if (!buf_reserve(out, header.len - 1))
        return;
    char *at = out->data + container->header;
    if (header.len > 1)
        memmove(at + header.len, at + 1, out->len - container->header - 1);
    memcpy(at, header.bytes, header.len);
    out->len += header.len - 1;
}

static void pack_string(msgpack_packer *packer, struct slice string) {
    msgpack_pack_str_with_body(packer, string.data, string.len);
}

static void pack_scalar(
    msgpack_packer *packer, const struct json_reader *reader, enum json_token token) {
    switch (token) {
    case JSON_NULL:
        msgpack_pack_nil(packer);
        return;
    case JSON_FALSE:
        msgpack_pack_false(packer);
        return;
    case JSON_TRUE:
        msgpack_pack_true(packer);
        return;
    case JSON_INTEGER:
        msgpack_pack_int64(packer, reader->integer);
        return;
    case JSON_REAL:
        msgpack_pack_double(packer, reader->real);
        return;
    case JSON_STRING:
        pack_string(packer, reader->string);
        return;
    default:
        assert(false && "the first token of a value");
    }
}

/* Packs values and the containers around them until the first one is whole. */
static enum status pack_json(struct json_reader *reader, enum json_token token, struct buf *out) {
    struct open_container open[JSON_VALUE_DEPTH_MAX];
    unsigned depth = 0;
    msgpack_packer packer;
    msgpack_packer_init(&packer, out, append);
    for (;; token = json_next(reader)) {
        if (token == JSON_ERROR)
            return buf_ok(reader->scratch) ? ST_INVALID : ST_NOMEM;
        if (token == JSON_ARRAY || token == JSON_OBJECT) {
            if (depth == JSON_VALUE_DEPTH_MAX) {
                reader->error = "value nested too deep";
                reader->error_at = (size_t)(reader->at - reader->start) - 1;
                return ST_INVALID;
            }
            open[depth++] =
                (struct open_container){.header = out->len, .is_map = token == JSON_OBJECT};
            buf_append_byte(out, 0);
            continue;
        }
        if (token == JSON_NAME) {
            pack_string(&packer, reader->string);
            continue;
        }
        if (token == JSON_ARRAY_END || token == JSON_OBJECT_END) {
            assert(depth > 0);
            close_container(out, &open[--depth]);
        } else
            pack_scalar(&packer, reader, token);
        if (!buf_ok(out))
            return ST_NOMEM;
        if (depth == 0)
            return ST_OK;
        open[depth - 1].count++;
    }
}

enum status value_from_json(struct json_reader *reader, enum json_token first, struct buf *out) {
    size_t before = out->len;
    enum status status = pack_json(reader, first, out);
    if (status != ST_OK)
        out->len = before;
    return status;
}

/* ---- walking ---- */

/* Where a walk over a value is: what each open container still lacks. */
struct walk {
    struct slice rest;
    unsigned depth;
    struct walk_level {
        uint32_t left; /* items, or pairs */
        bool is_map;
        bool is_first;
    } levels[JSON_VALUE_DEPTH_MAX];
};

static bool walk_open(struct walk *walk, const struct value_item *item) {
    if (walk->depth == JSON_VALUE_DEPTH_MAX)
        return false;
    walk->levels[walk->depth++] = (struct walk_level){
        .left = item->count, .is_map = item->kind == VALUE_MAP, .is_first = true};
    return true;
}

static void write_scalar(struct buf *out, const struct value_item *item) {
    switch (item->kind) {
    case VALUE_NULL:
        buf_append_text(out, "null");
        return;
    case VALUE_BOOLEAN:
        buf_append_text(out, item->boolean ? "true" : "false");
        return;
    case VALUE_INTEGER:
        json_write_integer(out, item->integer);
        return;
    case VALUE_REAL:
        json_write_real(out, item->real);
        return;
    case VALUE_STRING:
        json_write_string(out, item->string);
        return;
    case VALUE_ARRAY:
    case VALUE_MAP:
        break;
    }
    assert(false && "a scalar");
}

/* Ends the containers that have all their items, then writes what stands before the next item: a
 * comma, a name. False if there should be a name and is none. */
static bool write_between(struct walk *walk, struct buf *out) {
    while (walk->depth > 0 && walk->levels[walk->depth - 1].left == 0)
        buf_append_byte(out, walk->levels[--walk->depth].is_map ? '}' : ']');
    if (walk->depth == 0)
        return true;
    struct walk_level *level = &walk->levels[walk->depth - 1];
    level->left--;
    if (!level->is_first)
        buf_append_byte(out, ',');
    level->is_first = false;
    if (!level->is_map)
        return true;
    struct value_item name;
    if (!value_read(&walk->rest, &name) || name.kind != VALUE_STRING)
        return false;
    json_write_string(out, name.string);
    buf_append_byte(out, ':');
    return true;
}

static bool write_value(struct slice value, struct buf *out) {
    struct walk walk;
    walk.rest = value;
    walk.depth = 0;
    do {
        struct value_item item;
        if (!value_read(&walk.rest, &item))
            return false;
        if (item.kind == VALUE_ARRAY || item.kind == VALUE_MAP) {
            if (!walk_open(&walk, &item))
                return false;
            buf_append_byte(out, item.kind == VALUE_MAP ? '{' : '[');
        } else
            write_scalar(out, &item);
        if (!write_between(&walk, out))
            return false;
    } while (walk.depth > 0);
    return walk.rest.len == 0;
}

enum status value_to_json(struct slice value, struct buf *out) {
    size_t before = out->len;
    if (!write_value(value, out)) {
        out->len = before;
        return ST_CORRUPT;
    }
    if (buf_ok(out))
        return ST_OK;
    out->len = before;
    return ST_NOMEM;
}

/* Takes the containers that are complete off the walk, then one item of the innermost that is not.
 */
static bool check_between(struct walk *walk) {
    while (walk->depth > 0 && walk->levels[walk->depth - 1].left == 0)
        walk->depth--;
    if (walk->depth == 0)
        return true;
    struct walk_level *level = &walk->levels[walk->depth - 1];
    level->left--;
    struct value_item name;
    return !level->is_map ||
           (value_read(&walk->rest, &name) && name.kind == VALUE_STRING && utf8_valid(name.string));
}

bool value_valid(struct slice value) {
    struct walk walk;
    walk.rest = value;
    walk.depth = 0;
    do {
        struct value_item item;
        if (!value_read(&walk.rest, &item))
            return false;
        if (item.kind == VALUE_ARRAY || item.kind == VALUE_MAP) {
            if (!walk_open(&walk, &item))
                return false;
        } else if ((item.kind == VALUE_STRING && !utf8_valid(item.string)) ||
                   (item.kind == VALUE_NULL && walk.depth == 0))
            return false;
        if (!check_between(&walk))
            return false;
    } while (walk.depth > 0);
    return walk.rest.len == 0;
}

/* ---- adding ---- */

enum status value_add(struct slice value, struct number by, struct buf *out, struct number *sum) {
    struct value_item item = {.kind = VALUE_INTEGER, .integer = 0};
    if (value.len > 0 && (!value_read(&value, &item) || value.len > 0))
        return ST_NOT_A_NUMBER;
    if (item.kind != VALUE_INTEGER && item.kind != VALUE_REAL)
        return ST_NOT_A_NUMBER;
    struct number result = {.is_real = item.kind == VALUE_REAL || by.is_real};
    if (result.is_real) {
        double left = item.kind == VALUE_REAL ? item.real : (double)item.integer;
        result.real = left + (by.is_real ? by.real : (double)by.integer);
        if (!isfinite(result.real))
            return ST_OVERFLOW;
    } else if (__builtin_add_overflow(item.integer, by.integer, &result.integer))
        return ST_OVERFLOW;
    msgpack_packer packer;
    msgpack_packer_init(&packer, out, append);
    if (result.is_real)
        msgpack_pack_double(&packer, result.real);
    else
        msgpack_pack_int64(&packer, result.integer);
    if (!buf_ok(out))
        return ST_NOMEM;
    *sum = result;
    return ST_OK;
}
