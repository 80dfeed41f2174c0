/* One pass over the text, a switch over what may come next. The only thing that takes memory is
 * finding duplicate names: each open object has a hash table of the names so far, on a stack in
 * scratch. */
#include "core/json_read.h"

#include <assert.h>
#include <math.h>
#include <string.h>
#include <sys/auxv.h>
#include <xxhash.h>

#include "core/decimal.h"
#include "core/utf8.h"

/* What may come next at a level of nesting; level 0 is the text itself. */
enum place {
    PLACE_TOP,          /* the value */
    PLACE_DONE,         /* nothing */
    PLACE_ARRAY_FIRST,  /* a value or ] */
    PLACE_ARRAY_NEXT,   /* , or ] */
    PLACE_OBJECT_FIRST, /* a name or } */
    PLACE_OBJECT_VALUE, /* : and a value */
    PLACE_OBJECT_NEXT,  /* , or } */
};

static enum json_token fail(struct json_reader *reader, const char *at, const char *error) {
    reader->error = error;
    reader->error_at = (size_t)(at - reader->start);
    reader->scratch->len = reader->levels[0].scratch_len;
    return JSON_ERROR;
}

/* The byte at hand is not what the grammar wants: either another one, or there is none. */
static enum json_token fail_here(struct json_reader *reader, const char *error) {
    return fail(reader, reader->at, reader->at == reader->end ? "the text ends too early" : error);
}

static enum json_token fail_nomem(struct json_reader *reader, const char *at) {
    return fail(reader, at, "out of memory");
}

/* ---- numbers ---- */

static bool is_digit(const char *at, const char *end) {
    return at != end && *at >= '0' && *at <= '9';
}

static const char *skip_digits(const char *at, const char *end) {
    while (is_digit(at, end))
        at++;
    return at;
}

static enum json_token read_real(struct json_reader *reader, const char *from, const char *to) {
    reader->at = to;
    reader->real = decimal_read(slice_of(from, (size_t)(to - from)));
    if (!isfinite(reader->real))
        return fail(reader, from, "number out of range");
    return JSON_REAL;
}

static enum json_token read_integer(struct json_reader *reader, const char *from, const char *to) {
    reader->at = to;
    bool negative = *from == '-';
    uint64_t limit = (uint64_t)INT64_MAX + negative, magnitude = 0;
    for (const char *at = from + negative; at != to; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (magnitude > (limit - digit) / 10)
            return fail(reader, from, "integer outside 64 bits");
        magnitude = magnitude * 10 + digit;
    }
    /* -2^63 has no positive counterpart; through magnitude - 1 nothing overflows. */
    reader->integer = negative && magnitude ? -(int64_t)(magnitude - 1) - 1 : (int64_t)magnitude;
    return JSON_INTEGER;
}

/* RFC 8259, section 6. */
static enum json_token read_number(struct json_reader *reader) {
    static const char bad_number[] = "malformed number";
    const char *from = reader->at, *end = reader->end;
    bool real = false;
    reader->at += *from == '-';
    if (!is_digit(reader->at, end))
        return fail_here(reader, bad_number);
    const char *at = *reader->at == '0' ? reader->at + 1 : skip_digits(reader->at, end);
    reader->at = at;
    if (is_digit(at, end))
        return fail_here(reader, "number with a leading zero");
    if (at != end && *at == '.') {
        real = true;
        reader->at = at + 1;
        at = skip_digits(reader->at, end);
        if (at == reader->at)
            return fail_here(reader, bad_number);
        reader->at = at;
    }
    if (at != end && (*at == 'e' || *at == 'E')) {
        real = true;
        reader->at = at + 1;
        if (reader->at != end && (*reader->at == '+' || *reader->at == '-'))
            reader->at++;
        at = skip_digits(reader->at, end);
        if (at == reader->at)
            return fail_here(reader, bad_number);
    }
    return real ? read_real(reader, from, at) : read_integer(reader, from, at);
}

/* ---- strings ---- */

/* The value of four hexadecimal digits, or -1. */
static int hex4(const char *at, const char *end) {
    if (end - at < 4)
        return -1;
    int value = 0;
    for (int i = 0; i < 4; i++) {
        char lower = (char)(at[i] | 0x20);
        int digit = at[i] >= '0' && at[i] <= '9'   ? at[i] - '0'
                    : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10
                                                   : -1;
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

static bool is_high_surrogate(int unit) {
    return unit >= 0xD800 && unit <= 0xDBFF;
}

static bool is_low_surrogate(int unit) {
    return unit >= 0xDC00 && unit <= 0xDFFF;
}

/* Bytes of the escape at the backslash `at`; 0 and *error if it is none. */
static size_t escape_length(const char *at, const char *end, const char **error) {
    *error = "bad escape in a string";
    if (end - at < 2)
        return 0;
    if (at[1] != 'u')
        return memchr("\"\\/bfnrt", at[1], 8) ? 2 : 0;
    int unit = hex4(at + 2, end);
    if (unit < 0)
        return 0;
    *error = "lone surrogate in a string";
    if (is_low_surrogate(unit))
        return 0;
    if (!is_high_surrogate(unit))
        return 6;
    if (end - at < 12 || at[6] != '\\' || at[7] != 'u' || !is_low_surrogate(hex4(at + 8, end)))
        return 0;
    return 12;
}

static size_t encode_utf8(unsigned code, char out[4]) {
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (code & 0x3F));
        code >>= 6;
    }
    static const unsigned char mark[5] = {0, 0, 0xC0, 0xE0, 0xF0};
    out[0] = (char)(mark[length] | code);
    return length;
}

/* What the escape at *at, which is a good one, stands for; moves *at behind it. Returns its bytes.
 */
static size_t decode_escape(const char **at, char out[4]) {
    const char *escape = *at;
    *at += 2;
    switch (escape[1]) {
    case 'b':
        out[0] = '\b';
        return 1;
    case 'f':
        out[0] = '\f';
        return 1;
    case 'n':
        out[0] = '\n';
        return 1;
    case 'r':
        out[0] = '\r';
        return 1;
    case 't':
        out[0] = '\t';
        return 1;
    case 'u':
        break;
    default:
        out[0] = escape[1];
        return 1;
    }
    int unit = hex4(escape + 2, escape + 6);
    *at += 4;
    if (!is_high_surrogate(unit))
        return encode_utf8((unsigned)unit, out);
    int low = hex4(escape + 8, escape + 12);
    *at += 6;
    return encode_utf8(0x10000 + ((unsigned)(unit - 0xD800) << 10) + (unsigned)(low - 0xDC00), out);
}

/* From at to the closing quote or what is wrong before it; NULL and fail() then. */
static const char *find_quote(struct json_reader *reader, const char *at, bool *escaped) {
    const char *end = reader->end, *error;
    *escaped = false;
    for (;;) {
        at = utf8_skip_plain(at, end);
        if (at == end) {
            (void)fail(reader, at, "the text ends in a string");
            return NULL;
        }
        if (*at == '"')
            return at;
        size_t length;
        if (*at == '\\') {
            length = escape_length(at, end, &error);
            *escaped = true;
        } else {
            length = (unsigned char)*at < 0x20 ? 0 : utf8_sequence(at, end);
            error = (unsigned char)*at < 0x20 ? "raw control character in a string"
                                              : "invalid UTF-8 in a string";
        }
        if (length == 0) {
            (void)fail(reader, at, error);
            return NULL;
        }
        at += length;
    }
}

/* Decodes text with escapes in it into scratch, behind len (it is good until the next call only).
 */
static bool unescape(struct json_reader *reader, struct slice raw) {
    char *out =
        buf_reserve(reader->scratch, raw.len); /* every escape is longer than what it means */
    if (!out) {
        (void)fail_nomem(reader, raw.data);
        return false;
    }
    size_t len = 0;
    for (const char *at = raw.data, *end = raw.data + raw.len; at != end;) {
        const char *escape = memchr(at, '\\', (size_t)(end - at));
        size_t run = (size_t)((escape ? escape : end) - at);
        memcpy(out + len, at, run);
        len += run;
        at += run;
        if (escape) {
            char code[4];
            size_t bytes = decode_escape(&at, code);
            memcpy(out + len, code, bytes);
            len += bytes;
        }
    }
    reader->string = slice_of(out, len);
    return true;
}

/* The string whose opening quote is at hand. */
static bool read_string(struct json_reader *reader) {
    const char *from = reader->at + 1;
    bool escaped;
    const char *quote = find_quote(reader, from, &escaped);
    if (!quote)
        return false;
    reader->at = quote + 1;
    reader->string = slice_of(from, (size_t)(quote - from));
    return !escaped || unescape(reader, reader->string);
}

/* ---- names: no object has one twice ---- */

/* A slot of an object's table: open addressing with linear probing. It points into the text, so a
 * table costs the same however long the names are. */
struct name {
    uint32_t hash;
    uint32_t at; /* offset of the raw name's first byte, which is never 0; 0 = free slot */
};

#define NAMES_SLOTS_MIN 8u
#define TEXT_BYTES_MAX UINT32_MAX

/* The start of the level's table, which is the last thing in scratch while its object is innermost.
 */
static size_t names_start(const struct json_level *level) {
    return (level->scratch_len + _Alignof(struct name) - 1) & ~(_Alignof(struct name) - 1);
}

static struct name *names_table(struct json_reader *reader, const struct json_level *level) {
    return (struct name *)(void *)(reader->scratch->data + names_start(level));
}

static struct name *names_free_slot(struct name *table, uint32_t slots, uint32_t hash) {
    uint32_t i = hash & (slots - 1);
    while (table[i].at)
        i = (i + 1) & (slots - 1);
    return &table[i];
}

/* Makes room for one more name, at most three quarters full. The larger table is filled behind the
 * old one, then moved down over it. */
static bool names_make_room(struct json_reader *reader, struct json_level *level) {
    if (level->names < level->slots / 4 * 3)
        return true;
    uint32_t slots = level->slots ? level->slots * 2 : NAMES_SLOTS_MIN;
    size_t old_bytes = level->slots * sizeof(struct name), bytes = slots * sizeof(struct name);
    size_t start = names_start(level);
    if (!buf_reserve(reader->scratch, start + old_bytes + bytes - reader->scratch->len))
        return false;
    struct name *old = names_table(reader, level), *table = old + level->slots;
    memset(table, 0, bytes);
    for (uint32_t i = 0; i < level->slots; i++)
        if (old[i].at)
            *names_free_slot(table, slots, old[i].hash) = old[i];
    memmove(old, table, bytes);
    level->slots = slots;
    reader->scratch->len = start + bytes;
    return true;
}

/* True if the raw name at this offset of the text means the same as `name`. */
static bool name_equal(const struct json_reader *reader, uint32_t raw_at, struct slice name) {
    const char *raw = reader->start + raw_at;
    size_t len = 0;
    while (*raw != '"') {
        char code[4];
        size_t bytes = 1;
        if (*raw == '\\')
            bytes = decode_escape(&raw, code);
        else
            code[0] = *raw++;
        if (bytes > name.len - len || memcmp(name.data + len, code, bytes) != 0)
            return false;
        len += bytes;
    }
    return len == name.len;
}

/* Sixteen bytes that the kernel gives each process anew: nobody outside can aim at our table. */
static uint64_t random_seed(void) {
    const void *bytes = (const void *)getauxval(AT_RANDOM);
    uint64_t seed = 0;
    if (bytes)
        memcpy(&seed, bytes, sizeof seed);
    return seed | 1; /* 0 means not drawn yet */
}

/* Enters reader->string, a name that began at raw_at. Room is there. False if the object has it. */
static bool names_add(struct json_reader *reader, struct json_level *level, uint32_t raw_at) {
    uint32_t hash =
        (uint32_t)XXH3_64bits_withSeed(reader->string.data, reader->string.len, reader->seed);
    struct name *table = names_table(reader, level);
    uint32_t i = hash & (level->slots - 1);
    for (; table[i].at; i = (i + 1) & (level->slots - 1))
        if (table[i].hash == hash && name_equal(reader, table[i].at, reader->string))
            return false;
    table[i] = (struct name){.hash = hash, .at = raw_at};
    level->names++;
    return true;
}

static enum json_token read_name(struct json_reader *reader, struct json_level *level) {
    const char *quote = reader->at;
    if (quote == reader->end || *quote != '"')
        return fail_here(reader, "expected a name in quotes");
    if (!reader->seed)
        reader->seed = random_seed();
    /* Room first: the decoded name lies behind the table and must not move. */
    if (!names_make_room(reader, level))
        return fail_nomem(reader, quote);
    if (!read_string(reader))
        return JSON_ERROR;
    if (!names_add(reader, level, (uint32_t)(quote + 1 - reader->start)))
        return fail(reader, quote, "duplicate name");
    level->place = PLACE_OBJECT_VALUE;
    return JSON_NAME;
}

/* ---- the grammar ---- */

static void skip_space(struct json_reader *reader) {
    while (reader->at != reader->end && (*reader->at == ' ' || *reader->at == '\n' ||
                                            *reader->at == '\r' || *reader->at == '\t'))
        reader->at++;
}

static bool take(struct json_reader *reader, char byte) {
    if (reader->at == reader->end || *reader->at != byte)
        return false;
    reader->at++;
    return true;
}

static enum json_token read_word(
    struct json_reader *reader, struct slice word, enum json_token token) {
    size_t left = (size_t)(reader->end - reader->at);
    size_t compared = left < word.len ? left : word.len;
    if (memcmp(reader->at, word.data, compared) != 0)
        return fail_here(reader, "expected a value");
    reader->at += compared;
    return compared == word.len ? token : fail_here(reader, "expected a value");
}

static enum json_token open_level(
    struct json_reader *reader, enum place first, enum json_token token) {
    if (reader->depth == reader->depth_max)
        return fail_here(reader, "nested too deep");
    reader->at++;
    reader->levels[++reader->depth] =
        (struct json_level){.place = (unsigned char)first, .scratch_len = reader->scratch->len};
    return token;
}

static enum json_token close_level(struct json_reader *reader, enum json_token token) {
    reader->scratch->len = reader->levels[reader->depth].scratch_len;
    reader->depth--;
    return token;
}

static enum json_token read_value(struct json_reader *reader) {
    switch (reader->at == reader->end ? '\0' : *reader->at) {
    case '"':
        return read_string(reader) ? JSON_STRING : JSON_ERROR;
    case '[':
        return open_level(reader, PLACE_ARRAY_FIRST, JSON_ARRAY);
    case '{':
        return open_level(reader, PLACE_OBJECT_FIRST, JSON_OBJECT);
    case 'n':
        return read_word(reader, SLICE("null"), JSON_NULL);
    case 't':
        return read_word(reader, SLICE("true"), JSON_TRUE);
    case 'f':
        return read_word(reader, SLICE("false"), JSON_FALSE);
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        return read_number(reader);
    default:
        return fail_here(reader, "expected a value");
    }
}

void json_reader_init(
    struct json_reader *reader, struct slice text, struct buf *scratch, unsigned depth_max) {
    assert(depth_max <= JSON_READER_DEPTH_MAX);
    const char *start = text.data ? text.data : "";
    reader->start = reader->at = start;
    reader->end = start + text.len;
    reader->scratch = scratch;
    reader->depth = 0;
    reader->depth_max = depth_max;
    reader->string = slice_of(start, 0);
    reader->error = NULL;
    reader->error_at = 0;
    reader->seed = 0;
    reader->levels[0] = (struct json_level){.place = PLACE_TOP, .scratch_len = scratch->len};
    if (text.len > TEXT_BYTES_MAX)
        (void)fail(reader, start, "text too long");
    else if (text.len >= 3 && memcmp(start, "\xEF\xBB\xBF", 3) == 0)
        (void)fail(reader, start, "byte order mark");
}

enum json_token json_next(struct json_reader *reader) {
    if (reader->error)
        return JSON_ERROR;
    skip_space(reader);
    struct json_level *level = &reader->levels[reader->depth];
    switch ((enum place)level->place) {
    case PLACE_TOP:
        level->place = PLACE_DONE;
        return read_value(reader);
    case PLACE_DONE:
        if (reader->at != reader->end)
            return fail_here(reader, "bytes after the end of the value");
        return JSON_END;
    case PLACE_ARRAY_NEXT:
        if (take(reader, ']'))
            return close_level(reader, JSON_ARRAY_END);
        if (!take(reader, ','))
            return fail_here(reader, "expected ',' or ']'");
        skip_space(reader);
        return read_value(reader);
    case PLACE_ARRAY_FIRST:
        if (take(reader, ']'))
            return close_level(reader, JSON_ARRAY_END);
        level->place = PLACE_ARRAY_NEXT;
        return read_value(reader);
    case PLACE_OBJECT_NEXT:
        if (take(reader, '}'))
            return close_level(reader, JSON_OBJECT_END);
        if (!take(reader, ','))
            return fail_here(reader, "expected ',' or '}'");
        skip_space(reader);
        return read_name(reader, level);
    case PLACE_OBJECT_FIRST:
        if (take(reader, '}'))
            return close_level(reader, JSON_OBJECT_END);
        return read_name(reader, level);
    case PLACE_OBJECT_VALUE:
        if (!take(reader, ':'))
            return fail_here(reader, "expected ':'");
        level->place = PLACE_OBJECT_NEXT;
        skip_space(reader);
        return read_value(reader);
    }
    assert(false && "a place");
    return JSON_ERROR;
}

bool json_skip(struct json_reader *reader, enum json_token first) {
    if (first != JSON_ARRAY && first != JSON_OBJECT)
        return first != JSON_ERROR;
    unsigned outside = reader->depth - 1;
    while (reader->depth > outside)
        if (json_next(reader) == JSON_ERROR)
            return false;
    return true;
}
