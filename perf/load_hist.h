/* Latency histogram of fixed size: buckets are linear within each power of two, as in HdrHistogram.
 *
 * 64 buckets an octave keep every quantile within 1/64 of the true value, from 1 ns to 18 minutes.
 * Ownership: plain data. Threads: one writer; merge when it has finished. Errors: none; what is
 * longer than the last bucket is counted in it. */
#ifndef CONCAVE_PERF_LOAD_HIST_H
#define CONCAVE_PERF_LOAD_HIST_H

#include <stdint.h>

#define HIST_SUB_BITS 6
#define HIST_OCTAVES 34 /* 2^(34 + 6) ns are 18 minutes */
#define HIST_BUCKETS ((HIST_OCTAVES + 1) << HIST_SUB_BITS)

struct hist {
    uint64_t count;
    uint64_t sum_ns;
    uint64_t max_ns;
    uint64_t buckets[HIST_BUCKETS];
};

void hist_add(struct hist *hist, uint64_t ns);
void hist_merge(struct hist *into, const struct hist *from);
/* The smallest bucket's upper end (ns) with at least that part of all values at or below it; part
 * from 0 to 1. Never above the largest value added; 0 if there are none. */
uint64_t hist_quantile_ns(const struct hist *hist, double part);

#endif
