#include "lua/random.h"

#include <assert.h>

#include "core/splitmix.h"

static uint64_t rotate(uint64_t word, unsigned bits) {
    return (word << bits) | (word >> (64 - bits));
}

void random_seed(struct random *random, uint64_t seed) {
    for (unsigned i = 0; i < 4; i++)
        random->state[i] = splitmix_next(&seed);
}

uint64_t random_next(struct random *random) {
    uint64_t *s = random->state;
    uint64_t result = rotate(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate(s[3], 45);
    return result;
}

double random_real(struct random *random) {
    return (double)(random_next(random) >> 11) * 0x1p-53;
}

int64_t random_between(struct random *random, int64_t low, int64_t high) {
    assert(low <= high);
    uint64_t span = (uint64_t)high - (uint64_t)low;
    if (span == UINT64_MAX)
        return (int64_t)random_next(random);
    /* Draws past the last whole multiple of the span are thrown away, or the low numbers would come
     * up more often. At least half of all draws are good. */
    uint64_t count = span + 1, limit = UINT64_MAX - UINT64_MAX % count, word;
    do
        word = random_next(random);
    while (word >= limit);
    return (int64_t)((uint64_t)low + word % count);
}
