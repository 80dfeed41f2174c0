/* The chunked transfer coding, byte by byte but for the data itself.
 *
 *   SIZE -> SIZE_MORE -+-> EXT ... -+-> SIZE_LF -> DATA -> DATA_CR -> DATA_LF -> SIZE
 *                      +------------+         \-> FIELD (after a chunk of size 0)
 *   FIELD -> NAME -> VALUE -> FIELD_LF -> FIELD
 *        \-> END_LF -> end
 *
 * What the grammar allows without need is refused: white space around the size ("5 ;x"), more
 * digits than 64 bits take. */
#include <assert.h>

#include "net/http_bytes.h"

#define SIZE_DIGITS_MAX 16       /* 64 bits */
#define SIZE_LINE_BYTES_MAX 1024 /* with its extensions */

enum state {
    SIZE, /* the state to start in: zero */
    SIZE_MORE,
    EXT,            /* behind ";" */
    EXT_NAME,       /* in a name */
    EXT_NAME_SPACE, /* in white space behind one */
    EXT_IS,         /* behind "=" */
    EXT_TOKEN,      /* in a value without quotes */
    EXT_QUOTED,     /* in one with them */
    EXT_ESCAPED,    /* behind the backslash there */
    EXT_UNQUOTED,   /* behind the closing quote */
    EXT_VALUE_SPACE,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    FIELD,
    NAME,
    VALUE,
    FIELD_LF,
    END_LF,
};

static bool step_size(struct http_chunked *chunked, char byte, const struct http_limits *limits,
    const struct buf *body, struct http_error *error) {
    if (http_byte_is(byte, HTTP_HEX)) {
        if (chunked->line_bytes == SIZE_DIGITS_MAX)
            return http_refuse(error, 400, "chunk size with too many digits");
        char lower = http_lower(byte);
        unsigned digit = (unsigned)(lower <= '9' ? lower - '0' : lower - 'a' + 10);
        chunked->left = chunked->left << 4 | digit; /* 16 digits at most: no bit is lost */
        chunked->line_bytes++;
        chunked->state = SIZE_MORE;
        return true;
    }
    if (chunked->state == SIZE)
        return http_refuse_byte(error, byte, "chunk without a hexadecimal size");
    if (byte != '\r' && byte != ';')
        return http_refuse_byte(error, byte, "malformed chunk size");
    assert(body->len <= limits->body_bytes_max);
    if (chunked->left > limits->body_bytes_max - body->len)
        return http_refuse(error, 413, "the body is larger than this server takes");
    chunked->state = byte == ';' ? EXT : SIZE_LF;
    return true;
}

/* ---- extensions: *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ), RFC 9112
 * section 7.1.1. Each function gives the state behind a byte; SIZE, where none leads back to, if it
 * may not stand there. ---- */

static bool is_space(char byte) {
    return byte == ' ' || byte == '\t';
}

static enum state behind_name(enum state state, char byte) {
    if (state == EXT_NAME && http_byte_is(byte, HTTP_TOKEN))
        return EXT_NAME;
    if (state == EXT_NAME && byte == '\r')
        return SIZE_LF;
    if (is_space(byte))
        return EXT_NAME_SPACE;
    return byte == '=' ? EXT_IS : byte == ';' ? EXT : SIZE;
}

static enum state behind_value(enum state state, char byte) {
    if (state == EXT_TOKEN && http_byte_is(byte, HTTP_TOKEN))
        return EXT_TOKEN;
    if (state != EXT_VALUE_SPACE && byte == '\r')
        return SIZE_LF;
    if (is_space(byte))
        return EXT_VALUE_SPACE;
    return byte == ';' ? EXT : SIZE;
}

static enum state behind_quoted(enum state state, char byte) {
    if (!http_byte_is(byte, HTTP_VALUE))
        return SIZE;
    if (state == EXT_ESCAPED)
        return EXT_QUOTED;
    return byte == '"' ? EXT_UNQUOTED : byte == '\\' ? EXT_ESCAPED : EXT_QUOTED;
}

static enum state behind_extension_byte(enum state state, char byte) {
    switch (state) {
    case EXT:
        return is_space(byte) ? EXT : http_byte_is(byte, HTTP_TOKEN) ? EXT_NAME : SIZE;
    case EXT_NAME:
    case EXT_NAME_SPACE:
        return behind_name(state, byte);
    case EXT_IS:
        if (byte == '"')
            return EXT_QUOTED;
        return is_space(byte) ? EXT_IS : http_byte_is(byte, HTTP_TOKEN) ? EXT_TOKEN : SIZE;
    case EXT_QUOTED:
    case EXT_ESCAPED:
        return behind_quoted(state, byte);
    default:
        return behind_value(state, byte);
    }
}

/* Well-formed extensions are passed over (unknown ones are to be ignored, and long ones are best
 * limited). All those of a body share one bound with its trailer fields, so that a body of many
 * small chunks cannot cost a multiple of its size. */
static bool step_extension(struct http_chunked *chunked, char byte,
    const struct http_limits *limits, struct http_error *error) {
    enum state next = behind_extension_byte((enum state)chunked->state, byte);
    if (next == SIZE && byte == '\r')
        return http_refuse(error, 400, "unfinished chunk extension");
    if (next == SIZE)
        return http_refuse_byte(error, byte, "malformed chunk extension");
    chunked->state = next;
    if (next == SIZE_LF)
        return true;
    if (++chunked->line_bytes > SIZE_LINE_BYTES_MAX ||
        ++chunked->trailer_bytes > limits->header_bytes_max)
        return http_refuse(error, 400, "chunk extensions are too long");
    return true;
}

/* ---- trailer fields and the ends of lines ---- */

static bool step_trailer(struct http_chunked *chunked, char byte, const struct http_limits *limits,
    struct http_error *error) {
    if (++chunked->trailer_bytes > limits->header_bytes_max)
        return http_refuse(error, 431, "the trailer section is too large");
    if (chunked->state == FIELD) {
        if (byte == ' ' || byte == '\t')
            return http_refuse(error, 400, "folded trailer field");
        if (byte != '\r' && !http_byte_is(byte, HTTP_TOKEN))
            return http_refuse_byte(error, byte, "malformed trailer field name");
        chunked->state = byte == '\r' ? END_LF : NAME;
    } else if (chunked->state == NAME) {
        if (byte == ':')
            chunked->state = VALUE;
        else if (!http_byte_is(byte, HTTP_TOKEN))
            return http_refuse_byte(error, byte, "malformed trailer field name");
    } else if (byte == '\r') {
        chunked->state = FIELD_LF;
    } else if (!http_byte_is(byte, HTTP_VALUE)) {
        return http_refuse_byte(error, byte, "control byte in a trailer field value");
    }
    return true;
}

/* The CR or LF that a line or a chunk's data must end with. */
static bool step_line_end(struct http_chunked *chunked, char byte, struct http_error *error) {
    char want = chunked->state == DATA_CR ? '\r' : '\n';
    if (byte != want) {
        if (want == '\r')
            return http_refuse_byte(error, byte, "chunk data is longer than its size");
        return http_refuse(error, 400, "bare CR: lines must end with CR LF");
    }
    switch (chunked->state) {
    case SIZE_LF:
        chunked->state = chunked->left > 0 ? DATA : FIELD;
        break;
    case DATA_CR:
        chunked->state = DATA_LF;
        break;
    case DATA_LF:
        chunked->state = SIZE;
        chunked->line_bytes = 0;
        break;
    default:
        assert(chunked->state == FIELD_LF);
        chunked->state = FIELD;
    }
    return true;
}

static bool step(struct http_chunked *chunked, char byte, const struct http_limits *limits,
    const struct buf *body, struct http_error *error) {
    switch ((enum state)chunked->state) {
    case SIZE:
    case SIZE_MORE:
        return step_size(chunked, byte, limits, body, error);
    case EXT:
    case EXT_NAME:
    case EXT_NAME_SPACE:
    case EXT_IS:
    case EXT_TOKEN:
    case EXT_QUOTED:
    case EXT_ESCAPED:
    case EXT_UNQUOTED:
    case EXT_VALUE_SPACE:
        return step_extension(chunked, byte, limits, error);
    case FIELD:
    case NAME:
    case VALUE:
        return step_trailer(chunked, byte, limits, error);
    default:
        return step_line_end(chunked, byte, error);
    }
}

/* Takes what there is of the current chunk. */
static size_t take_data(
    struct http_chunked *chunked, const char *data, size_t len, struct buf *body) {
    size_t taken = chunked->left < len ? (size_t)chunked->left : len;
    buf_append(body, data, taken);
    chunked->left -= taken;
    if (chunked->left == 0)
        chunked->state = DATA_CR;
    return taken;
}

enum http_result http_parse_chunked(struct http_chunked *chunked, const char *data, size_t len,
    const struct http_limits *limits, struct buf *body, size_t *used, struct http_error *error) {
    *used = 0;
    while (*used < len) {
        if (chunked->state == DATA) {
            *used += take_data(chunked, data + *used, len - *used, body);
            if (!buf_ok(body)) {
                http_refuse(error, 503, "no memory for the body");
                return HTTP_BAD;
            }
            continue;
        }
        char byte = data[(*used)++];
        if (chunked->state == END_LF && byte == '\n')
            return HTTP_DONE;
        if (!step(chunked, byte, limits, body, error))
            return HTTP_BAD;
    }
    return HTTP_MORE;
}
