/* What the tests of the log share: a directory of their own, a log that is stepped by hand, and the
 * list of what a replay gave.
 *
 * Every record of these tests is one put of a key and value that its number determines, so that a
 * replayed record shows whether it is whole and in its place. */
#ifndef CONCAVE_TESTS_SUPPORT_WAL_LOG_H
#define CONCAVE_TESTS_SUPPORT_WAL_LOG_H

#include "core/wal_private.h"

struct log_dir {
    char path[64];
};

/* A fresh directory under TMPDIR or /tmp; the test fails if there is none. */
void log_dir_make(struct log_dir *dir);
/* From now on directories are made in memory, if there is such a place: for tests that make
 * thousands of logs or syncs and do not depend on what a sync does. */
void log_dir_in_memory(void);
/* Removes the directory with its files. */
void log_dir_remove(struct log_dir *dir);
/* Copies all files of one directory over those of another, and removes what is only there. */
void log_dir_copy(const struct log_dir *from, const struct log_dir *to);
/* How many files in it end in this suffix. */
unsigned log_dir_count(const struct log_dir *dir, const char *suffix);

/* What replay gave: record i had LSN lsns[i] and number numbers[i]. */
struct log_replayed {
    uint64_t *lsns;
    uint64_t *numbers;
    size_t count, cap;
};
void log_replayed_free(struct log_replayed *replayed);

/* Small segments, always, one producer. */
struct wal_options log_options(const struct log_dir *dir);
/* Opens the log; what is replayed is put into replayed, errors into error (at least 1 KiB, may be
 * NULL if the test expects none). */
enum status log_open(const struct wal_options *options, struct wal **wal,
    struct log_replayed *replayed, char *error, size_t error_size);
/* Opens, expecting success, and begins without threads. */
struct wal *log_begin(const struct wal_options *options, struct log_replayed *replayed);

/* The value of record number n has this many bytes. */
size_t log_value_bytes(uint64_t number, size_t longest);
/* Reserves, fills and publishes record number n with a value of value_bytes; returns its LSN. */
uint64_t log_publish(struct wal *wal, unsigned producer, uint64_t number, size_t value_bytes);
/* The same, trying again while there is no room yet; for a log with its threads. */
uint64_t log_publish_patiently(
    struct wal *wal, unsigned producer, uint64_t number, size_t value_bytes);
/* Steps both threads' work until nothing is left to do. */
void log_settle(struct wal *wal);

#endif
