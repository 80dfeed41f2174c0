/* The lines of a dump: JSON Lines, each an object; written by dump, read by load.
 *
 *   {"concave_dump":1,"last_lsn":N,"first_run":B,"keys":K}     the first line
 *   {"key":K,"value":V,"version":N}                            K lines, in byte order of the key
 *
 * The first line is the only one without "key". It is there because a state alone does not say
 * which versions were used up by keys that are gone, nor whether on("first_run") has run; its
 * number of keys tells a whole dump from one that was cut off. Strings are as they are (UTF-8, only
 * what JSON demands is escaped), integers exact.
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

#define TOOL_DUMP_VERSION 1
/* Far from where LSNs would wrap, also after the gaps of unclean stops. */
#define TOOL_LSN_MAX (UINT64_C(1) << 62)

struct tool_head {
    uint64_t last_lsn;
    bool first_run;
    uint64_t keys;
};

struct tool_item {
    struct slice key;
    struct slice value; /* as stored */
    uint64_t version;
};

/* ---- writing: appended to out ---- */

MUST_USE enum status tool_line_head(const struct tool_head *head, struct buf *out);
MUST_USE enum status tool_line_item(const struct tool_item *item, struct buf *out);
/* operations: a record of the log behind its header. */
MUST_USE enum status tool_line_record(uint64_t lsn, struct slice operations, struct buf *out);

/* ---- reading ---- */

/* What reading lines needs again and again. */
struct tool_line_reader {
    struct buf scratch, key, value;
};

void tool_line_reader_init(struct tool_line_reader *reader);
void tool_line_reader_free(struct tool_line_reader *reader);

MUST_USE enum status tool_line_read_head(
    struct tool_line_reader *reader, struct slice line, struct tool_head *head, struct buf *error);
MUST_USE enum status tool_line_read_item(
    struct tool_line_reader *reader, struct slice line, struct tool_item *item, struct buf *error);

#endif
