/* The watchdog: finds a shard's thread that does not come back from a turn of its loop.
 *
 * Handlers are preempted and what cannot be interrupted is bounded, so a turn takes milliseconds;
 * one of WATCHDOG_STUCK_NS is a bug of ours, and a shard that does not turn holds up everybody's
 * transactions, for ever. The process then aborts: nothing that was acknowledged can be lost.
 *
 * Only time that the watchdog has seen pass counts: it adds up the steps between its looks during
 * which a shard's turn stayed the same. A long gap between two looks means that the whole process
 * or machine stood still (SIGSTOP, a suspended laptop, a frozen virtual machine), so everything is
 * counted anew then.
 *
 * Ownership: the caller's. Threads: one. Errors: none; time is passed in. */
#ifndef CONCAVE_NET_WATCHDOG_H
#define CONCAVE_NET_WATCHDOG_H

#include <stdbool.h>

#include "core/clock.h"

#define WATCHDOG_SHARDS_MAX 256u
#define WATCHDOG_LOOK_NS NS_PER_S
#define WATCHDOG_GAP_NS (3 * NS_PER_S)
#define WATCHDOG_STUCK_NS (10 * NS_PER_S)

struct watchdog {
    uint64_t looked_ns; /* 0: not yet */
    struct {
        uint64_t turn;    /* at the last look */
        uint64_t same_ns; /* that it has been seen to stay */
    } shards[WATCHDOG_SHARDS_MAX];
};

/* One look. turns: of each shard, a number that differs from turn to turn, 0 while it waits for
 * events. The index of a shard that is stuck; `count` if none is. */
unsigned watchdog_step(
    struct watchdog *watchdog, const uint64_t *turns, unsigned count, uint64_t now_ns);

#endif
