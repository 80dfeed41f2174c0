/* Time, in one place, so that a simulation can replace it at link time.
 *
 * Threads: any. Errors: none; a machine without these clocks does not run concave. */
#ifndef CONCAVE_CORE_CLOCK_H
#define CONCAVE_CORE_CLOCK_H

#include <stdint.h>

#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)

/* Nanoseconds of a clock that never goes back; only differences mean anything. */
uint64_t clock_monotonic_ns(void);
/* Nanoseconds since 1970-01-01 00:00 UTC; may be stepped by the administrator. */
uint64_t clock_wall_ns(void);

#endif
