#include "net/wheel.h"

#include <stddef.h>

_Static_assert((WHEEL_SLOTS & (WHEEL_SLOTS - 1)) == 0, "slots are picked by a mask");

void wheel_init(struct wheel *wheel, uint64_t now_ns) {
    *wheel = (struct wheel){.tick = now_ns / WHEEL_TICK_NS};
}

static void unlink_entry(struct wheel *wheel, struct wheel_entry *entry) {
    *entry->link = entry->next;
    if (entry->next)
        entry->next->link = entry->link;
    entry->link = NULL;
    wheel->count--;
}

/* Into the slot of its deadline, or the farthest one if that is more than a round away. */
static void link_entry(struct wheel *wheel, struct wheel_entry *entry) {
    /* Rounded up, so that a slot is looked at only when all its deadlines have passed. */
    uint64_t tick = entry->deadline_ns / WHEEL_TICK_NS + 1;
    if (tick < wheel->tick)
        tick = wheel->tick;
    if (tick - wheel->tick >= WHEEL_SLOTS)
        tick = wheel->tick + WHEEL_SLOTS - 1;
    struct wheel_entry **slot = &wheel->slots[tick & (WHEEL_SLOTS - 1)];
    entry->tick = tick;
    entry->next = *slot;
    entry->link = slot;
    if (entry->next)
        entry->next->link = &entry->next;
    *slot = entry;
    wheel->count++;
}

void wheel_set(struct wheel *wheel, struct wheel_entry *entry, uint64_t deadline_ns) {
    entry->deadline_ns = deadline_ns;
    if (entry->link) {
        if (deadline_ns / WHEEL_TICK_NS + 1 >= entry->tick)
            return; /* looked at early enough where it stands */
        unlink_entry(wheel, entry);
    }
    link_entry(wheel, entry);
}

void wheel_cancel(struct wheel *wheel, struct wheel_entry *entry) {
    if (entry->link)
        unlink_entry(wheel, entry);
}

void wheel_advance(struct wheel *wheel, uint64_t now_ns,
    void (*expired)(void *ctx, struct wheel_entry *entry), void *ctx) {
    uint64_t now_tick = now_ns / WHEEL_TICK_NS;
    if (wheel->count == 0 || now_tick >= wheel->tick + WHEEL_SLOTS) {
        /* Nothing to look at, or every slot is due: one round sees them all. */
        uint64_t first = wheel->count == 0 ? now_tick : now_tick - WHEEL_SLOTS + 1;
        if (wheel->tick < first)
            wheel->tick = first;
    }
    while (wheel->tick <= now_tick) {
        struct wheel_entry **slot = &wheel->slots[wheel->tick & (WHEEL_SLOTS - 1)];
        wheel->tick++;
        /* The slot's list is taken over first: what is put back, or set from within `expired`, goes
         * to slots that are still to come. */
        struct wheel_entry *due = *slot;
        *slot = NULL;
        if (due)
            due->link = &due;
        while (due) {
            struct wheel_entry *entry = due;
            unlink_entry(wheel, entry);
            if (entry->deadline_ns > now_ns)
                link_entry(wheel, entry);
            else
                expired(ctx, entry);
        }
    }
}

uint64_t wheel_next_ns(const struct wheel *wheel) {
    if (wheel->count == 0)
        return UINT64_MAX;
    for (uint64_t tick = wheel->tick; tick < wheel->tick + WHEEL_SLOTS; tick++)
        if (wheel->slots[tick & (WHEEL_SLOTS - 1)])
            return tick * WHEEL_TICK_NS;
    return UINT64_MAX;
}
