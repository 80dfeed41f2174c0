#include "lua/template.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define DELIMITER_BYTES_MAX 32u

struct parser {
    struct slice text;
    size_t at;                /* what is before this is compiled */
    struct slice open, close; /* delimiters, in the text or constants */
    struct template *template;
    struct buf ops, parts;
    uint32_t sections[TEMPLATE_SECTIONS_MAX]; /* the open ones, outermost first */
    unsigned depth;
    bool owes_start; /* a line has begun with a tag that left no operation */
    struct template_error *error;
};

/* A tag as it stands in the text. */
struct tag {
    size_t at, end; /* from the opening delimiter to behind the closing one */
    char kind;      /* one of # ^ / > & { ! = or 0 for a name alone */
    struct slice content;
};

/* ---- errors and places ---- */

void template_place(struct slice text, size_t at, unsigned *line, unsigned *column) {
    size_t start = 0;
    *line = 1;
    for (size_t i = 0; i < at && i < text.len; i++)
        if (text.data[i] == '\n') {
            ++*line;
            start = i + 1;
        }
    *column = (unsigned)(at - start + 1);
}

__attribute__((format(printf, 3, 4))) static enum status fail(
    struct parser *parser, size_t at, const char *format, ...) {
    struct template_error *error = parser->error;
    template_place(parser->text, at, &error->line, &error->column);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    return ST_INVALID;
}

/* What of a slice is shown in an error: "%.*s". */
static int shown(struct slice text) {
    return text.len < 60 ? (int)text.len : 60;
}

/* ---- characters ---- */

static bool is_blank(char byte) {
    return byte == ' ' || byte == '\t';
}

static bool is_space(char byte) {
    return is_blank(byte) || byte == '\n' || byte == '\r';
}

static struct slice trim(struct slice text) {
    while (text.len && is_space(text.data[0]))
        text = slice_of(text.data + 1, text.len - 1);
    while (text.len && is_space(text.data[text.len - 1]))
        text.len--;
    return text;
}

/* Where the needle begins at or behind `at`; SIZE_MAX: nowhere. */
static size_t find(struct slice text, size_t at, struct slice needle) {
    while (needle.len <= text.len - at) {
        size_t room = text.len - at - needle.len + 1;
        const char *found = memchr(text.data + at, needle.data[0], room);
        if (!found)
            break;
        at = (size_t)(found - text.data);
        if (memcmp(found, needle.data, needle.len) == 0)
            return at;
        at++;
    }
    return SIZE_MAX;
}

/* ---- lines ---- */

static bool is_line_start(struct slice text, size_t at) {
    return at == 0 || text.data[at - 1] == '\n';
}

/* Bytes of the line end at `at`: 2, 1 or, where there is none, 0. */
static size_t line_end(struct slice text, size_t at) {
    if (at < text.len && text.data[at] == '\n')
        return 1;
    return at + 1 < text.len && text.data[at] == '\r' && text.data[at + 1] == '\n' ? 2 : 0;
}

/* Whether a tag has its lines for itself; then *from is where the first begins and *to where the
 * line behind them does. */
static bool is_standalone(
    const struct parser *parser, const struct tag *tag, size_t *from, size_t *to) {
    struct slice text = parser->text;
    size_t first = tag->at, behind = tag->end;
    while (first > parser->at && is_blank(text.data[first - 1]))
        first--;
    if (!is_line_start(text, first))
        return false;
    while (behind < text.len && is_blank(text.data[behind]))
        behind++;
    size_t end = line_end(text, behind);
    if (behind < text.len && end == 0)
        return false;
    *from = first;
    *to = behind + end;
    return true;
}

/* ---- operations ---- */

static void add_op(struct parser *parser, struct template_op op) {
    op.starts_line = parser->owes_start;
    parser->owes_start = false;
    buf_append(&parser->ops, &op, sizeof op);
}

static struct template_op *op_at(struct parser *parser, uint32_t index) {
    return (struct template_op *)(void *)parser->ops.data + index;
}

static uint32_t op_count(const struct parser *parser) {
    return (uint32_t)(parser->ops.len / sizeof(struct template_op));
}

/* The text from parser->at to `to`, which is left there. An empty line is not indented. */
static void add_text(struct parser *parser, size_t to) {
    size_t from = parser->at;
    parser->at = to;
    if (from == to)
        return;
    if (is_line_start(parser->text, from) && line_end(parser->text, from) == 0)
        parser->owes_start = true;
    add_op(parser, (struct template_op){
                       .kind = TEMPLATE_TEXT, .at = (uint32_t)from, .len = (uint32_t)(to - from)});
}

static void add_part(struct parser *parser, struct slice name) {
    struct template_part part = {
        .at = (uint32_t)(name.data - parser->text.data), .len = (uint32_t)name.len};
    buf_append(&parser->parts, &part, sizeof part);
}

static uint32_t part_count(const struct parser *parser) {
    return (uint32_t)(parser->parts.len / sizeof(struct template_part));
}

/* Splits a dotted name into op->parts. */
static enum status read_name(struct parser *parser, const struct tag *tag, struct template_op *op) {
    struct slice name = tag->content;
    op->part = part_count(parser);
    if (name.len == 0)
        return fail(parser, tag->at, "tag without a name");
    if (name.data[0] && strchr("<$*", name.data[0]))
        return fail(parser, tag->at, "tags that begin with '%c' are not supported", name.data[0]);
    for (size_t i = 0; i < name.len; i++)
        if (is_space(name.data[i]))
            return fail(
                parser, tag->at, "a name has no white space: '%.*s'", shown(name), name.data);
    if (slice_equal(name, SLICE(".")))
        return ST_OK;
    size_t start = 0;
    for (size_t i = 0; i <= name.len; i++) {
        if (i < name.len && name.data[i] != '.')
            continue;
        if (i == start)
            return fail(parser, tag->at, "a dotted name with an empty part: '%.*s'", shown(name),
                name.data);
        add_part(parser, slice_of(name.data + start, i - start));
        op->parts++;
        start = i + 1;
    }
    return ST_OK;
}

/* ---- tags ---- */

static enum status read_tag(struct parser *parser, size_t at, struct tag *tag) {
    struct slice text = parser->text;
    size_t from = at + parser->open.len;
    while (from < text.len && is_space(text.data[from]))
        from++;
    *tag = (struct tag){.at = at};
    if (from < text.len && text.data[from] && strchr("#^/>&{!=", text.data[from]))
        tag->kind = text.data[from++];
    char ending[DELIMITER_BYTES_MAX + 1];
    size_t ending_len = 0;
    if (tag->kind == '{' || tag->kind == '=')
        ending[ending_len++] = tag->kind == '{' ? '}' : '=';
    memcpy(ending + ending_len, parser->close.data, parser->close.len);
    ending_len += parser->close.len;
    size_t end = find(text, from, slice_of(ending, ending_len));
    if (end == SIZE_MAX)
        return fail(parser, at, "tag without its end '%.*s'", (int)ending_len, ending);
    tag->content = trim(slice_of(text.data + from, end - from));
    tag->end = end + ending_len;
    return ST_OK;
}

/* {{=open close=}} */
static enum status set_delimiters(struct parser *parser, const struct tag *tag) {
    struct slice both = tag->content;
    size_t open = 0;
    while (open < both.len && !is_space(both.data[open]))
        open++;
    size_t close = open;
    while (close < both.len && is_space(both.data[close]))
        close++;
    struct slice first = slice_of(both.data, open);
    struct slice second = slice_of(both.data + close, both.len - close);
    bool good = first.len && second.len && first.len <= DELIMITER_BYTES_MAX &&
                second.len <= DELIMITER_BYTES_MAX && !memchr(both.data, '=', both.len);
    for (size_t i = 0; i < second.len; i++)
        good = good && !is_space(second.data[i]);
    if (!good)
        return fail(parser, tag->at,
            "delimiters are two words of up to %u bytes without '=', as in {{=<%% %%>=}}",
            DELIMITER_BYTES_MAX);
    parser->open = first;
    parser->close = second;
    return ST_OK;
}

static enum status open_section(struct parser *parser, const struct tag *tag) {
    struct template_op op = {
        .kind = tag->kind == '#' ? TEMPLATE_SECTION : TEMPLATE_INVERTED, .at = (uint32_t)tag->at};
    enum status status = read_name(parser, tag, &op);
    if (status != ST_OK)
        return status;
    if (parser->depth == TEMPLATE_SECTIONS_MAX)
        return fail(
            parser, tag->at, "more than %u sections inside each other", TEMPLATE_SECTIONS_MAX);
    parser->sections[parser->depth++] = op_count(parser);
    add_op(parser, op);
    return ST_OK;
}

/* The name of a section as its tag has it. */
static struct slice section_name(struct parser *parser, const struct template_op *op) {
    if (op->parts == 0)
        return SLICE(".");
    const struct template_part *parts = (struct template_part *)(void *)parser->parts.data;
    const struct template_part *first = &parts[op->part], *last = first + op->parts - 1;
    return slice_of(parser->text.data + first->at, last->at + last->len - first->at);
}

static enum status close_section(struct parser *parser, const struct tag *tag) {
    struct slice name = tag->content;
    if (parser->depth == 0)
        return fail(
            parser, tag->at, "'%.*s' closes a section that is not open", shown(name), name.data);
    uint32_t index = parser->sections[parser->depth - 1];
    struct slice open = section_name(parser, op_at(parser, index));
    if (!slice_equal(name, open)) {
        unsigned line, column;
        template_place(parser->text, op_at(parser, index)->at, &line, &column);
        return fail(parser, tag->at, "'%.*s' closes the section '%.*s' of line %u", shown(name),
            name.data, shown(open), open.data, line);
    }
    parser->depth--;
    add_op(parser,
        (struct template_op){.kind = TEMPLATE_END, .at = (uint32_t)tag->at, .partner = index});
    op_at(parser, index)->partner = op_count(parser);
    return ST_OK;
}

static enum status add_value(struct parser *parser, const struct tag *tag) {
    struct template_op op = {
        .kind = tag->kind ? TEMPLATE_RAW : TEMPLATE_VALUE, .at = (uint32_t)tag->at};
    enum status status = read_name(parser, tag, &op);
    if (status == ST_OK)
        add_op(parser, op);
    return status;
}

static enum status add_partial(
    struct parser *parser, const struct tag *tag, bool standalone, size_t line) {
    struct slice name = tag->content;
    if (name.len && name.data[0] == '*') /* it would pass for a missing one */
        return fail(parser, tag->at, "tags that begin with '>*' are not supported");
    if (!template_name_valid(name))
        return fail(parser, tag->at,
            "a partial's name has parts between '/', none of them '..' or empty: '%.*s'",
            shown(name), name.data);
    struct template_op op = {.kind = TEMPLATE_PARTIAL,
        .standalone = standalone,
        .at = (uint32_t)tag->at,
        .len = standalone ? (uint32_t)(tag->at - line) : 0,
        .part = part_count(parser),
        .parts = 1,
        .partner = TEMPLATE_NONE};
    add_part(parser, name);
    add_op(parser, op);
    return ST_OK;
}

/* Compiles the tag at `at` and the text before it. */
static enum status add_tag(struct parser *parser, size_t at) {
    struct tag tag;
    enum status status = read_tag(parser, at, &tag);
    if (status != ST_OK)
        return status;
    bool is_value = tag.kind == 0 || tag.kind == '&' || tag.kind == '{';
    size_t from = tag.at, to = tag.end;
    bool standalone = !is_value && is_standalone(parser, &tag, &from, &to);
    add_text(parser, from);
    if (!standalone && is_line_start(parser->text, tag.at))
        parser->owes_start = true;
    parser->at = to;
    switch (tag.kind) {
    case '!':
        return ST_OK;
    case '=':
        return set_delimiters(parser, &tag);
    case '#':
    case '^':
        return open_section(parser, &tag);
    case '/':
        return close_section(parser, &tag);
    case '>':
        return add_partial(parser, &tag, standalone, from);
    default:
        return add_value(parser, &tag);
    }
}

/* ---- the whole ---- */

static enum status parse(struct parser *parser) {
    for (;;) {
        size_t tag = find(parser->text, parser->at, parser->open);
        if (tag == SIZE_MAX)
            break;
        enum status status = add_tag(parser, tag);
        if (status != ST_OK)
            return status;
        if (!buf_ok(&parser->ops) || !buf_ok(&parser->parts))
            return ST_NOMEM; /* what follows looks at the operations of open sections */
    }
    add_text(parser, parser->text.len);
    if (parser->owes_start)
        add_op(parser, (struct template_op){.kind = TEMPLATE_TEXT, .at = (uint32_t)parser->at});
    if (parser->depth) {
        const struct template_op *op = op_at(parser, parser->sections[parser->depth - 1]);
        struct slice name = section_name(parser, op);
        return fail(parser, op->at, "section '%.*s' is not closed", shown(name), name.data);
    }
    return buf_ok(&parser->ops) && buf_ok(&parser->parts) ? ST_OK : ST_NOMEM;
}

/* A buffer's bytes as an array of their own size. */
static void *take_bytes(struct buf *buf) {
    void *bytes = buf->data ? realloc(buf->data, buf->len ? buf->len : 1) : NULL;
    if (!bytes)
        bytes = buf->data;
    buf->data = NULL;
    return bytes;
}

static struct template *copy_text(struct slice bytes) {
    struct template *template = calloc(1, sizeof *template);
    char *text = malloc(bytes.len + 1);
    if (!template || !text) {
        free(template);
        free(text);
        return NULL;
    }
    if (bytes.len)
        memcpy(text, bytes.data, bytes.len);
    text[bytes.len] = '\0';
    template->text = text;
    template->len = bytes.len;
    return template;
}

enum status template_parse(
    struct slice bytes, struct template **out, struct template_error *error) {
    struct parser parser = {.open = SLICE("{{"), .close = SLICE("}}"), .error = error};
    *error = (struct template_error){.line = 1, .column = 1};
    if (bytes.len > TEMPLATE_BYTES_MAX)
        return fail(&parser, 0, "larger than %zu bytes", TEMPLATE_BYTES_MAX);
    struct template *template = copy_text(bytes);
    if (!template)
        return ST_NOMEM;
    parser.text = slice_of(template->text, template->len);
    buf_init(&parser.ops, SIZE_MAX);
    buf_init(&parser.parts, SIZE_MAX);
    enum status status = parse(&parser);
    if (status == ST_OK) {
        template->op_count = op_count(&parser);
        template->part_count = part_count(&parser);
        template->ops = take_bytes(&parser.ops);
        template->parts = take_bytes(&parser.parts);
        *out = template;
    } else {
        template_free(template);
    }
    buf_free(&parser.ops);
    buf_free(&parser.parts);
    return status;
}

void template_free(struct template *template) {
    if (!template)
        return;
    free(template->text);
    free(template->ops);
    free(template->parts);
    free(template);
}

bool template_name_valid(struct slice name) {
    if (name.len == 0 || name.len > TEMPLATE_NAME_BYTES_MAX)
        return false;
    size_t start = 0;
    for (size_t i = 0; i <= name.len; i++) {
        if (i < name.len && name.data[i] != '/') {
            if ((unsigned char)name.data[i] < ' ' || name.data[i] == 0x7F)
                return false;
            continue;
        }
        struct slice part = slice_of(name.data + start, i - start);
        if (part.len == 0 || slice_equal(part, SLICE(".")) || slice_equal(part, SLICE("..")))
            return false;
        start = i + 1;
    }
    return true;
}
