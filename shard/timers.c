#include "shard/timers.h"

#include <assert.h>
#include <stdlib.h>

enum status timers_reserve(struct timers *timers, size_t count) {
    if (count <= timers->cap)
        return ST_OK;
    size_t cap = timers->cap ? timers->cap : 64;
    while (cap < count)
        cap *= 2;
    struct txn **heap = realloc(timers->heap, cap * sizeof(struct txn *));
    if (!heap)
        return ST_NOMEM;
    timers->heap = heap;
    timers->cap = cap;
    return ST_OK;
}

void timers_free(struct timers *timers) {
    free(timers->heap);
    *timers = (struct timers){0};
}

static void put(struct timers *timers, size_t at, struct txn *txn) {
    timers->heap[at] = txn;
    txn->timer = at + 1;
}

static void rise(struct timers *timers, size_t at, struct txn *txn) {
    while (at > 0 && txn->timer_ns < timers->heap[(at - 1) / 2]->timer_ns) {
        put(timers, at, timers->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put(timers, at, txn);
}

static void sink(struct timers *timers, size_t at, struct txn *txn) {
    for (size_t child; (child = 2 * at + 1) < timers->count; at = child) {
        if (child + 1 < timers->count &&
            timers->heap[child + 1]->timer_ns < timers->heap[child]->timer_ns)
            child++;
        if (txn->timer_ns <= timers->heap[child]->timer_ns)
            break;
        put(timers, at, timers->heap[child]);
    }
    put(timers, at, txn);
}

void timers_add(struct timers *timers, struct txn *txn, uint64_t when_ns) {
    assert(txn->timer == 0 && timers->count < timers->cap);
    txn->timer_ns = when_ns;
    rise(timers, timers->count++, txn);
}

void timers_remove(struct timers *timers, struct txn *txn) {
    if (txn->timer == 0)
        return;
    size_t at = txn->timer - 1;
    txn->timer = 0;
    struct txn *last = timers->heap[--timers->count];
    if (last == txn)
        return;
    if (at > 0 && last->timer_ns < timers->heap[(at - 1) / 2]->timer_ns)
        rise(timers, at, last);
    else
        sink(timers, at, last);
}

struct txn *timers_due(struct timers *timers, uint64_t now_ns) {
    if (timers->count == 0 || timers->heap[0]->timer_ns > now_ns)
        return NULL;
    struct txn *txn = timers->heap[0];
    timers_remove(timers, txn);
    return txn;
}

uint64_t timers_next_ns(const struct timers *timers) {
    return timers->count ? timers->heap[0]->timer_ns : UINT64_MAX;
}
