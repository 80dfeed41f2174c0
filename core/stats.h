/* The metrics registry: counters, gauges and fixed-bucket histograms in Prometheus text format
 * 0.0.4.
 *
 * Each thread adds to cells of its own (a relaxed load and store, no shared cache line, no lock); a
 * reader sums the cells of all threads. A family is registered once, before the threads start, with
 * its labels' names; a series of it (one set of label values) gets an index.
 *
 * Ownership: the registry owns everything; it lives as long as the process.
 * Threads: stats_add and the like on the thread whose index is given; rendering on any.
 * Errors: registering a family ends the process, with exit code 1, if memory runs out (it is
 * start-up). A series for which there is no room any more (STATS_CELLS_MAX over all) is counted
 * nowhere instead. */
#ifndef CONCAVE_CORE_STATS_H
#define CONCAVE_CORE_STATS_H

#include "core/buf.h"

struct stats;
typedef unsigned stats_id; /* a series: a cell, or a row of cells for a histogram */

#define STATS_BUCKETS_MAX 48u
/* Over all series: a histogram takes two more than it has buckets, others one. */
#define STATS_CELLS_MAX (1u << 20)

enum stats_kind { STATS_COUNTER, STATS_GAUGE, STATS_HISTOGRAM };

/* threads: how many write; each passes its index below that to the calls. */
struct stats *stats_create(unsigned threads);
void stats_destroy(struct stats *stats);

/* A family; registering it again changes nothing. name without "concave_" unless it starts with
 * "process_"; buckets (upper bounds, ascending, bucket_count of them) for histograms only, in the
 * unit of `scale`: a histogram is fed integers (nanoseconds, counts) and printed divided by scale
 * (1e9 for seconds, 1 for counts). scale works for counters and gauges too; 0 counts as 1. help is
 * one line without backslashes. */
void stats_family(struct stats *stats, const char *name, enum stats_kind kind, const char *help,
    const uint64_t *buckets, unsigned bucket_count, double scale);
/* A series of it, or the one with these labels that is there already; labels is the text between
 * the braces, already escaped ("route=\"transfer\""), NULL or "" for none (stats_escape helps).
 * Also possible while threads run, under the registry's lock. */
stats_id stats_series(struct stats *stats, const char *family, const char *labels);
/* The same for a series that the caller knows not to be there yet: it is not looked for, which
 * counts when there are thousands. */
stats_id stats_new_series(struct stats *stats, const char *family, const char *labels);
/* Appends text (UTF-8) escaped for a label value. */
void stats_escape(struct buf *out, struct slice text);

void stats_add(struct stats *stats, unsigned thread, stats_id id, uint64_t amount);
void stats_set(struct stats *stats, unsigned thread, stats_id id, uint64_t value);
void stats_observe(struct stats *stats, unsigned thread, stats_id id, uint64_t value);
/* The sum over all threads (of a histogram: its count). */
uint64_t stats_read(const struct stats *stats, stats_id id);

/* A series whose value is computed when it is read: value(ctx) is called on the rendering thread,
 * under the registry's lock (so it calls nothing of this file). The family (no histogram) is
 * registered by its first series. */
void stats_callback(struct stats *stats, const char *name, enum stats_kind kind, const char *help,
    const char *labels, double (*value)(void *ctx), void *ctx);
/* The process_* families, read from the kernel at rendering; once a process. */
void stats_register_process(struct stats *stats);

/* Appends all families, each with HELP and TYPE. */
void stats_render(struct stats *stats, struct buf *out);

#endif
