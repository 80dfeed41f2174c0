#include "shard/gate.h"

#include <assert.h>
#include <stdlib.h>

#include "core/mutant.h"

enum status gate_reserve(struct gate *gate, size_t count) {
    if (count <= gate->cap)
        return ST_OK;
    size_t cap = gate->cap ? gate->cap : 64;
    while (cap < count)
        cap *= 2;
    struct call **calls = realloc(gate->calls, cap * sizeof(struct call *));
    if (!calls)
        return ST_NOMEM;
    gate->calls = calls;
    gate->cap = cap;
    return ST_OK;
}

void gate_free(struct gate *gate) {
    free(gate->calls);
    *gate = (struct gate){0};
}

static void release(struct shard *shard, struct call *call) {
    shard->submitted--;
    shard->options.env.released(shard->options.env.ctx, call);
}

void gate_take(struct shard *shard, struct call *call) {
    struct gate *gate = &shard->gate;
    shard->options.env.committed(shard->options.env.ctx, call);
    if (call->depends_lsn <= gate->seen || MUTANT(REPLY_BEFORE_DURABLE)) {
        release(shard, call);
        return;
    }
    assert(gate->count < gate->cap);
    gate->calls[gate->count++] = call;
}

static void look(struct shard *shard, uint64_t durable_lsn) {
    struct gate *gate = &shard->gate;
    size_t kept = 0;
    gate->seen = durable_lsn;
    for (size_t i = 0; i < gate->count; i++) {
        if (gate->calls[i]->depends_lsn <= durable_lsn)
            release(shard, gate->calls[i]);
        else
            gate->calls[kept++] = gate->calls[i];
    }
    gate->count = kept;
}

void gate_turn(struct shard *shard) {
    struct gate *gate = &shard->gate;
    uint64_t durable_lsn = wal_reply_lsn(shard->options.wal);
    if (durable_lsn != gate->seen)
        look(shard, durable_lsn);
    if (gate->count == 0)
        return;
    durable_lsn = wal_announce(shard->options.wal, shard->index);
    if (durable_lsn != gate->seen)
        look(shard, durable_lsn);
}
