/* splitmix64, for numbers that need not be secret: ids of requests, backoff, and every seeded test
 * (Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014).
 *
 * The state is one word and any seed is a good one; the numbers repeat after 2^64.
 * Ownership: the caller's word. Threads: its owner's. Errors: none. */
#ifndef CONCAVE_CORE_SPLITMIX_H
#define CONCAVE_CORE_SPLITMIX_H

#include <stdint.h>

static inline uint64_t splitmix_next(uint64_t *state) {
    uint64_t bits = *state += UINT64_C(0x9E3779B97F4A7C15);
    bits = (bits ^ bits >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    bits = (bits ^ bits >> 27) * UINT64_C(0x94D049BB133111EB);
    return bits ^ bits >> 31;
}

#endif
