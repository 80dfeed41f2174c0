/* Reads stored values piece by piece: the counterpart of the msgpack_pack_* calls that made them.
 *
 * msgpack-c's own unpacker stops at 32 levels, where a value may have JSON_VALUE_DEPTH_MAX, and
 * believes the count in a header before it has seen the items; it also builds a tree where its
 * callers only walk. So this is the one decoder, and it takes only what the packer would have
 * written: the kinds of core/value.h, each in its shortest form.
 *
 * Ownership: strings point into the value. Threads: any. Errors: false for bytes that are no item;
 * nothing outside the slice is read. */
#ifndef CONCAVE_CORE_VALUE_READ_H
#define CONCAVE_CORE_VALUE_READ_H

#include "core/buf.h"

enum value_kind {
    VALUE_NULL,
    VALUE_BOOLEAN,
    VALUE_INTEGER,
    VALUE_REAL,
    VALUE_STRING,
    VALUE_ARRAY, /* count items follow */
    VALUE_MAP,   /* count pairs follow, each a VALUE_STRING and an item */
};

struct value_item {
    enum value_kind kind;
    union {
        bool boolean;
        int64_t integer;
        double real; /* finite */
        struct slice string;
        uint32_t count; /* never more than the bytes that are left could hold */
    };
};

/* Takes the next item off *rest; of an array or map just the header. Depth, whether a map's names
 * are strings in UTF-8 and what follows the whole value are for the caller to check. */
MUST_USE bool value_read(struct slice *rest, struct value_item *item);

#endif
