/* A timer wheel for deadlines that are moved often and reached seldom: those of idle connections
 * and slow requests (Varghese and Lauck 1987, scheme 4).
 *
 * Moving a deadline back, which every request does, writes one number; the entry is looked at when
 * its slot of the wheel comes round and is put where it belongs then. Deadlines are kept to within
 * WHEEL_TICK_NS, never early.
 *
 * Ownership: entries are embedded in the caller's structs and are cancelled before those go.
 * Threads: none of its own. Errors: none. */
#ifndef CONCAVE_NET_WHEEL_H
#define CONCAVE_NET_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

#include "core/clock.h"

#define WHEEL_TICK_NS (50 * NS_PER_MS)
#define WHEEL_SLOTS 256u /* a power of two; later deadlines wait for another round */

struct wheel_entry {
    struct wheel_entry *next, **link; /* link: what points here; NULL if not in the wheel */
    uint64_t tick;                    /* of the slot it stands in */
    uint64_t deadline_ns;
};

struct wheel {
    struct wheel_entry *slots[WHEEL_SLOTS];
    uint64_t tick; /* the next to be looked at */
    unsigned count;
};

void wheel_init(struct wheel *wheel, uint64_t now_ns);

/* Sets or moves the deadline. The entry is zeroed before its first use. */
void wheel_set(struct wheel *wheel, struct wheel_entry *entry, uint64_t deadline_ns);
/* Harmless if it has none. */
void wheel_cancel(struct wheel *wheel, struct wheel_entry *entry);

/* Calls expired for each entry whose deadline has passed; it is out of the wheel then and may be
 * set again, or others cancelled, from within. */
void wheel_advance(struct wheel *wheel, uint64_t now_ns,
    void (*expired)(void *ctx, struct wheel_entry *entry), void *ctx);

/* When wheel_advance next has something to look at; UINT64_MAX if the wheel is empty. */
uint64_t wheel_next_ns(const struct wheel *wheel);

#endif
