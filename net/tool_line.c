#include "net/tool_line.h"

#include "core/json_write.h"
#include "core/value.h"
#include "core/wal_format.h"

/* What is kept of a buffer that a long line has made grow. */
#define KEEP_BYTES ((size_t)1 << 20)
#define KEY_BYTES_MAX 65535u

/* ---- writing ---- */

static void write_flag(struct buf *out, bool flag) {
    buf_append_text(out, flag ? "true" : "false");
}

enum status tool_line_head(const struct tool_head *head, struct buf *out) {
    buf_printf(out, "{\"concave_dump\":%d,\"last_lsn\":", TOOL_DUMP_VERSION);
    buf_append_u64(out, head->last_lsn);
    buf_append_text(out, ",\"first_run\":");
    write_flag(out, head->first_run);
    buf_append_text(out, ",\"keys\":");
    buf_append_u64(out, head->keys);
    buf_append_text(out, "}\n");
    return buf_ok(out) ? ST_OK : ST_NOMEM;
}

static enum status write_key(struct slice key, struct buf *out) {
    if (!utf8_valid(key))
        return ST_CORRUPT;
    buf_append_text(out, "{\"key\":");
    json_write_string(out, key);
    return ST_OK;
}

static enum status write_pair(struct slice key, struct slice value, struct buf *out) {
    enum status status = write_key(key, out);
    if (status != ST_OK)
        return status;
    buf_append_text(out, ",\"value\":");
    return value_to_json(value, out);
}

enum status tool_line_item(const struct tool_item *item, struct buf *out) {
    enum status status = write_pair(item->key, item->value, out);
    buf_append_text(out, ",\"version\":");
    buf_append_u64(out, item->version);
    buf_append_text(out, "}\n");
    return status != ST_OK || buf_ok(out) ? status : ST_NOMEM;
}

static enum status write_operation(int op, struct slice key, struct slice value, struct buf *out) {
    enum status status = ST_OK;
    if (op == WAL_PUT) {
        status = write_pair(key, value, out);
        buf_append_text(out, "}");
    } else if (op == WAL_DELETE) {
        status = write_key(key, out);
        buf_append_text(out, ",\"delete\":true}");
    } else {
        buf_append_text(out, "{\"first_run\":true}");
    }
    return status;
}

enum status tool_line_record(uint64_t lsn, struct slice operations, struct buf *out) {
    struct slice key, value;
    int op;
    buf_append_text(out, "{\"lsn\":");
    buf_append_u64(out, lsn);
    buf_append_text(out, ",\"ops\":[");
    const char *separator = "";
    enum status status;
    while ((status = wal_op_decode(&operations, &op, &key, &value)) == ST_OK) {
        buf_append_text(out, separator);
        separator = ",";
        status = write_operation(op, key, value, out);
        if (status != ST_OK)
            return status;
    }
    buf_append_text(out, "]}\n");
    if (status != ST_END)
        return status;
    return buf_ok(out) ? ST_OK : ST_NOMEM;
}

/* ---- reading ---- */

void tool_line_reader_init(struct tool_line_reader *reader) {
    buf_init(&reader->scratch, SIZE_MAX);
    buf_init(&reader->key, KEY_BYTES_MAX);
    buf_init(&reader->value, SIZE_MAX);
}

void tool_line_reader_free(struct tool_line_reader *reader) {
    buf_free(&reader->scratch);
    buf_free(&reader->key);
    buf_free(&reader->value);
}

static enum status refuse(struct buf *error, const char *text) {
    buf_append_text(error, text);
    return ST_INVALID;
}

/* The reader itself, or a value, found something wrong. */
static enum status refuse_json(const struct json_reader *json, struct buf *error) {
    if (!buf_ok(json->scratch))
        return ST_NOMEM;
    buf_printf(error, "column %zu: %s", json->error_at + 1, json->error);
    return ST_INVALID;
}

/* Members by name: which of them were there. */
typedef enum status read_member(void *ctx, struct slice name, struct json_reader *json,
    enum json_token first, struct buf *error);

/* A line that is one object: calls member for each of its members. Names are there once, the reader
 * sees to that. */
static enum status read_object(struct tool_line_reader *reader, struct slice line,
    read_member *member, void *ctx, struct buf *error) {
    struct json_reader json;
    buf_reset(&reader->scratch, KEEP_BYTES);
    json_reader_init(&json, line, &reader->scratch, JSON_VALUE_DEPTH_MAX + 1);
    enum json_token token = json_next(&json);
    if (token != JSON_OBJECT)
        return token == JSON_ERROR ? refuse_json(&json, error) : refuse(error, "not an object");
    while ((token = json_next(&json)) == JSON_NAME) {
        char name[16];
        if (json.string.len >= sizeof(name))
            return refuse(error, "an unknown member");
        struct slice kept = slice_of(name, json.string.len);
        memcpy(name, json.string.data, json.string.len);
        token = json_next(&json);
        if (token == JSON_ERROR)
            return refuse_json(&json, error);
        enum status status = member(ctx, kept, &json, token, error);
        if (status != ST_OK)
            return status;
    }
    if (token == JSON_OBJECT_END)
        token = json_next(&json);
    return token == JSON_END ? ST_OK : refuse_json(&json, error);
}

static bool is_lsn(const struct json_reader *json, enum json_token token, uint64_t least) {
    return token == JSON_INTEGER && json->integer >= (int64_t)least &&
           (uint64_t)json->integer <= TOOL_LSN_MAX;
}

struct head_members {
    struct tool_head *head;
    int64_t version;
    bool has_version, has_lsn, has_first_run, has_keys;
};

static enum status read_head_member(void *ctx, struct slice name, struct json_reader *json,
    enum json_token first, struct buf *error) {
    struct head_members *members = ctx;
    struct tool_head *head = members->head;
    if (slice_equal(name, SLICE("concave_dump")) && first == JSON_INTEGER) {
        members->has_version = true;
        members->version = json->integer;
    } else if (slice_equal(name, SLICE("last_lsn")) && is_lsn(json, first, 0)) {
        members->has_lsn = true;
        head->last_lsn = (uint64_t)json->integer;
    } else if (slice_equal(name, SLICE("first_run")) &&
               (first == JSON_TRUE || first == JSON_FALSE)) {
        members->has_first_run = true;
        head->first_run = first == JSON_TRUE;
    } else if (slice_equal(name, SLICE("keys")) && is_lsn(json, first, 0)) {
        members->has_keys = true;
        head->keys = (uint64_t)json->integer;
    } else {
        buf_printf(error, "\"%.*s\" is unknown or of the wrong kind", (int)name.len, name.data);
        return ST_INVALID;
    }
    return ST_OK;
}

enum status tool_line_read_head(
    struct tool_line_reader *reader, struct slice line, struct tool_head *head, struct buf *error) {
    struct head_members members = {.head = head};
    *head = (struct tool_head){0};
    enum status status = read_object(reader, line, read_head_member, &members, error);
    if (status != ST_OK)
        return status;
    if (members.has_version && members.version != TOOL_DUMP_VERSION) {
        buf_printf(error, "dump version %lld is unknown to this concave, which knows version %d",
            (long long)members.version, TOOL_DUMP_VERSION);
        return ST_INVALID;
    }
    if (!members.has_version || !members.has_lsn || !members.has_first_run || !members.has_keys)
        return refuse(error, "concave_dump, last_lsn, first_run and keys must all be there");
    if (head->last_lsn == 0 && (head->first_run || head->keys > 0))
        return refuse(error, "last_lsn is 0, so there can be neither keys nor a first run");
    return ST_OK;
}

struct item_members {
    struct tool_line_reader *reader;
    uint64_t version;
    bool has_key, has_value, has_version;
};

static enum status read_item_member(void *ctx, struct slice name, struct json_reader *json,
    enum json_token first, struct buf *error) {
    struct item_members *members = ctx;
    struct tool_line_reader *reader = members->reader;
    if (slice_equal(name, SLICE("key"))) {
        if (first != JSON_STRING || json->string.len == 0 || json->string.len > KEY_BYTES_MAX)
            return refuse(error, "\"key\" must be a string of 1 to 65535 bytes");
        members->has_key = true;
        buf_append_slice(&reader->key, json->string);
        return buf_ok(&reader->key) ? ST_OK : ST_NOMEM;
    }
    if (slice_equal(name, SLICE("version"))) {
        if (!is_lsn(json, first, 1))
            return refuse(error, "\"version\" must be an integer from 1 to 2^62");
        members->has_version = true;
        members->version = (uint64_t)json->integer;
        return ST_OK;
    }
    if (!slice_equal(name, SLICE("value")))
        return refuse(error, "an unknown member");
    if (first == JSON_NULL)
        return refuse(error, "\"value\" must not be null");
    members->has_value = true;
    enum status status = value_from_json(json, first, &reader->value);
    return status == ST_INVALID ? refuse_json(json, error) : status;
}

enum status tool_line_read_item(
    struct tool_line_reader *reader, struct slice line, struct tool_item *item, struct buf *error) {
    struct item_members members = {.reader = reader};
    buf_reset(&reader->key, KEEP_BYTES);
    buf_reset(&reader->value, KEEP_BYTES);
    enum status status = read_object(reader, line, read_item_member, &members, error);
    if (status != ST_OK)
        return status;
    if (!members.has_key || !members.has_value || !members.has_version)
        return refuse(error, "key, value and version must all be there");
    item->key = buf_slice(&reader->key);
    item->value = buf_slice(&reader->value);
    item->version = members.version;
    return ST_OK;
}
