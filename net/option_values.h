/* The values of options: how each kind is read from text.
 *
 * Private to net/options.c. Ownership: nothing is kept. Threads: any. Errors: false, and the result
 * is untouched; the caller words the message. */
#ifndef CONCAVE_NET_OPTION_VALUES_H
#define CONCAVE_NET_OPTION_VALUES_H

#include "net/options.h"

/* A row of digits. */
bool option_read_number(const char *text, uint64_t *number);
/* A row of digits, then perhaps K, M, G or KiB, MiB, GiB (powers of 1024). */
bool option_read_bytes(const char *text, uint64_t *bytes);
/* 1 to SHARDS_MAX, or auto: as many as cores are online. */
bool option_read_shards(const char *text, unsigned *shards);
bool option_read_address(const char *text, struct options_address *address);
/* always, interval:MS with 1 to 60000 ms, manual. */
bool option_read_durability(
    const char *text, enum wal_durability *durability, uint64_t *interval_ms);
/* on or off; also yes and no, true and false, 1 and 0. */
bool option_read_switch(const char *text, bool *on);
bool option_read_level(const char *text, enum diag_level *level);
bool option_read_format(const char *text, enum diag_format *format);

/* Appends a number of bytes for people: "64 MiB", "1000 bytes". */
void option_print_bytes(struct buf *out, uint64_t bytes);

/* The token in a file, a last line end taken off, as a new string. ST_OK; ST_INVALID (unreadable,
 * empty, or with bytes that cannot stand in a header field's word) with the reason in error;
 * ST_NOMEM. */
MUST_USE enum status option_read_token(const char *path, char **token, struct buf *error);

#endif
