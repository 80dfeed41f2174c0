#include "perf/load_hist.h"

#include <assert.h>

#define SUB (UINT64_C(1) << HIST_SUB_BITS)

/* Values below SUB have buckets of their own (octave 0); from there on, octave o holds
 * [SUB << (o - 1), SUB << o) in SUB steps of 2^(o - 1). */
static unsigned bucket_of(uint64_t ns) {
    if (ns < SUB)
        return (unsigned)ns;
    unsigned octave = 64u - (unsigned)__builtin_clzll(ns) - HIST_SUB_BITS;
    if (octave > HIST_OCTAVES)
        return HIST_BUCKETS - 1;
    uint64_t step = (ns >> (octave - 1)) - SUB;
    return (unsigned)((octave << HIST_SUB_BITS) + step);
}

static uint64_t bucket_last_ns(unsigned bucket) {
    unsigned octave = bucket >> HIST_SUB_BITS;
    uint64_t step = bucket & (SUB - 1);
    if (octave == 0)
        return step;
    return ((SUB + step + 1) << (octave - 1)) - 1;
}

void hist_add(struct hist *hist, uint64_t ns) {
    unsigned bucket = bucket_of(ns);
    assert(bucket < HIST_BUCKETS);
    hist->buckets[bucket]++;
    hist->count++;
    hist->sum_ns += ns;
    if (ns > hist->max_ns)
        hist->max_ns = ns;
}

void hist_merge(struct hist *into, const struct hist *from) {
    for (unsigned i = 0; i < HIST_BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
    into->count += from->count;
    into->sum_ns += from->sum_ns;
    if (from->max_ns > into->max_ns)
        into->max_ns = from->max_ns;
}

uint64_t hist_quantile_ns(const struct hist *hist, double part) {
    assert(part >= 0 && part <= 1);
    double wanted = part * (double)hist->count;
    uint64_t seen = 0;
    for (unsigned i = 0; i < HIST_BUCKETS; i++) {
        seen += hist->buckets[i];
        if (seen > 0 && (double)seen >= wanted) {
            uint64_t last = bucket_last_ns(i);
            return last < hist->max_ns ? last : hist->max_ns;
        }
    }
    return hist->max_ns;
}
