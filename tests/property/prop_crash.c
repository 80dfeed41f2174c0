/* Power cuts and kills at every call to the disk: whatever was acknowledged is there afterwards, in
 * order and whole; nothing is there that was not written; no LSN that a reply can have shown is
 * used again; and it does not matter if power fails again while the log recovers, and once more.
 *
 * Seeded workloads (records of all sizes, several producers, all durability modes, small segments,
 * flushes, snapshots, clean stops, kills, restarts with other settings) run on a simulated disk. In
 * every call that changes something the disk is cloned, power fails on the clone, the log is opened
 * there and checked (a call that changes nothing has no crash of its own). By default each point is
 * tried with three outcomes; with CONCAVE_PROPERTY_FULL=1 with every one.
 * CONCAVE_SEED picks the workloads, CONCAVE_TEST_SCALE how many points; a failure prints its case.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/diag_catch.h"
#include "tests/support/log_model.h"
#include "tests/support/scale.h"
#include "tests/support/sim_disk.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/clock.h"

#define DIR "/data"
#define WORKLOADS 50u
#define OUTCOMES_SAMPLED 3u
#define START_NS NS_PER_S

static uint64_t first_seed = 1;
static bool full;
static double scale = 1;

static struct { uint64_t points, tried, outcomes, restarts, crashes_in_recovery; } sum;

struct run {
    uint64_t seed, random;
    struct sim_disk *disk;
    struct log_model model;
    struct life life;
    uint64_t point;
};

/* ---- after a crash ---- */

static void works(const struct life *life, enum status status) {
    if (status != ST_OK)
        fprintf(stderr, "%s\n", life->error);
    HOLDS(status == ST_OK);
}

/* If there is no room for it yet, the log gets on first. */
static void publish(struct life *life, uint64_t *random) {
    enum status status = life_publish(life, random);
    if (status == ST_BUSY) {
        life_settle(life);
        model_clock_set(model_clock() + NS_PER_MS); /* over any --wal-batch-delay-us */
        life_settle(life);
        status = life_publish(life, random);
    }
    if (status != ST_OK)
        fprintf(stderr, "wal_reserve: %s\n", status_text(status));
    HOLDS(status == ST_OK);
}

static struct wal_options options_of(const struct log_model *model, uint64_t *random) {
    struct wal_options options = model_options(DIR, random);
    if (model->in_blocks) {
        options.durability = WAL_ALWAYS;
        options.batch_delay_us = 0;
    }
    return options;
}

/* One life after a crash, which the disk may cut short: open, some records, perhaps a clean end. */
static void live(
    struct sim_disk *disk, struct log_model *model, struct life *life, uint64_t *random) {
    struct wal_options options = options_of(model, random);
    struct diag_catch catch;
    life->wal = NULL;
    sum.restarts++;
    if (setjmp(*diag_catch_begin(&catch)) == 0) {
        enum status status = life_open(life, model, &options);
        if (!sim_disk_is_dead(disk))
            works(life, status);
        uint64_t records = status == ST_OK ? model_draw(random, 1 + model_draw(random, 6)) : 0;
        for (uint64_t i = 0; i < records; i++) {
            publish(life, random);
            if (model->in_blocks || model_draw(random, 2))
                life_settle(life);
            life_observe(life);
        }
        if (status == ST_OK && model_draw(random, 4) == 0)
            HOLDS(life_snapshot(life) == ST_OK || sim_disk_is_dead(disk));
        if (status == ST_OK && !model->in_blocks && model_draw(random, 2))
            wal_finish(life->wal);
        diag_catch_end(&catch);
    } else {
        HOLDS(sim_disk_is_dead(disk));
        HOLDS(catch.exit_code == 3);
    }
    life_observe(life);
    life_end(life);
}

static void crash(struct sim_disk *disk, enum sim_outcome outcome, uint64_t *random) {
    if (!sim_disk_is_dead(disk) && model_draw(random, 4) == 0)
        sim_disk_kill(disk);
    else
        sim_disk_power_cut(disk, outcome, model_draw(random, UINT64_MAX));
}

/* The disk has crashed: up to two more crashes while the log recovers, then all must be well. */
static void recover(struct sim_disk *disk, struct log_model *model, uint64_t *random) {
    struct life life;
    uint64_t more = model_draw(random, 3);
    for (uint64_t i = 0; i < more; i++) {
        sim_disk_crash_at(disk, 1 + model_draw(random, 24), SIM_ANY);
        live(disk, model, &life, random);
        sum.crashes_in_recovery += sim_disk_is_dead(disk);
        crash(disk, (enum sim_outcome)model_draw(random, SIM_OUTCOMES), random);
    }
    live(disk, model, &life, random);
    sim_disk_power_cut(disk, SIM_KEEP_NONE, model_draw(random, UINT64_MAX));
    live(disk, model, &life, random);
}

static void crash_here(struct run *run, enum sim_outcome outcome) {
    uint64_t random = run->seed * 1000003 + run->point * 31 + (uint64_t)outcome;
    uint64_t now_ns = model_clock();
    struct log_model model;
    model_case("CONCAVE_SEED=%llu: workload %llu, crash point %llu, outcome %d",
        (unsigned long long)first_seed, (unsigned long long)(run->seed - first_seed),
        (unsigned long long)run->point, (int)outcome);
    struct sim_disk *clone = sim_disk_clone(run->disk, random);
    sim_disk_use(clone);
    life_observe(&run->life);
    model_copy(&run->model, &model);
    crash(clone, outcome, &random);
    recover(clone, &model, &random);
    model_free(&model);
    sim_disk_free(clone);
    sim_disk_use(run->disk);
    model_clock_set(now_ns);
    sum.outcomes++;
}

static void crash_point(struct run *run) {
    run->point++;
    sum.points++;
    uint64_t random = run->seed * 7919 + run->point;
    if (!full && (double)model_draw(&random, 1000) >= 1000 * scale)
        return;
    sum.tried++;
    if (full) {
        for (int outcome = 0; outcome < SIM_OUTCOMES; outcome++)
            crash_here(run, (enum sim_outcome)outcome);
        return;
    }
    for (unsigned i = 0; i < OUTCOMES_SAMPLED; i++)
        crash_here(run, (enum sim_outcome)model_draw(&random, SIM_OUTCOMES));
}

static void on_call(void *ctx, enum sim_call kind) {
    (void)kind;
    crash_point(ctx);
}

/* ---- workloads ---- */

static void act(struct run *run) {
    struct life *life = &run->life;
    switch (model_draw(&run->random, 10)) {
    case 0:
        wal_request_sync(life->wal);
        break;
    case 1:
        model_clock_set(model_clock() + model_draw(&run->random, 20) * NS_PER_MS);
        break;
    case 2:
    case 3:
        (void)wal_step(life->wal, model_clock());
        break;
    case 4:
        (void)wal_prepare_step(life->wal);
        break;
    case 5:
        life_settle(life);
        break;
    default:
        for (uint64_t left = 1 + model_draw(&run->random, 4); left > 0; left--)
            publish(life, &run->random);
    }
    life_observe(life);
}

static void snapshot(struct run *run) {
    life_observe(&run->life);
    works(&run->life, life_snapshot(&run->life));
}

static void run_life(struct run *run) {
    struct wal_options options = options_of(&run->model, &run->random);
    works(&run->life, life_open(&run->life, &run->model, &options));
    uint64_t actions = 10 + model_draw(&run->random, 30);
    for (uint64_t i = 0; i < actions; i++)
        if (model_draw(&run->random, 12) == 0)
            snapshot(run);
        else
            act(run);
    uint64_t end = model_draw(&run->random, 4);
    if (end < 2)
        wal_finish(run->life.wal);
    life_observe(&run->life);
    crash_point(run);
    life_end(&run->life);
    if (end == 3)
        sim_disk_power_cut(run->disk, (enum sim_outcome)model_draw(&run->random, SIM_OUTCOMES),
            model_draw(&run->random, UINT64_MAX));
    else
        sim_disk_kill(run->disk);
}

static void run_workload(uint64_t seed) {
    struct run run = {.seed = seed, .random = seed, .disk = sim_disk_new(seed)};
    sim_disk_use(run.disk);
    model_clock_set(START_NS);
    HOLDS(disk_make_dir(DIR) == ST_OK);
    sim_disk_watch(run.disk, SIM_CHANGES, on_call, &run);
    run.model.in_blocks = seed % 4 == 0;
    uint64_t lives = 1 + model_draw(&run.random, 4);
    model_case("CONCAVE_SEED=%llu: workload %llu", (unsigned long long)first_seed,
        (unsigned long long)(seed - first_seed));
    for (uint64_t i = 0; i < lives; i++)
        run_life(&run);
    model_free(&run.model);
    sim_disk_free(run.disk);
}

static void every_call_is_a_crash_point(void **state) {
    (void)state;
    uint64_t workloads = scale > 1 ? (uint64_t)(WORKLOADS * scale) : WORKLOADS;
    for (uint64_t i = 0; i < workloads; i++)
        run_workload(first_seed + i);
    printf("%llu crash points, %llu of them tried, with %llu outcomes, %llu restarts, %llu crashes "
           "during recovery\n",
        (unsigned long long)sum.points, (unsigned long long)sum.tried,
        (unsigned long long)sum.outcomes, (unsigned long long)sum.restarts,
        (unsigned long long)sum.crashes_in_recovery);
    assert_true(sum.points > 1000);
}

static int setup_all(void **state) {
    (void)state;
    full = getenv("CONCAVE_PROPERTY_FULL") != NULL;
    if (getenv("CONCAVE_SEED"))
        first_seed = strtoull(getenv("CONCAVE_SEED"), NULL, 10);
    scale = test_scale();
    printf("CONCAVE_SEED=%llu\n", (unsigned long long)first_seed);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_is_a_crash_point),
    };
    return cmocka_run_group_tests(tests, setup_all, NULL);
}
