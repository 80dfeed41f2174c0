/* Reads the bodies of /v1/put and /v1/execute into a list of items, in one pass.
 *
 * The members of an object come in any order and those that a command has no use for are ignored,
 * whatever they hold; so a member is first taken down as it is (struct field), and judged when the
 * object is complete. */
#include "net/kv_input.h"

#include <stdio.h>
#include <strings.h>

enum member {
    MEMBER_KEY,
    MEMBER_VALUE,
    MEMBER_VERSION,
    MEMBER_CMD_TYPE,
    MEMBER_BY,
    MEMBER_FROM,
    MEMBER_TO,
    MEMBER_PREFIX,
    MEMBER_LIMIT,
    MEMBER_REVERSE,
    MEMBER_COUNT, /* any other */
};

/* A put has the first of them only. */
#define PUT_MEMBERS (MEMBER_VERSION + 1)

static const struct slice member_names[MEMBER_COUNT] = {
    [MEMBER_KEY] = SLICE("key"),
    [MEMBER_VALUE] = SLICE("value"),
    [MEMBER_VERSION] = SLICE("version"),
    [MEMBER_CMD_TYPE] = SLICE("cmd_type"),
    [MEMBER_BY] = SLICE("by"),
    [MEMBER_FROM] = SLICE("from"),
    [MEMBER_TO] = SLICE("to"),
    [MEMBER_PREFIX] = SLICE("prefix"),
    [MEMBER_LIMIT] = SLICE("limit"),
    [MEMBER_REVERSE] = SLICE("reverse"),
};

/* What a member held. */
struct field {
    enum json_token token; /* JSON_END: the member is not there */
    struct kv_span span;   /* a string's text; of "value" the MessagePack */
    int64_t integer;
    double real;
};

struct parser {
    struct kv_input *input;
    const struct kv_limits *limits;
    struct kv_error *error;
    struct json_reader reader;
    bool put;       /* else a batch of commands */
    size_t index;   /* of the object being read */
    char where[32]; /* "commands[3]: ", made when needed */
    struct field fields[MEMBER_COUNT];
};

static enum status refuse_json(struct parser *parser) {
    if (!buf_ok(parser->reader.scratch))
        return ST_NOMEM; /* not the text's fault */
    return kv_refuse(parser->error, 400, "bad_json", "bad JSON at byte %zu: %s",
        parser->reader.error_at, parser->reader.error);
}

/* The beginning of an error's text: which object it is about. */
static const char *where(struct parser *parser) {
    (void)snprintf(parser->where, sizeof parser->where,
        "%s[%zu]: ", parser->put ? "item" : "commands", parser->index);
    return parser->where;
}

static enum status refuse_field(struct parser *parser, const char *code, const char *text) {
    return kv_refuse(parser->error, 400, code, "%s%s", where(parser), text);
}

/* ---- taking down one object ---- */

static enum member member_of(struct slice name) {
    for (unsigned i = 0; i < MEMBER_COUNT; i++)
        if (slice_equal(member_names[i], name))
            return (enum member)i;
    return MEMBER_COUNT;
}

static enum status read_value(struct parser *parser, enum json_token token, struct field *field) {
    struct buf *bytes = &parser->input->bytes;
    size_t before = bytes->len;
    enum status status = value_from_json(&parser->reader, token, bytes);
    if (status == ST_INVALID)
        return refuse_json(parser);
    if (status != ST_OK)
        return status;
    field->span = kv_span_since(parser->input, before);
    return ST_OK;
}

/* The value of a member whose name has just been read. */
static enum status read_member(struct parser *parser, enum member member) {
    struct json_reader *reader = &parser->reader;
    enum json_token token = json_next(reader);
    if (member >= (parser->put ? PUT_MEMBERS : MEMBER_COUNT))
        return json_skip(reader, token) ? ST_OK : refuse_json(parser);
    struct field *field = &parser->fields[member];
    field->token = token;
    if (member == MEMBER_VALUE)
        return read_value(parser, token, field);
    struct buf *bytes = &parser->input->bytes;
    size_t before = bytes->len;
    field->integer = reader->integer;
    field->real = reader->real;
    if (token == JSON_STRING)
        buf_append_slice(bytes, reader->string);
    field->span = kv_span_since(parser->input, before);
    return json_skip(reader, token) ? ST_OK : refuse_json(parser);
}

static enum status read_members(struct parser *parser) {
    for (unsigned i = 0; i < MEMBER_COUNT; i++)
        parser->fields[i].token = JSON_END;
    for (;;) {
        enum json_token token = json_next(&parser->reader);
        if (token == JSON_OBJECT_END)
            return ST_OK;
        if (token != JSON_NAME)
            return refuse_json(parser);
        enum status status = read_member(parser, member_of(parser->reader.string));
        if (status != ST_OK)
            return status;
    }
}

/* ---- judging it ---- */

static enum status judge_key(struct parser *parser, struct kv_item *item) {
    const struct field *field = &parser->fields[MEMBER_KEY];
    if (field->token == JSON_END)
        return refuse_field(parser, "bad_key", "the key is missing");
    if (field->token != JSON_STRING)
        return refuse_field(parser, "bad_key", "the key must be a string");
    item->key = field->span;
    struct slice key = kv_slice(parser->input, item->key);
    if (key.len > 0 && key.len <= parser->limits->key_bytes_max)
        return ST_OK; /* the reader has checked that it is UTF-8 */
    return kv_check_key(parser->limits, key, where(parser), parser->error);
}

static enum status judge_value(struct parser *parser, struct kv_item *item) {
    const struct field *field = &parser->fields[MEMBER_VALUE];
    if (field->token == JSON_END)
        return refuse_field(parser, "bad_value", "the value is missing");
    if (field->token == JSON_NULL)
        return refuse_field(parser, "bad_value", "the value must not be null");
    item->value = field->span;
    if (item->value.len > parser->limits->value_bytes_max)
        return kv_refuse(parser->error, 413, "value_too_large",
            "%sthe value has %u bytes, at most %zu are allowed", where(parser),
            (unsigned)item->value.len, parser->limits->value_bytes_max);
    return ST_OK;
}

static enum status judge_version(struct parser *parser, struct kv_item *item) {
    const struct field *field = &parser->fields[MEMBER_VERSION];
    item->of.version = 0;
    if (field->token == JSON_END)
        return ST_OK;
    if (field->token != JSON_INTEGER || field->integer < 0)
        return refuse_field(parser, "bad_version", "the version must be an integer from 0");
    item->of.version = (uint64_t)field->integer;
    return ST_OK;
}

static enum status judge_by(struct parser *parser, struct kv_item *item) {
    const struct field *field = &parser->fields[MEMBER_BY];
    item->of.by = (struct number){.integer = 1};
    if (field->token == JSON_END)
        return ST_OK;
    if (field->token != JSON_INTEGER && field->token != JSON_REAL)
        return refuse_field(parser, "not_a_number", "by must be a number");
    item->of.by = (struct number){
        .is_real = field->token == JSON_REAL, .integer = field->integer, .real = field->real};
    return ST_OK;
}

static enum status judge_bound(
    struct parser *parser, enum member member, const struct kv_span **span) {
    const struct field *field = &parser->fields[member];
    *span = NULL;
    if (field->token == JSON_END)
        return ST_OK;
    if (field->token != JSON_STRING)
        return refuse_field(parser, "bad_key", "from, to and prefix must be strings");
    *span = &field->span;
    return ST_OK;
}

static enum status judge_range(struct parser *parser, struct kv_item *item) {
    const struct field *limit = &parser->fields[MEMBER_LIMIT];
    const struct field *reverse = &parser->fields[MEMBER_REVERSE];
    struct kv_range_words words = {.limit = KV_RANGE_LIMIT_DEFAULT};
    enum status status = judge_bound(parser, MEMBER_FROM, &words.from);
    if (status == ST_OK)
        status = judge_bound(parser, MEMBER_TO, &words.to);
    if (status == ST_OK)
        status = judge_bound(parser, MEMBER_PREFIX, &words.prefix);
    if (status != ST_OK)
        return status;
    if (limit->token != JSON_END) {
        if (limit->token != JSON_INTEGER || limit->integer < 1 ||
            limit->integer > KV_RANGE_LIMIT_MAX)
            return refuse_field(parser, "bad_limit", "the limit must be an integer, 1 to 10000");
        words.limit = (size_t)limit->integer;
    }
    if (reverse->token == JSON_INTEGER && (reverse->integer == 0 || reverse->integer == 1))
        words.reverse = reverse->integer == 1; /* as the query of /v1/range has it */
    else if (reverse->token == JSON_TRUE || reverse->token == JSON_FALSE)
        words.reverse = reverse->token == JSON_TRUE;
    else if (reverse->token != JSON_END)
        return refuse_field(parser, "bad_reverse", "reverse must be true or false");
    struct kv_input *input = parser->input;
    struct kv_range range;
    status = kv_range_make(input, &words, where(parser), &range, parser->error);
    if (status != ST_OK)
        return status;
    item->of.range = input->ranges.len / sizeof range;
    buf_append(&input->ranges, &range, sizeof range);
    return buf_ok(&input->ranges) ? ST_OK : ST_NOMEM;
}

static enum kv_kind kind_of(struct slice name) {
    static const struct {
        struct slice name;
        enum kv_kind kind;
    } kinds[] = {{SLICE("get"), KV_GET}, {SLICE("set"), KV_SET}, {SLICE("delete"), KV_DELETE},
        {SLICE("incr"), KV_INCR}, {SLICE("cas"), KV_CAS}, {SLICE("range"), KV_RANGE}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (kinds[i].name.len == name.len &&
            strncasecmp(kinds[i].name.data, name.data, name.len) == 0)
            return kinds[i].kind;
    return KV_UNKNOWN;
}

static enum status judge_command(struct parser *parser, struct kv_item *item) {
    const struct field *type = &parser->fields[MEMBER_CMD_TYPE];
    item->kind = KV_UNKNOWN;
    if (type->token == JSON_STRING)
        item->kind = kind_of(kv_slice(parser->input, type->span));
    if (item->kind == KV_UNKNOWN)
        return kv_refuse(parser->error, 400, "unknown_command", "unknown command");
    if (item->kind == KV_RANGE)
        return judge_range(parser, item);
    enum status status = judge_key(parser, item);
    if (status == ST_OK && (item->kind == KV_SET || item->kind == KV_CAS))
        status = judge_value(parser, item);
    if (status == ST_OK && item->kind == KV_CAS)
        status = judge_version(parser, item);
    if (status == ST_OK && item->kind == KV_INCR)
        status = judge_by(parser, item);
    return status;
}

static enum status judge_put(struct parser *parser, struct kv_item *item) {
    item->kind = KV_CAS;
    enum status status = judge_key(parser, item);
    if (status == ST_OK)
        status = judge_value(parser, item);
    if (status == ST_OK)
        status = judge_version(parser, item);
    return status;
}

/* Counts what a command can write, for txn_declare_bytes. */
static void count_writes(struct kv_input *input, const struct kv_item *item) {
    if (item->kind == KV_GET || item->kind == KV_RANGE)
        return;
    input->write_count++;
    input->write_bytes += item->key.len + item->value.len;
    if (item->kind == KV_INCR)
        input->write_bytes += 9; /* the largest number in MessagePack */
}

/* ---- the body around the objects ---- */

static enum status read_object(struct parser *parser, enum json_token token) {
    if (token == JSON_ERROR)
        return refuse_json(parser);
    if (token != JSON_OBJECT)
        return refuse_field(parser, "bad_request", "this must be an object");
    if (!parser->put && parser->index == KV_COMMANDS_MAX)
        return kv_refuse(parser->error, 400, "too_many_commands",
            "more than %u commands in one request", KV_COMMANDS_MAX);
    enum status status = read_members(parser);
    if (status != ST_OK)
        return status;
    if (!buf_ok(&parser->input->bytes))
        return ST_NOMEM;
    struct kv_item item = {0};
    status = parser->put ? judge_put(parser, &item) : judge_command(parser, &item);
    if (status != ST_OK)
        return status;
    count_writes(parser->input, &item);
    buf_append(&parser->input->items, &item, sizeof item);
    return buf_ok(&parser->input->items) ? ST_OK : ST_NOMEM;
}

/* The array of objects, its '[' being read. */
static enum status read_array(struct parser *parser) {
    for (parser->index = 0;; parser->index++) {
        enum json_token token = json_next(&parser->reader);
        if (token == JSON_ARRAY_END)
            return ST_OK;
        enum status status = read_object(parser, token);
        if (status != ST_OK)
            return status;
    }
}

static enum status read_end(struct parser *parser) {
    if (json_next(&parser->reader) != JSON_END)
        return refuse_json(parser);
    if (kv_item_count(parser->input) == 0)
        return kv_refuse(parser->error, 400, "empty_request", "empty request");
    return ST_OK;
}

static void parser_init(struct parser *parser, struct kv_input *input, bool put, struct slice body,
    struct kv_error *error) {
    parser->input = input;
    parser->limits = kv_limits_of(input->pool);
    parser->error = error;
    parser->put = put;
    parser->index = 0;
    json_reader_init(&parser->reader, body, kv_reader_scratch(input->pool), JSON_READER_DEPTH_MAX);
}

enum status kv_parse_put(struct kv_input *input, struct slice body, struct kv_error *error) {
    struct parser parser;
    parser_init(&parser, input, true, body, error);
    enum json_token token = json_next(&parser.reader);
    if (token == JSON_ERROR)
        return refuse_json(&parser);
    if (token != JSON_ARRAY)
        return kv_refuse(error, 400, "bad_request", "the body must be an array of objects");
    enum status status = read_array(&parser);
    return status == ST_OK ? read_end(&parser) : status;
}

/* The members of {"commands": [...]}, its '{' being read. */
static enum status read_batch(struct parser *parser) {
    for (;;) {
        enum json_token token = json_next(&parser->reader);
        if (token == JSON_OBJECT_END)
            return ST_OK;
        if (token != JSON_NAME)
            return refuse_json(parser);
        bool commands = slice_equal(parser->reader.string, SLICE("commands"));
        token = json_next(&parser->reader);
        if (!commands) {
            if (!json_skip(&parser->reader, token))
                return refuse_json(parser);
            continue;
        }
        if (token == JSON_ERROR)
            return refuse_json(parser);
        if (token != JSON_ARRAY)
            return kv_refuse(parser->error, 400, "bad_request", "commands must be an array");
        enum status status = read_array(parser);
        if (status != ST_OK)
            return status;
    }
}

enum status kv_parse_commands(struct kv_input *input, struct slice body, struct kv_error *error) {
    struct parser parser;
    parser_init(&parser, input, false, body, error);
    enum json_token token = json_next(&parser.reader);
    if (token == JSON_ERROR)
        return refuse_json(&parser);
    if (token != JSON_OBJECT)
        return kv_refuse(
            error, 400, "bad_request", "the body must be an object with an array \"commands\"");
    enum status status = read_batch(&parser);
    return status == ST_OK ? read_end(&parser) : status;
}
