/* Memory that an overload has taken is given back to the system when it is over.
 *
 * glibc's malloc keeps what is freed, for the next time: after 256 MiB of replies for clients that
 * did not read it would hold them for good, in pieces between other blocks. Large blocks are mapped
 * one by one and go back at once; for the rest main looks, once a second, whether connections hold
 * much less than they did, and then has malloc look through its free lists.
 *
 * Ownership: none. Threads: main's. Errors: none; memory that cannot be given back is kept. */
#ifndef CONCAVE_NET_MEMORY_H
#define CONCAVE_NET_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

/* An overload: when connections held this many bytes of bodies and replies, and now a quarter of
 * it. */
#define MEMORY_OVERLOAD_BYTES (UINT64_C(64) << 20)
#define MEMORY_LOOK_S 1 /* seconds between two looks */

/* Before anything is allocated. */
void memory_configure(void);

/* One look. held: the most that connections held since the last one, in bytes; most: the most of it
 * since memory was given back, zero at first, which this updates. True if it is time to. */
bool memory_look(uint64_t held, uint64_t *most);
/* Takes milliseconds, in which other threads may wait for memory. */
void memory_give_back(void);

#endif
