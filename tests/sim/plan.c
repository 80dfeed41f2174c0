/* What a seed is about. Of all faults and all kinds of work each seed has a random few (swarm
 * testing: Groce et al., ISSTA 2012), since what is always on hides what needs it off. */
#include "tests/sim/world.h"

#include <limits.h>
#include <string.h>

/* Machines cost time: so many seeds have one that uses them. */
#define LUA_ONE_IN 4

/* Work that takes no memory behind the commit that PREPARE has not taken before. */
static const struct work *const staged_works[] = {&work_points, &work_ranges, &work_flicker,
    &work_blink, &work_wipe, &work_shift, &work_skew, &work_long, &work_append, &work_kv_cas};
static const struct work *const all_works[] = {&work_points, &work_ranges, &work_flicker,
    &work_blink, &work_wipe, &work_shift, &work_skew, &work_long, &work_append, &work_kv_cas,
    &work_declared, &work_kv_execute, &work_kv_range, &work_kv_hot, &work_kv_bank};
static const struct work *const lua_works[] = {&work_lua_bank, &work_lua_append, &work_lua_mixed};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

const struct work *plan_focus;

/* All else is as it is drawn, so that seeds still differ. */
static void focus(struct world *world) {
    struct plan *plan = &world->plan;
    plan->crashes = plan->checkpoints = true;
    plan->memory_percent = 0;
    for (unsigned i = 0; i < plan->clients; i++)
        world->clients[i].work = plan_focus;
    plan->lua = plan_focus->lua;
}

static void draw_works(struct world *world) {
    struct plan *plan = &world->plan;
    const struct work *chosen[4];
    unsigned kinds = 1 + (unsigned)sim_random(world, COUNT(chosen));
    for (unsigned i = 0; i < kinds; i++)
        chosen[i] = plan->memory_percent ? staged_works[sim_random(world, COUNT(staged_works))]
                                         : all_works[sim_random(world, COUNT(all_works))];
    if (!plan->memory_percent && sim_one_in(world, LUA_ONE_IN))
        chosen[sim_random(world, kinds)] = lua_works[sim_random(world, COUNT(lua_works))];
    for (unsigned i = 0; i < plan->clients; i++) {
        world->clients[i] = (struct client){.number = i,
            .home = (unsigned)sim_random(world, SIM_SHARDS_MAX),
            .work = chosen[i % kinds],
            .pipelines = sim_one_in(world, 5)};
        plan->lua = plan->lua || world->clients[i].work->lua;
    }
}

static void draw_faults(struct world *world) {
    struct plan *plan = &world->plan;
    plan->crashes = !sim_one_in(world, 4);
    plan->always = sim_one_in(world, 3);
    plan->checkpoints = !sim_one_in(world, 3);
    plan->small_disk = sim_one_in(world, 8);
    plan->short_calls = sim_one_in(world, 6);
    plan->memory_percent = sim_one_in(world, 8) ? 3 : 0;
    plan->impatience = sim_one_in(world, 5);
    plan->txn_bytes_max = sim_one_in(world, 16) ? 2000 : 0;
    sim_disk_shorten(world->disk, plan->short_calls);
}

void plan_draw(struct world *world) {
    static const unsigned keys[] = {3, 6, 12, 48};
    static const uint64_t ticks[] = {2000, 20000, 200000};
    struct plan *plan = &world->plan;
    plan->lives = 1 + (unsigned)sim_random(world, 4);
    plan->clients = 2 + (unsigned)sim_random(world, SIM_CLIENTS_MAX - 1);
    plan->calls_a_life = 20 + (unsigned)sim_random(world, 60);
    plan->keys = keys[sim_random(world, COUNT(keys))];
    plan->tick_ns = ticks[sim_random(world, COUNT(ticks))];
    plan->deliver_weight = 4 + (unsigned)sim_random(world, 30);
    plan->turn_weight = 4 + (unsigned)sim_random(world, 30);
    plan->log_weight = 1 + (unsigned)sim_random(world, 10);
    plan->slow_shard =
        sim_one_in(world, 2) ? (unsigned)sim_random(world, SIM_SHARDS_MAX) : UINT_MAX;
    draw_faults(world);
    draw_works(world);
    if (plan_focus)
        focus(world);
    witness_open(world);
    story("seed %llu: %u lives, %u clients, %u keys, first work %s",
        (unsigned long long)world->seed, plan->lives, plan->clients, plan->keys,
        world->clients[0].work->name);
}
