/* A checkpoint in the simulation: the steps of net/checkpoint.c, each a move of its own, with the
 * shards' work, the log's and crashes between them. */
#include "tests/sim/world.h"

#include <stdlib.h>

static bool all_passed(const struct world *world) {
    for (unsigned i = 0; i < world->shards; i++)
        if (!world->round.passed[i])
            return false;
    return true;
}

static void give_up(struct world *world, const char *what) {
    story("checkpoint given up: %s", what);
    world->round.state = ROUND_THAWING;
}

static void begin(struct world *world) {
    world->round = (struct round){.state = ROUND_PASSING, .s = wal_last_lsn(world->wal)};
    story("checkpoint of LSN %llu begins", (unsigned long long)world->round.s);
}

/* Any time after `begin`, each shard between two of its steps. Behind the last, what is in the
 * channels comes before the freezing. */
static void pass(struct world *world) {
    struct round *round = &world->round;
    round->passed[sim_random(world, world->shards)] = true;
    if (!all_passed(world))
        return;
    for (unsigned i = 0; i < world->shards * world->shards; i++)
        round->behind[i] = world->channels[i].sent;
    for (unsigned i = 0; i < world->shards; i++)
        round->passed[i] = false;
    round->state = ROUND_FREEZING;
}

static bool has_come(const struct world *world, unsigned to) {
    for (unsigned from = 0; from < world->shards; from++) {
        unsigned pair = from * world->shards + to;
        if (world->channels[pair].delivered < world->round.behind[pair])
            return false;
    }
    return true;
}

static void open_writer(struct world *world) {
    struct round *round = &world->round;
    round->applied = round->s;
    for (unsigned i = 0; i < world->shards; i++) {
        uint64_t lsn = treap_frozen_applied_lsn(round->frozen[i]);
        round->applied = lsn > round->applied ? lsn : round->applied;
        treap_cursor_init(&round->cursor[i], round->frozen[i]);
        round->node[i] = treap_cursor_next(&round->cursor[i]);
    }
    buf_reset(&world->error, SIZE_MAX);
    enum status status = snapshot_writer_open(
        SIM_DIR, wal_salt(world->wal), round->s, false, &round->writer, &world->error);
    round->state = ROUND_WRITING;
    if (status != ST_OK)
        give_up(world, status_text(status));
}

static void freeze(struct world *world) {
    struct round *round = &world->round;
    unsigned at = (unsigned)sim_random(world, world->shards);
    if (round->passed[at] || !has_come(world, at))
        return;
    if (shard_freeze(world->shard[at], &round->frozen[at]) != ST_OK) {
        round->frozen[at] = NULL;
        give_up(world, "no memory to freeze");
        return;
    }
    round->passed[at] = round->to_thaw[at] = true;
    if (all_passed(world))
        open_writer(world);
}

static void remove_old(struct world *world) {
    uint64_t previous = world->snapshot_lsn;
    if (previous == world->round.s)
        return;
    world->snapshot_lsn = world->round.s;
    if (previous == 0)
        return;
    enum status status = snapshot_remove_older(SIM_DIR, previous, &world->error);
    if (status == ST_OK)
        status = wal_trim(world->wal, previous, &world->error);
    if (status != ST_OK)
        story("what is older stays: %s", status_text(status));
}

static void publish(struct world *world) {
    struct round *round = &world->round;
    if (wal_durable_lsn(world->wal) < snapshot_writer_gate(round->writer)) {
        wal_request_sync(world->wal);
        return;
    }
    enum status status = snapshot_writer_publish(round->writer);
    if (status != ST_OK) {
        give_up(world, status_text(status));
        return;
    }
    story("snapshot of LSN %llu is published", (unsigned long long)round->s);
    world->counts.snapshots++;
    if (world->cut_after_snapshot)
        world->crash_move = world->counts.moves + 1 + sim_random(world, 4);
    remove_old(world);
    round->state = ROUND_THAWING;
}

static void finish(struct world *world) {
    struct round *round = &world->round;
    enum status status = snapshot_writer_finish(round->writer, round->applied);
    round->state = ROUND_SYNCING;
    if (status != ST_OK) {
        snapshot_writer_abort(round->writer);
        give_up(world, status_text(status));
    } else if (world->cut_after_snapshot) {
        publish(world); /* if it may */
    }
}

static void write_some(struct world *world) {
    struct round *round = &world->round;
    uint64_t left = world->cut_after_snapshot ? UINT64_MAX : 1 + sim_random(world, 16);
    for (; left > 0; left--) {
        unsigned first = world->shards;
        for (unsigned i = 0; i < world->shards; i++)
            if (round->node[i] &&
                (first == world->shards ||
                    slice_compare(treap_key(round->node[i]), treap_key(round->node[first])) < 0))
                first = i;
        if (first == world->shards) {
            finish(world);
            return;
        }
        const struct treap_node *node = round->node[first];
        enum status status = snapshot_writer_add(
            round->writer, treap_key(node), treap_version(node), treap_value(node));
        if (status != ST_OK) {
            snapshot_writer_abort(round->writer);
            give_up(world, status_text(status));
            return;
        }
        round->node[first] = treap_cursor_next(&round->cursor[first]);
    }
}

static void thaw(struct world *world) {
    struct round *round = &world->round;
    bool left = false;
    for (unsigned i = 0; i < world->shards; i++) {
        if (round->to_thaw[i])
            round->to_thaw[i] = !shard_thaw(world->shard[i], 1 + sim_random(world, 16));
        left = left || round->to_thaw[i];
    }
    if (!left)
        round->state = ROUND_NONE;
}

void checkpoint_step(struct world *world) {
    switch (world->round.state) {
    case ROUND_NONE:
        if (!world->draining && wal_last_lsn(world->wal) > 0)
            begin(world);
        return;
    case ROUND_PASSING:
        pass(world);
        return;
    case ROUND_FREEZING:
        freeze(world);
        return;
    case ROUND_WRITING:
        write_some(world);
        return;
    case ROUND_SYNCING:
        publish(world);
        return;
    case ROUND_THAWING:
        thaw(world);
        return;
    }
}
