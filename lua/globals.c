#include "lua/globals.h"

#include <lua.h>
#include <stdlib.h>

/* What Lua itself takes when it compiles (LUAI_MAXCCALLS, lowered by nothing of ours). */
#define DEPTH_MAX 210u

/* lopcodes.h of 5.4: the instructions that reach a global, and how operands lie in one. */
enum {
    OP_LOADK = 3,
    OP_GETUPVAL = 9,
    OP_GETTABUP = 11,
    OP_GETTABLE = 12,
    OP_SETTABUP = 15,
    OP_SETTABLE = 16
};
static unsigned op_of(uint32_t code) {
    return code & 0x7F;
}
static unsigned a_of(uint32_t code) {
    return code >> 7 & 0xFF;
}
static unsigned b_of(uint32_t code) {
    return code >> 16 & 0xFF;
}
static unsigned c_of(uint32_t code) {
    return code >> 24;
}
static unsigned bx_of(uint32_t code) {
    return code >> 15;
}

/* lobject.h: kinds of constants. */
enum {
    CONST_NIL = 0x00,
    CONST_FALSE = 0x01,
    CONST_TRUE = 0x11,
    CONST_INTEGER = 0x03,
    CONST_FLOAT = 0x13,
    CONST_SHORT = 0x04,
    CONST_LONG = 0x14
};

struct reader {
    const unsigned char *at, *end;
    bool failed; /* the bytes end too early, or are not what they should be */
    enum status (*visit)(void *ctx, const struct global_use *use);
    void *ctx;
};

/* ---- bytes ---- */

static const unsigned char *take(struct reader *reader, size_t len) {
    if (reader->failed || len > (size_t)(reader->end - reader->at)) {
        reader->failed = true;
        return NULL;
    }
    const unsigned char *bytes = reader->at;
    reader->at += len;
    return bytes;
}

static unsigned take_byte(struct reader *reader) {
    const unsigned char *byte = take(reader, 1);
    return byte ? *byte : 0;
}

/* Seven bits a byte, the highest first; the last one is marked. */
static size_t take_number(struct reader *reader) {
    size_t number = 0;
    for (unsigned i = 0; i < 10; i++) {
        unsigned byte = take_byte(reader);
        number = number << 7 | (byte & 0x7F);
        if (byte & 0x80)
            return number;
    }
    reader->failed = true;
    return 0;
}

/* A count of things of at least so many bytes each, so that it cannot promise more than is there.
 */
static size_t take_count(struct reader *reader, size_t bytes_each) {
    size_t count = take_number(reader);
    if (count > (size_t)(reader->end - reader->at) / bytes_each)
        reader->failed = true;
    return reader->failed ? 0 : count;
}

/* data NULL: none. */
static struct slice take_string(struct reader *reader) {
    size_t size = take_number(reader);
    if (size == 0)
        return (struct slice){0};
    const unsigned char *bytes = take(reader, size - 1);
    return slice_of((const char *)bytes, bytes ? size - 1 : 0);
}

/* ---- one function ---- */

struct function {
    unsigned line; /* where it is defined */
    bool top_level;
    const unsigned char *code;
    size_t code_count;
    struct slice *constants; /* the strings; others have data NULL */
    size_t constant_count;
    const unsigned char *lines; /* the difference to the line of the instruction before */
    size_t line_count;
    unsigned env; /* the upvalue that holds the globals; UINT_MAX: none */
};

static uint32_t code_at(const struct function *function, size_t index) {
    uint32_t code;
    memcpy(&code, function->code + 4 * index, sizeof code);
    return code;
}

static struct slice constant_at(const struct function *function, size_t index) {
    return index < function->constant_count ? function->constants[index] : (struct slice){0};
}

static enum status take_constants(struct reader *reader, struct function *function) {
    size_t count = take_count(reader, 1);
    function->constants = calloc(count + 1, sizeof(struct slice));
    if (!function->constants)
        return ST_NOMEM;
    function->constant_count = count;
    for (size_t i = 0; i < count; i++) {
        switch (take_byte(reader)) {
        case CONST_NIL:
        case CONST_FALSE:
        case CONST_TRUE:
            break;
        case CONST_INTEGER:
        case CONST_FLOAT:
            take(reader, 8);
            break;
        case CONST_SHORT:
        case CONST_LONG:
            function->constants[i] = take_string(reader);
            break;
        default:
            reader->failed = true;
        }
    }
    return ST_OK;
}

static enum status read_function(struct reader *reader, unsigned depth);

/* Lines, names of locals, names of upvalues. Absolute line numbers follow each other in the order
 * of their instructions. */
static void take_debug(
    struct reader *reader, struct function *function, const unsigned char **absolute) {
    function->line_count = take_count(reader, 1);
    function->lines = take(reader, function->line_count);
    size_t count = take_count(reader, 2);
    *absolute = reader->at;
    for (size_t i = 0; i < count; i++) {
        take_number(reader);
        take_number(reader);
    }
    count = take_count(reader, 3);
    for (size_t i = 0; i < count; i++) {
        take_string(reader);
        take_number(reader);
        take_number(reader);
    }
    function->env = UINT32_MAX;
    count = take_count(reader, 1);
    for (size_t i = 0; i < count; i++)
        if (slice_equal(take_string(reader), SLICE("_ENV")))
            function->env = (unsigned)i;
}

/* A name that is not among the first 256 constants is loaded into a register; then whether it is
 * read or written shows in the first instruction behind that uses the two registers as table and
 * key. */
static bool far_use_writes(const struct function *function, size_t index) {
    unsigned table = a_of(code_at(function, index)), key = a_of(code_at(function, index + 1));
    for (size_t i = index + 2; i < function->code_count; i++) {
        uint32_t code = code_at(function, i);
        if (op_of(code) == OP_SETTABLE && a_of(code) == table && b_of(code) == key)
            return true;
        if (op_of(code) == OP_GETTABLE && b_of(code) == table && c_of(code) == key)
            return false;
    }
    return false;
}

/* The global that an instruction uses; a name with data NULL if it uses none. */
static struct global_use use_at(const struct function *function, size_t index) {
    struct global_use use = {.top_level = function->top_level};
    uint32_t code = code_at(function, index);
    if (op_of(code) == OP_GETTABUP && b_of(code) == function->env) {
        use.name = constant_at(function, c_of(code));
    } else if (op_of(code) == OP_SETTABUP && a_of(code) == function->env) {
        use.name = constant_at(function, b_of(code));
        use.writes = true;
    } else if (op_of(code) == OP_GETUPVAL && b_of(code) == function->env &&
               index + 1 < function->code_count &&
               op_of(code_at(function, index + 1)) == OP_LOADK) {
        use.name = constant_at(function, bx_of(code_at(function, index + 1)));
        use.writes = use.name.data && far_use_writes(function, index);
    }
    return use;
}

static enum status visit_uses(
    struct reader *reader, const struct function *function, const unsigned char *absolute) {
    struct reader lines = {.at = absolute, .end = reader->end};
    unsigned line = function->line;
    enum status status = ST_OK;
    for (size_t i = 0; i < function->code_count && status == ST_OK; i++) {
        signed char step = i < function->line_count ? (signed char)function->lines[i] : 0;
        if (step == -128) { /* ABSLINEINFO: too far for a byte */
            take_number(&lines);
            line = (unsigned)take_number(&lines);
        } else {
            line = (unsigned)((int)line + step);
        }
        struct global_use use = use_at(function, i);
        use.line = line;
        if (use.name.data)
            status = reader->visit(reader->ctx, &use);
    }
    return status;
}

static enum status read_parts(struct reader *reader, struct function *function, unsigned depth) {
    take_string(reader); /* the source's name */
    function->line = (unsigned)take_number(reader);
    take_number(reader);
    take(reader, 3); /* parameters, varargs, stack */
    function->code_count = take_count(reader, 4);
    function->code = take(reader, 4 * function->code_count);
    enum status status = take_constants(reader, function);
    take(reader, 3 * take_count(reader, 3)); /* upvalues */
    size_t functions = take_count(reader, 8);
    for (size_t i = 0; i < functions && status == ST_OK; i++)
        status = read_function(reader, depth + 1);
    const unsigned char *absolute = NULL;
    take_debug(reader, function, &absolute);
    if (reader->failed)
        return ST_INVALID;
    return status == ST_OK ? visit_uses(reader, function, absolute) : status;
}

static enum status read_function(struct reader *reader, unsigned depth) {
    if (depth > DEPTH_MAX)
        return ST_INVALID;
    struct function function = {.top_level = depth == 0};
    enum status status = read_parts(reader, &function, depth);
    free(function.constants);
    return status;
}

/* ---- the dump ---- */

/* "\x1bLua", version, format, bytes that conversions would spoil, sizes of an instruction, an
 * integer and a float, and one of each of these. */
static bool take_header(struct reader *reader) {
    static const unsigned char start[] = {0x1B, 'L', 'u', 'a',
        LUA_VERSION_NUM / 100 * 16 + LUA_VERSION_NUM % 100, 0, 0x19, 0x93, '\r', '\n', 0x1A, '\n',
        4, 8, 8};
    const lua_Integer integer = 0x5678;
    const lua_Number real = 370.5;
    const unsigned char *bytes = take(reader, sizeof start);
    if (!bytes || memcmp(bytes, start, sizeof start) != 0)
        return false;
    bytes = take(reader, sizeof integer);
    if (!bytes || memcmp(bytes, &integer, sizeof integer) != 0)
        return false;
    bytes = take(reader, sizeof real);
    if (!bytes)
        return false;
    lua_Number found;
    memcpy(&found, bytes, sizeof found);
    return found == real;
}

_Static_assert(LUA_VERSION_NUM == 504, "the format is that of Lua 5.4");

enum status globals_read(
    struct slice dump, enum status (*visit)(void *ctx, const struct global_use *use), void *ctx) {
    const unsigned char *bytes = (const unsigned char *)dump.data;
    struct reader reader = {.at = bytes, .end = bytes + dump.len, .visit = visit, .ctx = ctx};
    if (!take_header(&reader))
        return ST_INVALID;
    take_byte(&reader); /* upvalues of the main function */
    return read_function(&reader, 0);
}
