#include "tests/sim/runs.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/mutant.h"
#include "tests/sim/world.h"

#define SEEDS_A_CHILD 50u
#define SECONDS_A_CHILD 120u

/* What children and parent share. */
struct shared {
    struct story_report report;
    struct counts counts;
};

static struct shared *share(void) {
    struct shared *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert(shared != MAP_FAILED);
    memset(shared, 0, sizeof *shared);
    return shared;
}

static void on_signal(int signal) {
    story_fail("%s", signal == SIGALRM   ? "the simulation takes longer than two minutes"
                     : signal == SIGABRT ? "abort"
                                         : "a signal: memory that is not there, or the like");
}

static void watch_signals(void) {
    static const int signals[] = {SIGALRM, SIGABRT, SIGSEGV, SIGBUS, SIGFPE};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        (void)signal(signals[i], on_signal);
    alarm(SECONDS_A_CHILD);
}

bool runs_plant(const char *name) {
    static const char *const names[] = {"NONE",
#define NAME(name, text) #name,
        MUTANT_LIST(NAME)
#undef NAME
    };
    for (unsigned i = 1; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0) {
            mutants_plant((enum mutant)i);
            return true;
        }
    return false;
}

/* ---- one child ---- */

static void run_seed(const struct runs *runs, uint64_t seed, struct shared *shared) {
    char replay[300];
    (void)snprintf(replay, sizeof replay, "%s%s%s", runs->program, runs->mutant ? " --mutant " : "",
        runs->mutant ? runs->mutant : "");
    story_begin(seed, runs->verbose, false, replay, &shared->report);
    uint64_t hash = world_run(seed, &shared->counts);
    if (runs->verbose)
        printf("the story's hash: %016llx\n", (unsigned long long)hash);
    if (!runs->twice)
        return;
    struct counts ignored = {0};
    story_begin(seed, false, false, replay, &shared->report);
    if (world_run(seed, &ignored) != hash)
        story_fail("the story of the seed is another the second time");
}

static pid_t start_child(
    const struct runs *runs, uint64_t first, uint64_t last, struct shared *shared) {
    (void)fflush(stdout);
    pid_t child = fork();
    assert(child >= 0);
    if (child > 0)
        return child;
    watch_signals();
    for (uint64_t seed = first; seed <= last; seed++)
        run_seed(runs, seed, shared);
    (void)fflush(stdout);
    _exit(0);
}

static bool ended_well(pid_t child, int status, const struct shared *shared) {
    (void)child;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    if (!shared->report.failed)
        printf("seed %llu: the process has died, wait status %d\n",
            (unsigned long long)shared->report.seed, status);
    return false;
}

/* ---- many ---- */

static void print_counts(const struct runs *runs, const struct counts *c, double seconds) {
    printf(
        "sim: %llu seeds%s: %llu transactions committed, %llu attempts lost, %llu calls refused, "
        "%llu left unanswered, %llu tickets, %llu preemptions of scripts, %llu messages, %llu "
        "transactions seen by the history checker too\n"
        "sim: %llu crashes (%llu power cuts, %llu while recovering), %llu restarts, %llu "
        "snapshots, %llu faults injected, %.1f s\n",
        (unsigned long long)(runs->last - runs->first + 1), runs->twice ? " twice" : "",
        (unsigned long long)c->committed, (unsigned long long)c->lost,
        (unsigned long long)c->refused, (unsigned long long)c->unknown,
        (unsigned long long)c->tickets, (unsigned long long)c->preempted,
        (unsigned long long)c->messages, (unsigned long long)c->witnessed,
        (unsigned long long)c->crashes, (unsigned long long)c->cuts,
        (unsigned long long)c->recovery_crashes, (unsigned long long)c->restarts,
        (unsigned long long)c->snapshots, (unsigned long long)c->faults, seconds);
}

static double now_s(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

#define JOBS_MAX 64u

int runs_all(const struct runs *runs) {
    struct {
        pid_t pid;
        struct shared *shared;
    } jobs[JOBS_MAX] = {{0}};
    struct counts sum = {0};
    double started_s = now_s();
    uint64_t next = runs->first;
    bool failed = false;
    for (unsigned i = 0; i < runs->jobs; i++)
        jobs[i].shared = share();
    for (unsigned busy = 0; (next <= runs->last && !failed) || busy > 0;) {
        for (unsigned i = 0; i < runs->jobs && next <= runs->last && !failed; i++) {
            if (jobs[i].pid)
                continue;
            uint64_t last =
                next + SEEDS_A_CHILD - 1 < runs->last ? next + SEEDS_A_CHILD - 1 : runs->last;
            jobs[i].pid = start_child(runs, next, last, jobs[i].shared);
            next = last + 1;
            busy++;
        }
        int status;
        pid_t ended = wait(&status);
        for (unsigned i = 0; i < runs->jobs; i++)
            if (jobs[i].pid == ended) {
                failed = !ended_well(ended, status, jobs[i].shared) || failed;
                jobs[i].pid = 0;
                busy--;
            }
    }
    for (unsigned i = 0; i < runs->jobs; i++) {
        const uint64_t *one = (const uint64_t *)&jobs[i].shared->counts;
        for (size_t at = 0; at < sizeof sum / sizeof *one; at++)
            ((uint64_t *)&sum)[at] += one[at];
        munmap(jobs[i].shared, sizeof *jobs[i].shared);
    }
    if (!failed)
        print_counts(runs, &sum, now_s() - started_s);
    return failed;
}

/* ---- until one fails ---- */

static void run_quietly(uint64_t seed, uint64_t (*run)(uint64_t seed), struct shared *shared) {
    story_begin(seed, false, true, "", &shared->report);
    (void)run(seed);
}

bool runs_until_failure(
    uint64_t first, uint64_t last, uint64_t (*run)(uint64_t seed), struct story_report *report) {
    struct shared *shared = share();
    bool failed = false;
    for (uint64_t next = first; next <= last && !failed; next += SEEDS_A_CHILD) {
        (void)fflush(stdout);
        pid_t child = fork();
        assert(child >= 0);
        if (child == 0) {
            watch_signals();
            for (uint64_t seed = next; seed < next + SEEDS_A_CHILD && seed <= last; seed++)
                run_quietly(seed, run, shared);
            _exit(0);
        }
        int status;
        (void)waitpid(child, &status, 0);
        failed = !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        if (failed && !shared->report.failed)
            (void)snprintf(shared->report.reason, sizeof shared->report.reason,
                "the process has died, wait status %d", status);
    }
    *report = shared->report;
    munmap(shared, sizeof *shared);
    return failed;
}
