/* The scheduler: what happens next is the seed's choice among all that can. */
#include "tests/sim/world.h"

#include <assert.h>

#include "core/clock.h"
#include "core/splitmix.h"

uint64_t sim_random(struct world *world, uint64_t below) {
    return splitmix_next(&world->random) % below;
}

/* Looks at a world in which nothing happens, before it is said to stand still. */
#define IDLE_ROUNDS_MAX 8u

/* ---- messages ---- */

static void send(void *ctx, unsigned to, struct msg *msg) {
    struct world *world = ctx;
    struct channel *channel = &world->channels[world->sender * world->shards + to];
    msg->next = NULL;
    *channel->end = msg;
    channel->end = &msg->next;
    channel->sent++;
    world->queued++;
}

struct shard_env move_env(struct world *world) {
    return (struct shard_env){world, send, client_committed, client_released};
}

static const char *message_name(unsigned type) {
    static const char *const names[] = {"nothing", "call", "call is over", "branch",
        "branch's answer", "ticket wanted", "ticket's answer", "ticket returned", "ticket at rest"};
    return type < sizeof names / sizeof names[0] ? names[type] : "message";
}

static void deliver(struct world *world) {
    unsigned pairs = world->shards * world->shards;
    unsigned pair = (unsigned)sim_random(world, pairs);
    bool all = sim_one_in(world, 32);
    for (unsigned tries = 0; tries < 2 * pairs; tries++, pair = (pair + 1) % pairs)
        if (world->channels[pair].first &&
            (all || tries >= pairs || pair % world->shards != world->plan.slow_shard))
            break;
    struct channel *channel = &world->channels[pair];
    struct msg *msg = channel->first;
    assert(msg);
    channel->first = msg->next;
    if (!channel->first)
        channel->end = &channel->first;
    channel->delivered++;
    world->queued--;
    world->counts.messages++;
    world->sender = pair % world->shards;
    story("shard %u gets %s from %u", world->sender, message_name(msg->type), pair / world->shards);
    world->counts.tickets += msg->type == MSG_TICKET_ANSWER;
    world->due[world->sender] = true;
    shard_deliver(world->shard[world->sender], msg, sim_clock_ns());
}

/* ---- turns ---- */

/* A shard's thread runs when there is something for it: a message, a call, a timer, a sync that it
 * asked for, or work that it left itself. */
static bool is_due(const struct world *world, unsigned at) {
    return world->due[at] || shard_next_ns(world->shard[at]) <= sim_clock_ns();
}

static bool turn(struct world *world) {
    unsigned at = (unsigned)sim_random(world, world->shards);
    for (unsigned i = 0; !is_due(world, at); i++, at = (at + 1) % world->shards)
        if (i == world->shards)
            return false;
    world->due[at] = false;
    world->idle_rounds = 0;
    world->sender = at;
    (void)shard_turn_slow(world->shard[at], sim_clock_ns()); /* left by the turn before */
    if (shard_turn(world->shard[at], sim_clock_ns()) || shard_has_slow(world->shard[at]))
        world->due[at] = true;
    return true;
}

/* ---- the log ---- */

static uint64_t log_step(struct world *world) {
    uint64_t durable = wal_durable_lsn(world->wal);
    uint64_t next_ns = wal_step(world->wal, sim_clock_ns());
    if (wal_durable_lsn(world->wal) != durable)
        story("the log is durable up to LSN %llu", (unsigned long long)wal_durable_lsn(world->wal));
    return next_ns;
}

/* Nothing else can happen: the log does what it can, and if it can do nothing, time passes. */
static void idle(struct world *world) {
    uint64_t now_ns = sim_clock_ns();
    uint64_t log_ns = log_step(world);
    bool prepares = wal_prepare_step(world->wal);
    if (log_ns <= now_ns || prepares)
        return;
    uint64_t next_ns = log_ns;
    for (unsigned i = 0; i < world->shards; i++) {
        if (is_due(world, i))
            return;
        uint64_t timer_ns = shard_next_ns(world->shard[i]);
        next_ns = timer_ns < next_ns ? timer_ns : next_ns;
    }
    if (world->round.state != ROUND_NONE) {
        sim_clock_set(now_ns + NS_PER_US);
        checkpoint_step(world);
        return;
    }
    /* The log's two threads may have rung each other's bell just now. */
    if (next_ns == UINT64_MAX && world->idle_rounds++ < IDLE_ROUNDS_MAX)
        return;
    if (next_ns == UINT64_MAX) {
        for (struct client_call *call = world->calls; call; call = call->next)
            if (!call->released)
                story_fail("call %u of client %u is out and nothing can happen any more",
                    call->number, call->client->number);
        return;
    }
    world->idle_rounds = 0;
    sim_clock_set(next_ns);
}

/* ---- moves ---- */

static void pick(struct world *world) {
    const struct plan *plan = &world->plan;
    unsigned all = plan->deliver_weight + plan->turn_weight + plan->log_weight + 4;
    unsigned chance = (unsigned)sim_random(world, all);
    if (chance < plan->deliver_weight && world->queued) {
        deliver(world);
        return;
    }
    if (chance < plan->log_weight) {
        (void)log_step(world);
        return;
    }
    if (chance >= all - 4) {
        if (chance == all - 1)
            (void)wal_prepare_step(world->wal);
        else if (chance == all - 2 && plan->checkpoints &&
                 (world->round.state != ROUND_NONE ||
                     sim_one_in(world, world->cut_after_snapshot ? 2 : 16)))
            checkpoint_step(world);
        else
            (void)client_step(world);
        return;
    }
    if (!turn(world)) {
        if (world->queued)
            deliver(world);
        else if (!client_step(world))
            idle(world);
    }
}

static void starve(struct world *world, uint64_t allocations) {
    for (unsigned i = 0; i < world->shards; i++)
        slab_fail_after(treap_slab(world->shard[i]->treap), allocations);
}

void move(struct world *world) {
    world->counts.moves++;
    sim_clock_set(sim_clock_ns() + sim_random(world, world->plan.tick_ns));
    bool starves = sim_random(world, 100) < world->plan.memory_percent;
    if (starves) {
        world->counts.faults++;
        starve(world, sim_random(world, 3));
    }
    pick(world);
    if (starves)
        starve(world, SLAB_FAIL_NEVER);
    check_marks(world);
    check_state(world);
}
