#include "tests/sim/story.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "core/clock.h"

#define LINES_KEPT 60u
#define LINE_BYTES 200u

static struct {
    uint64_t seed, hash, count;
    bool verbose, quiet, failing;
    const char *replay;
    struct story_report *report;
    char lines[LINES_KEPT][LINE_BYTES];
} told;

/* ---- the clock ---- */

static uint64_t now_ns;

void sim_clock_set(uint64_t ns) {
    now_ns = ns;
}

uint64_t sim_clock_ns(void) {
    return now_ns;
}

static bool passing;

void sim_clock_pass(bool passes) {
    passing = passes;
}

bool sim_clock_passes(void) {
    return passing;
}

uint64_t clock_monotonic_ns(void) {
    return now_ns;
}

uint64_t clock_wall_ns(void) {
    return UINT64_C(1700000000) * NS_PER_S + now_ns;
}

/* ---- lines ---- */

void story_begin(
    uint64_t seed, bool verbose, bool quiet, const char *replay, struct story_report *report) {
    told.seed = seed;
    told.hash = told.count = 0;
    told.verbose = verbose;
    told.quiet = quiet;
    told.failing = false;
    told.replay = replay;
    told.report = report;
    report->seed = seed;
}

void story(const char *format, ...) {
    char *line = told.lines[told.count++ % LINES_KEPT];
    int at = snprintf(line, LINE_BYTES, "%10llu.%03llu us  ", (unsigned long long)(now_ns / 1000),
        (unsigned long long)(now_ns % 1000));
    va_list args;
    va_start(args, format);
    vsnprintf(line + at, LINE_BYTES - (size_t)at, format, args);
    va_end(args);
    told.hash = XXH3_64bits_withSeed(line, strlen(line), told.hash);
    if (told.verbose)
        puts(line);
}

uint64_t story_hash(void) {
    return told.hash;
}

/* ---- failures ---- */

void story_fail(const char *format, ...) {
    va_list args;
    va_start(args, format);
    if (told.failing)
        _exit(1);
    told.failing = true;
    if (told.report) {
        told.report->failed = true;
        vsnprintf(told.report->reason, sizeof told.report->reason, format, args);
    }
    va_end(args);
    if (told.quiet || !told.report)
        _exit(1);
    fflush(stdout);
    uint64_t first = told.count > LINES_KEPT ? told.count - LINES_KEPT : 0;
    if (!told.verbose) {
        printf("the last %llu of %llu lines:\n", (unsigned long long)(told.count - first),
            (unsigned long long)told.count);
        for (uint64_t i = first; i < told.count; i++)
            puts(told.lines[i % LINES_KEPT]);
    }
    printf("seed %llu: %s\nto repeat it: %s --seed %llu --verbose\n", (unsigned long long)told.seed,
        told.report->reason, told.replay, (unsigned long long)told.seed);
    fflush(stdout);
    _exit(1);
}

/* In place of the C library's: an assert in the code under test ends the story too. */
void __assert_fail(
    const char *assertion, const char *file, unsigned int line, const char *function) {
    const char *name = strrchr(file, '/');
    story_fail("assert %s (%s:%u, %s)", assertion, name ? name + 1 : file, line, function);
}
