#include "net/tool_line.h"

#include "core/json_write.h"
#include "core/value.h"
#include "core/wal_format.h"

/* What is kept of a buffer that a long line has made grow. */
#define KEEP_BYTES ((size_t)1 << 20)
#define KEY_BYTES_MAX 65535u

/* ---- writing ---- */

static void write_head(const struct tool_head *head, struct buf *out) {
    buf_append_text(out, "\"last_lsn\":");
    buf_append_u64(out, head->last_lsn);
    buf_append_text(out, ",\"first_run\":");
    buf_append_text(out, head->first_run ? "true" : "false");
    buf_append_text(out, ",\"keys\":");
    buf_append_u64(out, head->keys);
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

enum status tool_line_item(
    const struct tool_item *item, const struct tool_head *head, struct buf *out) {
    enum status status = write_pair(item->key, item->value, out);
    buf_append_text(out, ",\"version\":");
    buf_append_u64(out, item->version);
    if (head) {
        buf_append_text(out, ",");
        write_head(head, out);
    }
    buf_append_text(out, "}\n");
    return status != ST_OK || buf_ok(out) ? status : ST_NOMEM;
}

enum status tool_line_no_items(const struct tool_head *head, struct buf *out) {
    buf_append_text(out, "{");
    write_head(head, out);
    buf_append_text(out, "}\n");
    return buf_ok(out) ? ST_OK : ST_NOMEM;
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

/* A line being read: which members were there. */
struct members {
    struct tool_line_reader *reader;
    struct tool_line *line;
    bool has_key, has_value, has_version;
    bool has_last_lsn, has_first_run, has_keys;
};

static bool is_lsn(const struct json_reader *json, enum json_token token, uint64_t least) {
    return token == JSON_INTEGER && json->integer >= (int64_t)least &&
           (uint64_t)json->integer <= TOOL_LSN_MAX;
}

static enum status read_key(
    struct members *members, struct json_reader *json, enum json_token first, struct buf *error) {
    struct buf *key = &members->reader->key;
    if (first != JSON_STRING || json->string.len == 0 || json->string.len > KEY_BYTES_MAX)
        return refuse(error, "\"key\" must be a string of 1 to 65535 bytes");
    members->has_key = true;
    buf_append_slice(key, json->string);
    return buf_ok(key) ? ST_OK : ST_NOMEM;
}

static enum status read_value(
    struct members *members, struct json_reader *json, enum json_token first, struct buf *error) {
    if (first == JSON_NULL)
        return refuse(error, "\"value\" must not be null");
    members->has_value = true;
    enum status status = value_from_json(json, first, &members->reader->value);
    return status == ST_INVALID ? refuse_json(json, error) : status;
}

static enum status read_member(struct members *members, struct slice name, struct json_reader *json,
    enum json_token first, struct buf *error) {
    struct tool_line *line = members->line;
    if (slice_equal(name, SLICE("key")))
        return read_key(members, json, first, error);
    if (slice_equal(name, SLICE("value")))
        return read_value(members, json, first, error);
    if (slice_equal(name, SLICE("version")) && is_lsn(json, first, 1)) {
        members->has_version = true;
        line->item.version = (uint64_t)json->integer;
    } else if (slice_equal(name, SLICE("last_lsn")) && is_lsn(json, first, 1)) {
        members->has_last_lsn = true;
        line->head.last_lsn = (uint64_t)json->integer;
    } else if (slice_equal(name, SLICE("first_run")) &&
               (first == JSON_TRUE || first == JSON_FALSE)) {
        members->has_first_run = true;
        line->head.first_run = first == JSON_TRUE;
    } else if (slice_equal(name, SLICE("keys")) && is_lsn(json, first, 0)) {
        members->has_keys = true;
        line->head.keys = (uint64_t)json->integer;
    } else {
        buf_printf(error, "\"%.*s\" is unknown or not what it must be: ", (int)name.len, name.data);
        buf_append_text(error, "\"version\" and \"last_lsn\" are integers from 1 to 2^62, "
                               "\"keys\" from 0, \"first_run\" is true or false");
        return ST_INVALID;
    }
    return ST_OK;
}

/* A line that is one object. Names are there once, the reader sees to that. */
static enum status read_object(struct members *members, struct slice text, struct buf *error) {
    struct json_reader json;
    struct buf *scratch = &members->reader->scratch;
    buf_reset(scratch, KEEP_BYTES);
    json_reader_init(&json, text, scratch, JSON_VALUE_DEPTH_MAX + 1);
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
        enum status status = read_member(members, kept, &json, token, error);
        if (status != ST_OK)
            return status;
    }
    if (token == JSON_OBJECT_END)
        token = json_next(&json);
    return token == JSON_END ? ST_OK : refuse_json(&json, error);
}

static enum status check_members(const struct members *members, struct buf *error) {
    const struct tool_line *line = members->line;
    bool all_of_item = members->has_key && members->has_value && members->has_version;
    bool all_of_head = members->has_last_lsn && members->has_first_run && members->has_keys;
    if (line->has_item ? !all_of_item : !line->has_head)
        return refuse(error, "key, value and version must all be there");
    if (line->has_head && !all_of_head)
        return refuse(error, "last_lsn, first_run and keys must all be there, or none of them");
    if (line->has_head && line->has_item != (line->head.keys > 0))
        return refuse(error, "\"keys\" is 0 in a line without a key, and only there");
    return ST_OK;
}

enum status tool_line_read(
    struct tool_line_reader *reader, struct slice text, struct tool_line *line, struct buf *error) {
    struct members members = {.reader = reader, .line = line};
    *line = (struct tool_line){.has_item = false};
    buf_reset(&reader->key, KEEP_BYTES);
    buf_reset(&reader->value, KEEP_BYTES);
    enum status status = read_object(&members, text, error);
    if (status != ST_OK)
        return status;
    line->has_item = members.has_key || members.has_value || members.has_version;
    line->has_head = members.has_last_lsn || members.has_first_run || members.has_keys;
    line->item.key = buf_slice(&reader->key);
    line->item.value = buf_slice(&reader->value);
    return check_members(&members, error);
}
