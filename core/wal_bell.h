/* A bell: wakes one sleeping thread, and costs its ringers nothing while that thread is awake.
 *
 * The sleeper announces, looks once more for work, then waits; a ringer makes its work visible
 * first and then rings. Both sides store and then load what the other stored (Dekker), all
 * sequentially consistent, so at least one of them sees the other: no ring is lost between look and
 * sleep. Rings coalesce.
 *
 * Threads: bell_ring any; the rest the sleeper. Errors: creation only. */
#ifndef CONCAVE_CORE_WAL_BELL_H
#define CONCAVE_CORE_WAL_BELL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/status.h"

struct bell {
    atomic_bool asleep; /* set by the sleeper, cleared by whoever wakes it */
    int fd;             /* an eventfd */
};

MUST_USE enum status bell_init(struct bell *bell);
void bell_free(struct bell *bell);

/* What the sleeper is to see must have been stored sequentially consistent before. */
void bell_ring(struct bell *bell);

void bell_announce(struct bell *bell);
/* The look after the announcement found work. */
void bell_withdraw(struct bell *bell);
/* Sleeps until the bell rings or timeout_ns nanoseconds are over (UINT64_MAX: no limit). */
void bell_wait(struct bell *bell, uint64_t timeout_ns);

#endif
