#include "tests/sim/log_hunt.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* No seed takes this long; a child that does has found no end. */
#define CHILD_SECONDS_MAX 300u

bool log_hunt_is_for(enum mutant mutant) {
    switch (mutant) {
    case MUTANT_QUEUE_APART:
    case MUTANT_COUNTER_RESTARTS:
    case MUTANT_REPLAY_WITHOUT_LSN:
    case MUTANT_SNAPSHOT_GATED_ON_VERSIONS:
    case MUTANT_TORN_END_KEPT:
    case MUTANT_DAMAGED_MIDDLE_CUT:
    case MUTANT_RECYCLED_BYTES_ACCEPTED:
    case MUTANT_VERSIONS_REUSED:
        return true;
    default:
        return false;
    }
}

/* What the child tells, in memory that both see. */
struct shared {
    uint64_t seeds;
    bool caught;
    char why[400];
};

_Noreturn static void run_child(enum mutant mutant, uint64_t first_seed, uint64_t seeds_max,
    void (*clock_set)(uint64_t ns), struct shared *shared) {
    struct log_arena_report report = {0};
    (void)setrlimit(RLIMIT_CORE, &(struct rlimit){0});
    (void)alarm(CHILD_SECONDS_MAX);
    mutant_planted = mutant;
    while (shared->seeds < seeds_max && !shared->caught) {
        uint64_t seed = first_seed + shared->seeds++;
        if (log_arena_run(seed, clock_set, &report))
            continue;
        memcpy(shared->why, report.why, sizeof(shared->why));
        shared->caught = true;
    }
    _exit(0);
}

/* The last line that the child has written before it aborted. */
static void read_last_line(FILE *output, char *line, size_t size) {
    char text[400];
    rewind(output);
    while (fgets(text, sizeof(text), output))
        if (text[0] != '\n')
            (void)snprintf(line, size, "%.*s", (int)strcspn(text, "\n"), text);
}

struct log_catch log_hunt(
    enum mutant mutant, uint64_t first_seed, uint64_t seeds_max, void (*clock_set)(uint64_t ns)) {
    struct log_catch catch = {0};
    struct shared *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    FILE *output = tmpfile();
    assert(shared != MAP_FAILED && output);
    (void)fflush(NULL); /* or the child would write it once more */
    pid_t child = fork();
    assert(child >= 0);
    if (child == 0) {
        (void)dup2(fileno(output), STDERR_FILENO);
        run_child(mutant, first_seed, seeds_max, clock_set, shared);
    }
    int ended = 0;
    pid_t waited = waitpid(child, &ended, 0);
    assert(waited == child);
    catch.seeds = shared->seeds;
    catch.caught = shared->caught;
    memcpy(catch.why, shared->why, sizeof(catch.why));
    if (WIFSIGNALED(ended)) {
        catch.caught = WTERMSIG(ended) == SIGABRT;
        read_last_line(output, catch.why, sizeof(catch.why));
    }
    (void)fclose(output);
    (void)munmap(shared, sizeof(*shared));
    return catch;
}
