#include "core/clock.h"

#include <assert.h>
#include <time.h>

static uint64_t read_clock_ns(clockid_t id) {
    struct timespec now;
    int failed = clock_gettime(id, &now);
    assert(!failed);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t clock_monotonic_ns(void) {
    return read_clock_ns(CLOCK_MONOTONIC);
}

uint64_t clock_wall_ns(void) {
    return read_clock_ns(CLOCK_REALTIME);
}
