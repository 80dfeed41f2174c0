/* Values as they are stored: one MessagePack object each, encoded once, immutable.
 *
 * JSON maps to it one to one: null, booleans, int64, double (a whole float stays a float), UTF-8
 * str, array, map with str keys in the order given. Encodings are the shortest that MessagePack has
 * for the type, so equal values have equal bytes. Packing is msgpack-c's, unpacking is
 * core/value_read.h's; here is the mapping.
 *
 * Threads: none of its own. */
#ifndef CONCAVE_CORE_VALUE_H
#define CONCAVE_CORE_VALUE_H

#include "core/json_read.h"

/* Appends the JSON value whose first token was `first` as MessagePack; depth of the value itself is
 * bounded by JSON_VALUE_DEPTH_MAX. ST_OK; ST_INVALID with reader->error and error_at; ST_NOMEM. */
MUST_USE enum status value_from_json(
    struct json_reader *reader, enum json_token first, struct buf *out);

/* Appends a value as JSON. ST_OK; ST_CORRUPT if the bytes are not one whole value; ST_NOMEM. */
MUST_USE enum status value_to_json(struct slice value, struct buf *out);

/* True if the bytes are one whole value as value_from_json would have written it, and not null;
 * only duplicate names in a map are not looked for. For data from outside. */
bool value_valid(struct slice value);

/* A number to add: what incr's `by` was. */
struct number {
    bool is_real;
    int64_t integer;
    double real;
};
/* Appends value + by as a value (an empty slice counts as the integer 0) and gives the sum. Two
 * integers give an integer, else a float. ST_OK; ST_NOT_A_NUMBER; ST_OVERFLOW past 64 bits or to
 * infinity; ST_NOMEM. */
MUST_USE enum status value_add(
    struct slice value, struct number by, struct buf *out, struct number *sum);

#endif
