/* A seed's lives: each opens what the one before has left, serves, and ends well or badly. */
#include "tests/sim/world.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "core/clock.h"
#include "tests/support/diag_catch.h"

#define MOVES_MAX UINT64_C(400000)
#define RECOVERY_CRASHES_MAX 3u

enum ending { END_WELL, END_KILLED, END_CUT, END_CUT_IN_CALL, END_FAILED_CALL };

static void published(void *ctx, uint64_t lsn) {
    struct world *world = ctx;
    if (lsn <= world->shown)
        story_fail("LSN %llu is drawn again", (unsigned long long)lsn);
    if (!world->first_lsn && lsn != world->past.last + 1)
        story_fail(
            "LSN %llu follows %llu", (unsigned long long)lsn, (unsigned long long)world->past.last);
    world->first_lsn = false;
}

static struct trace *trace_of(struct call *call) {
    struct client_call *sim = (struct client_call *)call;
    return sim->running ? &sim->trace : NULL;
}

/* ---- crashes ---- */

static void cut_power(struct world *world) {
    enum sim_outcome outcome = (enum sim_outcome)sim_random(world, SIM_OUTCOMES);
    story("power is cut, outcome %d", (int)outcome);
    world->counts.cuts++;
    sim_disk_power_cut(world->disk, outcome, sim_random(world, UINT64_MAX));
}

static void crash_disk(struct world *world) {
    world->counts.crashes++;
    if (sim_disk_is_dead(world->disk) || sim_one_in(world, 2)) {
        cut_power(world);
    } else {
        story("the process is killed");
        sim_disk_kill(world->disk);
    }
    sim_disk_fail_at(world->disk, 0, 0, 0);
    sim_disk_set_room(world->disk, UINT64_MAX);
    world->no_room = false;
}

/* Runs something that a failing disk may end as it ends the process. False: it did. */
static bool survives(struct world *world, bool (*what)(struct world *world)) {
    struct diag_catch catch;
    if (setjmp(*diag_catch_begin(&catch)) == 0) {
        bool well = what(world);
        diag_catch_end(&catch);
        return well;
    }
    story("the process ends with exit code %d: %s", catch.exit_code, catch.message);
    if (catch.exit_code != 3 ||
        !(sim_disk_is_dead(world->disk) || sim_disk_has_failed(world->disk)))
        story_fail("the process ended by itself: %s", catch.message);
    return false;
}

/* ---- a life ---- */

static enum ending draw_ending(struct world *world, bool last) {
    if (last || !world->plan.crashes)
        return END_WELL;
    switch (sim_random(world, 6)) {
    case 0:
        return END_WELL;
    case 1:
        return END_KILLED;
    case 2:
        return END_FAILED_CALL;
    case 3:
        return END_CUT_IN_CALL;
    default:
        return END_CUT;
    }
}

static bool serve(struct world *world) {
    uint64_t moves_max = world->counts.moves + MOVES_MAX;
    while (world->left > 0 || world->in_flight > 0) {
        move(world);
        if (world->counts.moves == world->crash_move || sim_disk_is_dead(world->disk))
            return false;
        if (world->counts.moves == world->fill_move) {
            world->no_room = true;
            sim_disk_set_room(world->disk, sim_disk_used(world->disk) + sim_random(world, 70000));
            story("the disk is nearly full");
        }
        if (world->counts.moves == world->empty_move) {
            sim_disk_set_room(world->disk, UINT64_MAX);
            story("the disk has room again");
        }
        if (world->counts.moves > moves_max)
            story_fail("%u calls do not come to their end", world->in_flight);
    }
    return true;
}

static bool settle(struct world *world) {
    world->draining = true;
    sim_disk_set_room(world->disk, UINT64_MAX);
    uint64_t moves_max = world->counts.moves + MOVES_MAX;
    for (bool busy = true; busy;) {
        move(world);
        busy = world->queued > 0 || world->round.state != ROUND_NONE;
        for (unsigned i = 0; i < world->shards; i++)
            busy = busy || shard_in_flight(world->shard[i]);
        if (world->counts.moves > moves_max)
            story_fail("what is under way behind the last reply does not come to its end");
        if (sim_disk_is_dead(world->disk))
            return false;
    }
    life_stop(world);
    return true;
}

static bool serve_and_stop(struct world *world) {
    return serve(world) && settle(world);
}

static void set_ending(struct world *world, enum ending ending) {
    uint64_t moves = world->plan.calls_a_life * 12 + 1;
    world->crash_move = UINT64_MAX;
    world->fill_move = world->empty_move = UINT64_MAX;
    world->cut_after_snapshot =
        ending == END_CUT && world->plan.checkpoints && sim_one_in(world, 2);
    if (world->cut_after_snapshot)
        return;
    if (ending == END_KILLED || ending == END_CUT)
        world->crash_move = world->counts.moves + 1 + sim_random(world, moves);
    if (ending == END_CUT_IN_CALL)
        sim_disk_crash_at(world->disk, 1 + sim_random(world, 60), SIM_CHANGES);
    if (ending == END_FAILED_CALL) {
        sim_disk_fail_at(world->disk, 1 + sim_random(world, 60), SIM_CHANGES, EIO);
        world->counts.faults++;
    }
    if (world->plan.small_disk && sim_one_in(world, 2)) {
        world->counts.faults++;
        world->fill_move = world->counts.moves + 1 + sim_random(world, moves);
        world->empty_move = world->fill_move + 1 + sim_random(world, moves);
    }
}

/* Opens the directory, perhaps with power cuts while it recovers. */
static void open_directory(struct world *world, bool last) {
    for (unsigned crashes = 0;; crashes++) {
        if (world->plan.crashes && !last && crashes < RECOVERY_CRASHES_MAX && sim_one_in(world, 3))
            sim_disk_crash_at(world->disk, 1 + sim_random(world, 24), SIM_ANY);
        if (survives(world, life_open))
            return;
        if (crashes > RECOVERY_CRASHES_MAX)
            story_fail("the server does not come up");
        world->counts.recovery_crashes++;
        life_drop(world);
        crash_disk(world);
    }
}

static void live(struct world *world, bool last) {
    world->draining = false;
    world->left = world->plan.calls_a_life;
    open_directory(world, last);
    enum ending ending = draw_ending(world, last);
    set_ending(world, ending);
    bool well = survives(world, serve_and_stop);
    life_drop(world);
    if (well) {
        sim_disk_fail_at(world->disk, 0, 0, 0);
        sim_disk_crash_at(world->disk, 0, 0);
        sim_disk_kill(world->disk);
    } else {
        crash_disk(world);
    }
}

static void add(struct counts *to, const struct counts *counts) {
    uint64_t *sum = (uint64_t *)to;
    const uint64_t *one = (const uint64_t *)counts;
    for (size_t i = 0; i < sizeof *to / sizeof *sum; i++)
        sum[i] += one[i];
}

uint64_t world_run(uint64_t seed, struct counts *counts) {
    struct world *world = calloc(1, sizeof *world);
    assert(world);
    world->seed = seed;
    world->random = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
    world->disk = sim_disk_new(seed);
    (void)sim_disk_use(world->disk);
    buf_init(&world->error, 4096);
    sim_clock_set(NS_PER_S);
    trace_sink = (struct trace_sink){trace_of, published, &world->past, world};
    enum status status = disk_make_dir(SIM_DIR);
    assert(status == ST_OK);
    plan_draw(world);
    for (unsigned i = 0; i < world->plan.lives; i++)
        live(world, i + 1 == world->plan.lives);
    world->plan.calls_a_life = 0;
    live(world, true);
    witness_close(world);
    add(counts, &world->counts);
    past_free(&world->past);
    buf_free(&world->error);
    (void)sim_disk_use(NULL);
    sim_disk_free(world->disk);
    free(world);
    return story_hash();
}
