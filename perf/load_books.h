/* What is true of the data before and after the load: accounts, sums, counters, keys, metrics.
 *
 * Nobody else may write meanwhile to what a workload uses (accounts, its counter, its run's keys).
 *
 * Ownership: plain data. Threads: the main thread, while no load runs.
 * Errors: false and a text if the server cannot be asked; a book that does not balance is a result.
 */
#ifndef CONCAVE_PERF_LOAD_BOOKS_H
#define CONCAVE_PERF_LOAD_BOOKS_H

#include "perf/load_run.h"

/* Counters of /metrics, summed over their labels. */
struct metrics {
    bool known;
    double conflicts;   /* concave_txn_conflicts_total */
    double wal_records; /* concave_wal_records_total: one for each transaction that wrote */
    double syncs;       /* concave_wal_fsync_duration_seconds_count */
};

struct books_before {
    int64_t sum; /* of the accounts, or the counter */
    struct metrics metrics;
};

struct books_after {
    bool balanced;
    char text[160]; /* what was found, for people */
    struct metrics metrics;
};

/* Creates the accounts if the workload needs them (all get the same balance), reads what the
 * workload is to be compared with, and fills context->cas_version. */
bool books_open(struct client *client, struct work_context *context, struct books_before *before,
    struct buf *error);
bool books_close(struct client *client, const struct work_context *context,
    const struct books_before *before, const struct run_counts *counts, struct books_after *after,
    struct buf *error);

/* Waits up to 60 s for a server that says of itself (/readyz, 503) that it is not ready yet: it may
 * be reading its log. Any other answer, or none, is left to be noticed by what follows. */
void books_wait_ready(struct client *client);

/* A member of /v1/admin/status as text, of a list its length; "" if the server does not say. */
void books_status_text(struct client *client, const char *name, char *text, size_t text_size);

#endif
