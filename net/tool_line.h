/* The lines of a dump: JSON Lines, each an object; written by dump, read by load.
 *
 *   {"key":K,"value":V,"version":N,"last_lsn":N,"first_run":B,"keys":K}    the first key
 *   {"key":K,"value":V,"version":N}                                        the others, in byte
 * order
 *   {"last_lsn":N,"first_run":B,"keys":0}                                  instead, without any
 * keys
 *
 * Every line is a key's, so whoever only wants keys can take the lines one by one. The further
 * members of the first are there because a state alone does not say which versions were used up by
 * keys that are gone, nor whether on("first_run") has run; the number of keys tells a whole dump
 * from one that was cut off. If all keys are gone, a line without "key" carries them; a directory
 * that has seen no transaction at all dumps nothing. Strings are as they are (UTF-8, only what JSON
 * demands is escaped), integers exact.
 *
 * Of the log (dump --log), one record a line; operations in order:
 *
 *   {"lsn":N,"ops":[{"key":K,"value":V},{"key":K,"delete":true},{"first_run":true}]}
 *
 * Ownership: what is read points into the line or into the reader, until the next line.
 * Threads: none of its own.
 * Errors: ST_CORRUPT for stored bytes that are no value, ST_INVALID for text that is no such line,
 * with a sentence in error, ST_NOMEM. */
#ifndef CONCAVE_NET_TOOL_LINE_H
#define CONCAVE_NET_TOOL_LINE_H

#include "core/buf.h"

/* Far from where LSNs would wrap, also after the gaps of unclean stops. */
#define TOOL_LSN_MAX (UINT64_C(1) << 62)

/* What a dump says of the whole. */
struct tool_head {
    uint64_t last_lsn; /* at least 1 */
    bool first_run;
    uint64_t keys;
};

struct tool_item {
    struct slice key;
    struct slice value; /* as stored */
    uint64_t version;
};

/* ---- writing: appended to out ---- */

/* A key's line; head: in the first one, else NULL. */
MUST_USE enum status tool_line_item(
    const struct tool_item *item, const struct tool_head *head, struct buf *out);
/* The line of a state without keys. */
MUST_USE enum status tool_line_no_items(const struct tool_head *head, struct buf *out);
/* operations: a record of the log behind its header. */
MUST_USE enum status tool_line_record(uint64_t lsn, struct slice operations, struct buf *out);

/* ---- reading ---- */

/* What reading lines needs again and again. */
struct tool_line_reader {
    struct buf scratch, key, value;
};

void tool_line_reader_init(struct tool_line_reader *reader);
void tool_line_reader_free(struct tool_line_reader *reader);

/* What a line holds: one of the two, or both. A head says that there are keys exactly if there is
 * an item with it. */
struct tool_line {
    bool has_item, has_head;
    struct tool_item item;
    struct tool_head head;
};

MUST_USE enum status tool_line_read(
    struct tool_line_reader *reader, struct slice text, struct tool_line *line, struct buf *error);

#endif
