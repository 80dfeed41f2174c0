/* Every call to the disk fails once, in every workload: nothing is acknowledged that is not there
 * after a restart, nor after a power cut; the process ends with exit code 3 and says file, offset
 * and reason, or refuses to start (not for a failed write or sync), or, where the call did not
 * matter, goes on. And the disk fills
 * up at every block: no write is admitted that does not become durable, the process lives on, and
 * takes writes again when there is room.
 *
 * CONCAVE_SEED picks the workloads, CONCAVE_TEST_SCALE how many of them; a failure prints its case.
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

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/clock.h"

#define DIR "/data"
#define LIVES 2u
#define START_NS NS_PER_S

static uint64_t first_seed = 1;
static double scale = 1;
static struct { uint64_t tried, fatal, refused, survived, full, resumed; } sum;

enum end { ENDED, REFUSED, FATAL };

struct run {
    struct sim_disk *disk;
    struct log_model model;
    struct life life;
    uint64_t random;
    bool may_be_full;
};

static uint64_t workloads(uint64_t most) {
    uint64_t some = (uint64_t)((double)most * scale);
    return some ? some : 1;
}

static struct run start(uint64_t seed) {
    struct run run = {.random = seed, .disk = sim_disk_new(seed)};
    sim_disk_use(run.disk);
    model_clock_set(START_NS);
    HOLDS(disk_make_dir(DIR) == ST_OK);
    return run;
}

static void finish(struct run *run) {
    model_free(&run->model);
    sim_disk_free(run->disk);
}

/* ---- one life ---- */

static void settle(struct run *run) {
    life_settle(&run->life);
    model_clock_set(model_clock() + NS_PER_MS); /* over any --wal-batch-delay-us */
    life_settle(&run->life);
    life_observe(&run->life);
}

static void publish(struct run *run) {
    enum status status = life_publish(&run->life, &run->random);
    if (status == ST_BUSY) {
        settle(run);
        status = life_publish(&run->life, &run->random);
    }
    if (status == ST_DISK_FULL)
        sum.full++;
    HOLDS(status == ST_OK || (status == ST_DISK_FULL && run->may_be_full));
}

/* All that was admitted becomes durable, in every mode, whatever room there is. */
static void flush(struct run *run) {
    wal_request_sync(run->life.wal);
    settle(run);
    if (!run->may_be_full || run->life.wal->current)
        HOLDS(run->model.kept == run->model.count);
}

static void live(struct run *run) {
    for (uint64_t left = 10; left > 0; left--) {
        for (uint64_t burst = 1 + model_draw(&run->random, 4); burst > 0; burst--)
            publish(run);
        if (model_draw(&run->random, 4))
            settle(run);
        else
            flush(run);
    }
    flush(run);
    enum status status = life_snapshot(&run->life);
    HOLDS(status == ST_OK || strstr(run->life.error, DIR));
    HOLDS(status == ST_OK || sim_disk_has_failed(run->disk) ||
          (status == ST_DISK_FULL && run->may_be_full));
}

/* A life with a clean end, if the disk lets it. */
static enum end try_life(struct run *run) {
    struct wal_options options = model_options(DIR, &run->random);
    struct diag_catch catch;
    run->life.wal = NULL;
    if (setjmp(*diag_catch_begin(&catch))) {
        HOLDS(catch.exit_code == 3);
        HOLDS(strstr(catch.message, DIR) && strstr(catch.message, "offset "));
        life_observe(&run->life);
        life_end(&run->life);
        return FATAL;
    }
    enum status status = life_open(&run->life, &run->model, &options);
    if (status == ST_OK) {
        live(run);
        wal_finish(run->life.wal);
    }
    diag_catch_end(&catch);
    life_observe(&run->life);
    life_end(&run->life);
    HOLDS(status == ST_OK || strstr(run->life.error, DIR));
    return status == ST_OK ? ENDED : REFUSED;
}

/* A start without faults must find everything; so must one after a power cut behind that. */
static void check(struct run *run) {
    for (unsigned i = 0; i < 2; i++) {
        struct wal_options options = model_options(DIR, &run->random);
        enum status status = life_open(&run->life, &run->model, &options);
        if (status != ST_OK)
            fprintf(stderr, "%s\n", run->life.error);
        HOLDS(status == ST_OK);
        if (i == 1)
            flush(run);
        life_end(&run->life);
        sim_disk_power_cut(run->disk, SIM_KEEP_NONE, 1);
    }
}

/* ---- failing calls ---- */

/* The n-th call of these kinds fails; false if there are fewer. */
static bool fail_call(uint64_t seed, uint64_t n, unsigned kinds, int error) {
    model_case("CONCAVE_SEED=%llu: workload %llu, call %llu of %#x fails with %s",
        (unsigned long long)first_seed, (unsigned long long)(seed - first_seed),
        (unsigned long long)n, kinds, strerror(error));
    struct run run = start(seed);
    enum end end = ENDED;
    run.may_be_full = error == EMFILE; /* a segment that cannot be opened is one that has no room */
    sim_disk_fail_at(run.disk, n, kinds, error);
    for (unsigned i = 0; i < LIVES && end == ENDED; i++) {
        end = try_life(&run);
        if (end == ENDED && !sim_disk_has_failed(run.disk))
            sim_disk_kill(run.disk);
    }
    bool failed = sim_disk_has_failed(run.disk);
    HOLDS(failed || end == ENDED);
    if (failed) {
        sum.tried++;
        sum.fatal += end == FATAL;
        sum.refused += end == REFUSED;
        sum.survived += end == ENDED;
    }
    sim_disk_fail_at(run.disk, 0, 0, 0);
    /* The page cache outlives the process, but not every power cut. */
    if (n % 2)
        sim_disk_kill(run.disk);
    else
        sim_disk_power_cut(run.disk, (enum sim_outcome)(n / 2 % SIM_OUTCOMES), n);
    check(&run);
    finish(&run);
    return failed;
}

static void fail_each(unsigned kinds, int error, uint64_t most) {
    for (uint64_t seed = first_seed; seed < first_seed + workloads(most); seed++)
        for (uint64_t n = 1; fail_call(seed, n, kinds, error); n++)
            ;
}

/* Any call fails. */
static void any_call_fails(void **state) {
    (void)state;
    fail_each(SIM_ANY, EIO, 20);
    printf("%llu failing calls: %llu ended the process, %llu refused a start, %llu did no harm\n",
        (unsigned long long)sum.tried, (unsigned long long)sum.fatal,
        (unsigned long long)sum.refused, (unsigned long long)sum.survived);
    assert_true(sum.tried > 40 && sum.fatal > 20 && sum.refused > 0);
}

/* A write or a sync that fails is the disk's failure also while a log is opened: never a refusal,
 * which would blame the data (exit code 1). */
static void failed_writes_and_syncs(void **state) {
    (void)state;
    uint64_t refused = sum.refused;
    fail_each(SIM_WRITE | SIM_SYNC | SIM_SYNC_DIR | SIM_TRUNCATE, EIO, 10);
    assert_int_equal(sum.refused, refused);
}

/* There is no descriptor for a file. */
static void no_descriptor(void **state) {
    (void)state;
    fail_each(SIM_OPEN | SIM_CREATE | SIM_LIST, EMFILE, 10);
}

/* Short and interrupted calls are no failures. */
static void short_and_interrupted_calls(void **state) {
    (void)state;
    for (uint64_t seed = first_seed; seed < first_seed + workloads(20); seed++) {
        model_case("CONCAVE_SEED=%llu: short calls, workload %llu", (unsigned long long)first_seed,
            (unsigned long long)(seed - first_seed));
        struct run run = start(seed);
        sim_disk_shorten(run.disk, true);
        for (unsigned i = 0; i < LIVES; i++)
            HOLDS(try_life(&run) == ENDED);
        check(&run);
        finish(&run);
    }
}

/* ---- no room ---- */

/* The disk has so much room, and again more later. */
static void fill_up(uint64_t seed, uint64_t room, bool can_allocate) {
    model_case("CONCAVE_SEED=%llu: workload %llu, room for %llu bytes, reserved %d",
        (unsigned long long)first_seed, (unsigned long long)(seed - first_seed),
        (unsigned long long)room, (int)can_allocate);
    struct run run = start(seed);
    struct wal_options options = model_options(DIR, &run.random);
    struct diag_catch catch;
    run.may_be_full = true;
    sim_disk_set_room(run.disk, room);
    sim_disk_set_allocating(run.disk, can_allocate);
    if (setjmp(*diag_catch_begin(&catch))) {
        fprintf(stderr, "%s\n", catch.message);
        HOLDS(!"a full disk ends nothing");
    }
    HOLDS(life_open(&run.life, &run.model, &options) == ST_OK);
    live(&run);
    bool was_full = life_publish(&run.life, &run.random) == ST_DISK_FULL;
    HOLDS(sim_disk_used(run.disk) <= room);
    sim_disk_set_room(run.disk, UINT64_MAX);
    settle(&run);
    run.may_be_full = false;
    live(&run);
    sum.resumed += was_full;
    wal_finish(run.life.wal);
    diag_catch_end(&catch);
    life_observe(&run.life);
    life_end(&run.life);
    sim_disk_power_cut(run.disk, SIM_KEEP_NONE, 1);
    check(&run);
    finish(&run);
}

static void a_full_disk_refuses_and_resumes(void **state) {
    (void)state;
    sum.full = 0;
    for (uint64_t seed = first_seed; seed < first_seed + workloads(10); seed++)
        for (uint64_t room = 0; room < 200000; room += SIM_BLOCK_BYTES)
            fill_up(seed, room, (seed + room / SIM_BLOCK_BYTES) % 3 != 0);
    printf("%llu writes refused for lack of room, %llu full disks that got room again\n",
        (unsigned long long)sum.full, (unsigned long long)sum.resumed);
    assert_true(sum.full > 0 && sum.resumed > 0);
}

/* A start that finds no room at all, not even for a name, waits for it. */
static void no_room_at_any_call(void **state) {
    (void)state;
    for (uint64_t seed = first_seed; seed < first_seed + workloads(10); seed++) {
        for (uint64_t n = 1; n < 10; n++) {
            model_case("CONCAVE_SEED=%llu: workload %llu, no room at call %llu",
                (unsigned long long)first_seed, (unsigned long long)(seed - first_seed),
                (unsigned long long)n);
            struct run run = start(seed);
            run.may_be_full = true;
            sim_disk_fail_at(run.disk, n, SIM_CREATE | SIM_ALLOCATE, ENOSPC);
            for (unsigned i = 0; i < LIVES; i++)
                HOLDS(try_life(&run) == ENDED);
            sim_disk_fail_at(run.disk, 0, 0, 0);
            check(&run);
            finish(&run);
        }
    }
}

/* Some file systems cannot reserve, and find out at a sync that there is no room. */
static void no_room_at_a_sync(void **state) {
    (void)state;
    for (uint64_t seed = first_seed; seed < first_seed + workloads(10); seed++) {
        model_case("CONCAVE_SEED=%llu: workload %llu, no room at the first sync of a segment",
            (unsigned long long)first_seed, (unsigned long long)(seed - first_seed));
        struct run run = start(seed);
        run.may_be_full = true;
        sim_disk_set_allocating(run.disk, false);
        sim_disk_fail_at(run.disk, 1, SIM_SYNC, ENOSPC);
        HOLDS(try_life(&run) == ENDED);
        HOLDS(sim_disk_has_failed(run.disk));
        check(&run);
        finish(&run);
    }
}

static int setup_all(void **state) {
    (void)state;
    if (getenv("CONCAVE_SEED"))
        first_seed = strtoull(getenv("CONCAVE_SEED"), NULL, 10);
    scale = test_scale();
    printf("CONCAVE_SEED=%llu\n", (unsigned long long)first_seed);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_call_fails),
        cmocka_unit_test(failed_writes_and_syncs),
        cmocka_unit_test(no_descriptor),
        cmocka_unit_test(short_and_interrupted_calls),
        cmocka_unit_test(a_full_disk_refuses_and_resumes),
        cmocka_unit_test(no_room_at_any_call),
        cmocka_unit_test(no_room_at_a_sync),
    };
    return cmocka_run_group_tests(tests, setup_all, NULL);
}
