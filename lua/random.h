/* Pseudo-random numbers that a request's seed decides: a retry draws the same.
 *
 * xoshiro256** (Blackman and Vigna 2018), its state filled by splitmix64 from the seed.
 * Threads: none of its own. Errors: none. */
#ifndef CONCAVE_LUA_RANDOM_H
#define CONCAVE_LUA_RANDOM_H

#include <stdint.h>

struct random {
    uint64_t state[4];
};

void random_seed(struct random *random, uint64_t seed);
uint64_t random_next(struct random *random);
/* Uniform in [0, 1), 53 bits. */
double random_real(struct random *random);
/* Uniform in [low, high], low <= high. */
int64_t random_between(struct random *random, int64_t low, int64_t high);

#endif
