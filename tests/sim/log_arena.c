#include "tests/sim/log_arena.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/clock.h"
#include "tests/sim/log_damage.h"
#include "tests/support/diag_catch.h"

#define START_NS NS_PER_S
#define CRASHES_IN_RECOVERY_MAX 3u
/* In a long life and in a short one: acts, and transactions in one act. Short lives overwrite but
 * little of what a crash has left. */
#define LONG_ACTS_MAX 40u
#define LONG_BURST 8u
#define SHORT_ACTS_MAX 2u
#define SHORT_BURST 1u

/* How a life ends. */
enum ending { IN_PEACE, BETWEEN_CALLS, IN_A_CALL, BY_A_FAILED_CALL, ENDINGS };

struct arena {
    uint64_t random;
    struct sim_disk *disk;
    struct log_ledger ledger;
    log_clock *clock_set;
    bool in_blocks;
    struct log_arena_report *report;
};

static uint64_t draw(struct arena *arena, uint64_t bound) {
    return log_draw(&arena->random, bound);
}

/* ---- one life ---- */

static void expect_trouble(struct arena *arena, enum ending ending, uint64_t calls) {
    /* In half of the cases among the few calls between which something is unsynced. */
    if (ending == IN_A_CALL && draw(arena, 2))
        sim_disk_crash_at(arena->disk, 1 + draw(arena, calls / 6), SIM_WRITE | SIM_SYNC);
    else if (ending == IN_A_CALL)
        sim_disk_crash_at(arena->disk, 1 + draw(arena, calls), SIM_ANY);
    if (ending == BY_A_FAILED_CALL)
        sim_disk_fail_at(arena->disk, 1 + draw(arena, calls), SIM_CHANGES | SIM_READ | SIM_OPEN,
            draw(arena, 2) ? EIO : ENOSPC);
}

/* Whether the disk, and not the log, is why something failed. */
static bool excused(const struct arena *arena) {
    return sim_disk_is_dead(arena->disk) || sim_disk_has_failed(arena->disk);
}

static void act(struct arena *arena, struct log_life *life, uint64_t acts) {
    enum status status = log_life_begin(life);
    if (status != ST_OK) {
        if (!excused(arena))
            log_ledger_fail(&arena->ledger, "the start is refused, though nothing is damaged: %.*s",
                (int)life->error.len, life->error.len ? life->error.data : "");
        return;
    }
    for (; acts > 0 && !arena->ledger.failed && !sim_disk_is_dead(arena->disk); acts--)
        log_life_act(life);
}

static void live(struct arena *arena, struct log_life *life, enum ending ending, uint64_t acts) {
    struct diag_catch catch;
    arena->report->recoveries++;
    if (setjmp(*diag_catch_begin(&catch)) == 0) {
        act(arena, life, acts);
        if (ending == IN_PEACE && life->wal && !arena->ledger.failed)
            wal_finish(life->wal);
        diag_catch_end(&catch);
    } else if (!excused(arena) || catch.exit_code != 3) {
        log_ledger_fail(&arena->ledger, "the log ends the process (exit %d): %s", catch.exit_code,
            catch.message);
    }
    log_life_observe(life);
    arena->report->snapshots += life->snapshots;
}

/* The process is gone, or the power. */
static void crash(struct arena *arena) {
    sim_disk_fail_at(arena->disk, 0, 0, 0);
    if (!sim_disk_is_dead(arena->disk) && draw(arena, 3) == 0) {
        sim_disk_kill(arena->disk);
        arena->report->kills++;
        return;
    }
    enum sim_outcome outcome = (enum sim_outcome)draw(arena, SIM_OUTCOMES);
    if (arena->in_blocks && draw(arena, 2))
        outcome = SIM_KEEP_BLOCKS; /* whole records behind a hole */
    sim_disk_power_cut(arena->disk, outcome, draw(arena, UINT64_MAX));
    arena->report->power_cuts++;
}

static void run_life(struct arena *arena, enum ending ending, uint64_t calls, uint64_t acts) {
    struct log_life life;
    struct log_end end;
    uint64_t before = arena->ledger.next_number;
    log_life_init(&life, &arena->ledger, &arena->random, arena->clock_set, arena->in_blocks);
    life.burst = acts > SHORT_ACTS_MAX ? LONG_BURST : SHORT_BURST;
    expect_trouble(arena, ending, calls);
    live(arena, &life, ending, acts);
    arena->report->transactions += arena->ledger.next_number - before;
    arena->report->failed_calls += sim_disk_has_failed(arena->disk);
    arena->report->crashes_in_recovery += acts == 0 && sim_disk_is_dead(arena->disk);
    bool relics =
        ending == BETWEEN_CALLS && draw(arena, 3) == 0 && log_damage_note_end(&life, &end);
    log_life_end(&life);
    crash(arena);
    if (relics && !arena->ledger.failed) {
        log_damage_leave_relics(arena->disk, &end, &arena->random);
        arena->report->relics++;
    }
}

static void try_damage(struct arena *arena) {
    struct log_life like;
    log_life_init(&like, &arena->ledger, &arena->random, arena->clock_set, arena->in_blocks);
    arena->report->damages += log_damage_try(arena->disk, &like);
    log_life_end(&like);
}

/* ---- a seed ---- */

/* Where records fill blocks, by turns: a crash that leaves a hole with whole records behind it, and
 * a short life. Else anything. */
static void run_any_life(struct arena *arena, bool even) {
    enum ending ending = (enum ending)draw(arena, ENDINGS);
    bool is_long = draw(arena, 2);
    if (arena->in_blocks && draw(arena, 4) > 0) {
        is_long = even;
        ending = even ? IN_A_CALL : BETWEEN_CALLS;
    }
    uint64_t acts = 1 + draw(arena, is_long ? LONG_ACTS_MAX : SHORT_ACTS_MAX);
    run_life(arena, ending, 80, acts);
}

static void run_lives(struct arena *arena) {
    for (uint64_t lives = 2 + draw(arena, 4); lives > 0 && !arena->ledger.failed; lives--) {
        run_any_life(arena, lives % 2 == 0);
        if (!arena->ledger.failed && draw(arena, 3) == 0)
            try_damage(arena);
        for (uint64_t more = draw(arena, CRASHES_IN_RECOVERY_MAX + 1);
             more > 0 && !arena->ledger.failed && draw(arena, 2); more--)
            run_life(arena, IN_A_CALL, 24, 0);
    }
    /* All must be well in the end, twice: the second time, nothing has been left to repair. */
    for (unsigned i = 0; i < 2 && !arena->ledger.failed; i++)
        run_life(arena, BETWEEN_CALLS, 0, 0);
}

/* With a log that is empty, so that its salt is not drawn anew each time. */
static void make_dir(void) {
    struct buf error;
    buf_init(&error, DISK_PATH_BYTES_MAX);
    enum status status = disk_make_dir(LOG_DIR);
    assert(status == ST_OK);
    status = wal_create_behind(LOG_DIR, LOG_SALT, 0, &error);
    assert(status == ST_OK);
    buf_free(&error);
}

bool log_arena_run(uint64_t seed, void (*clock_set)(uint64_t ns), struct log_arena_report *report) {
    struct arena arena = {.random = seed,
        .disk = sim_disk_new(seed),
        .ledger = {.next_number = 1},
        .clock_set = clock_set,
        .report = report};
    struct sim_disk *before = sim_disk_use(arena.disk);
    clock_set(START_NS);
    make_dir();
    arena.in_blocks = draw(&arena, 4) == 0;
    run_lives(&arena);
    bool ok = !arena.ledger.failed;
    if (!ok)
        (void)snprintf(report->why, sizeof(report->why), "%s", arena.ledger.why);
    log_ledger_free(&arena.ledger);
    sim_disk_free(arena.disk);
    sim_disk_use(before);
    return ok;
}
