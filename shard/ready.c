#include "shard/ready.h"

/* Slices that the head of the slow line may use up before it goes to the line's end. */
#define SLOW_TURN_SLICES 8u

/* What a route's latest calls were, as a saturating counter of two bits (Smith 1981, "A study of
 * branch prediction strategies"): one that was unlike the others does not turn the verdict. In an
 * application of very many routes some share a counter, as they do there. */
#define SLOWNESS_MAX 3u
#define SLOWNESS_SLOW 2u

static void line_init(struct line *line) {
    line->first = NULL;
    line->end = &line->first;
}

void ready_init(struct ready *ready) {
    line_init(&ready->quick);
    line_init(&ready->slow);
}

static uint8_t *slowness(const struct txn *txn) {
    return &txn->shard->ready.slowness[txn->call->label % SLOWNESS_COUNTERS];
}

void ready_new_call(struct txn *txn) {
    txn->slow = *slowness(txn) >= SLOWNESS_SLOW;
    txn->preempted = false;
    txn->slices_left = 0;
}

void ready_preempted(struct txn *txn) {
    uint8_t *count = slowness(txn);
    if (!txn->preempted && *count < SLOWNESS_MAX)
        ++*count;
    txn->slow = txn->preempted = true;
    if (txn->slices_left > 0)
        txn->slices_left--;
}

void ready_ended(const struct txn *txn) {
    uint8_t *count = slowness(txn);
    if (!txn->preempted && *count > 0)
        --*count;
}

static void append(struct line *line, struct txn *txn) {
    txn->next = NULL;
    *line->end = txn;
    line->end = &txn->next;
}

static void prepend(struct line *line, struct txn *txn) {
    txn->next = line->first;
    if (!line->first)
        line->end = &txn->next;
    line->first = txn;
}

static struct txn *take(struct line *line) {
    struct txn *txn = line->first;
    if (!txn)
        return NULL;
    line->first = txn->next;
    if (!line->first)
        line->end = &line->first;
    return txn;
}

void ready_add(struct txn *txn) {
    struct ready *ready = &txn->shard->ready;
    if (!txn->slow || txn->prepared || txn->ticket_state == TICKET_HELD) {
        append(&ready->quick, txn);
    } else if (txn->slices_left > 0) {
        prepend(&ready->slow, txn);
    } else {
        txn->slices_left = SLOW_TURN_SLICES;
        append(&ready->slow, txn);
    }
}

struct txn *ready_take_quick(struct ready *ready) {
    return take(&ready->quick);
}

struct txn *ready_take_slow(struct ready *ready) {
    return take(&ready->slow);
}
