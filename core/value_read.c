#include "core/value_read.h"

#include <math.h>

/* First bytes, as the MessagePack specification names them. */
enum format {
    FIXINT_MAX = 0x7F,
    FIXMAP = 0x80,
    FIXARRAY = 0x90,
    FIXSTR = 0xA0,
    NIL = 0xC0,
    FALSE_ = 0xC2,
    TRUE_ = 0xC3,
    FLOAT64 = 0xCB,
    UINT8 = 0xCC,
    UINT16 = 0xCD,
    UINT32 = 0xCE,
    UINT64 = 0xCF,
    INT8 = 0xD0,
    INT16 = 0xD1,
    INT32 = 0xD2,
    INT64 = 0xD3,
    STR8 = 0xD9,
    STR16 = 0xDA,
    STR32 = 0xDB,
    ARRAY16 = 0xDC,
    ARRAY32 = 0xDD,
    MAP16 = 0xDE,
    MAP32 = 0xDF,
    NEGATIVE_FIXINT = 0xE0,
};

#define FIXSTR_LEN_MAX 31u
#define FIX_COUNT_MAX 15u

/* Takes a big-endian number of some bytes off rest. */
static bool take_number(struct slice *rest, size_t bytes, uint64_t *number) {
    if (rest->len < bytes)
        return false;
    *number = 0;
    for (size_t i = 0; i < bytes; i++)
        *number = *number << 8 | (unsigned char)rest->data[i];
    rest->data += bytes;
    rest->len -= bytes;
    return true;
}

/* As take_number; false too if the number would have fitted the form before, which ends at `below`.
 */
static bool take_number_above(struct slice *rest, size_t bytes, uint64_t below, uint64_t *number) {
    return take_number(rest, bytes, number) && *number > below;
}

static bool read_unsigned(
    struct slice *rest, size_t bytes, uint64_t below, struct value_item *item) {
    uint64_t number;
    if (!take_number_above(rest, bytes, below, &number) || number > INT64_MAX)
        return false;
    item->kind = VALUE_INTEGER;
    item->integer = (int64_t)number;
    return true;
}

/* A negative number whose magnitude is more than `below`: as two's complement, less than -below. */
static bool read_signed(struct slice *rest, size_t bytes, int64_t below, struct value_item *item) {
    uint64_t number;
    if (!take_number(rest, bytes, &number))
        return false;
    unsigned unused = (unsigned)(64 - 8 * bytes);
    item->kind = VALUE_INTEGER;
    item->integer = (int64_t)(number << unused) >> unused;
    return item->integer < -below;
}

static bool read_real(struct slice *rest, struct value_item *item) {
    uint64_t bits;
    if (!take_number(rest, sizeof bits, &bits))
        return false;
    item->kind = VALUE_REAL;
    memcpy(&item->real, &bits, sizeof bits);
    return isfinite(item->real);
}

static bool read_string(struct slice *rest, uint64_t len, struct value_item *item) {
    if (len > rest->len)
        return false;
    item->kind = VALUE_STRING;
    item->string = slice_of(rest->data, (size_t)len);
    rest->data += len;
    rest->len -= (size_t)len;
    return true;
}

static bool read_long_string(
    struct slice *rest, size_t bytes, uint64_t below, struct value_item *item) {
    uint64_t len;
    return take_number_above(rest, bytes, below, &len) && read_string(rest, len, item);
}

/* Every item takes a byte at least, so a count that lies is found before anybody loops over it. */
static bool read_container(
    struct slice *rest, enum value_kind kind, uint64_t count, struct value_item *item) {
    item->kind = kind;
    item->count = (uint32_t)count;
    return count <= rest->len / (kind == VALUE_MAP ? 2 : 1);
}

static bool read_long_container(struct slice *rest, enum value_kind kind, size_t bytes,
    uint64_t below, struct value_item *item) {
    uint64_t count;
    return take_number_above(rest, bytes, below, &count) && read_container(rest, kind, count, item);
}

static bool read_boolean(bool boolean, struct value_item *item) {
    item->kind = VALUE_BOOLEAN;
    item->boolean = boolean;
    return true;
}

static bool read_fix(struct slice *rest, unsigned first, struct value_item *item) {
    if (first >= FIXSTR && first < NIL)
        return read_string(rest, first & FIXSTR_LEN_MAX, item);
    if (first >= FIXARRAY && first < FIXSTR)
        return read_container(rest, VALUE_ARRAY, first & FIX_COUNT_MAX, item);
    if (first >= FIXMAP && first < FIXARRAY)
        return read_container(rest, VALUE_MAP, first & FIX_COUNT_MAX, item);
    if (first > FIXINT_MAX && first < NEGATIVE_FIXINT)
        return false; /* binary, extensions, single floats: nothing that we write */
    item->kind = VALUE_INTEGER;
    item->integer = first <= FIXINT_MAX ? (int64_t)first : (int64_t)first - 256;
    return true;
}

bool value_read(struct slice *rest, struct value_item *item) {
    uint64_t first;
    if (!take_number(rest, 1, &first))
        return false;
    switch (first) {
    case NIL:
        item->kind = VALUE_NULL;
        return true;
    case FALSE_:
        return read_boolean(false, item);
    case TRUE_:
        return read_boolean(true, item);
    case FLOAT64:
        return read_real(rest, item);
    case UINT8:
        return read_unsigned(rest, 1, FIXINT_MAX, item);
    case UINT16:
        return read_unsigned(rest, 2, UINT8_MAX, item);
    case UINT32:
        return read_unsigned(rest, 4, UINT16_MAX, item);
    case UINT64:
        return read_unsigned(rest, 8, UINT32_MAX, item);
    case INT8:
        return read_signed(rest, 1, 256 - NEGATIVE_FIXINT, item);
    case INT16:
        return read_signed(rest, 2, -(int64_t)INT8_MIN, item);
    case INT32:
        return read_signed(rest, 4, -(int64_t)INT16_MIN, item);
    case INT64:
        return read_signed(rest, 8, -(int64_t)INT32_MIN, item);
    case STR8:
        return read_long_string(rest, 1, FIXSTR_LEN_MAX, item);
    case STR16:
        return read_long_string(rest, 2, UINT8_MAX, item);
    case STR32:
        return read_long_string(rest, 4, UINT16_MAX, item);
    case ARRAY16:
        return read_long_container(rest, VALUE_ARRAY, 2, FIX_COUNT_MAX, item);
    case ARRAY32:
        return read_long_container(rest, VALUE_ARRAY, 4, UINT16_MAX, item);
    case MAP16:
        return read_long_container(rest, VALUE_MAP, 2, FIX_COUNT_MAX, item);
    case MAP32:
        return read_long_container(rest, VALUE_MAP, 4, UINT16_MAX, item);
    default:
        return read_fix(rest, (unsigned)first, item);
    }
}
