/* sim: the simulator's command line.
 *
 *     sim [--seeds A..B] [--jobs N]      seeds 1..2000 by default (fewer where tests are scaled)
 *     sim --seed N [--verbose]           one seed, with its story
 *     sim --twice --seeds A..B           each seed twice: the stories must be the same
 *     sim --mutant NAME [--seed N]       with a planted bug (core/mutant.h)
 *     sim --mutants                      every planted bug must be found
 *
 * Exit codes: 0 all is well, 1 something does not hold, 2 a wrong argument. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/runs.h"
#include "tests/support/scale.h"

static int usage(const char *what) {
    fprintf(stderr,
        "sim: %s\nusage: sim [--seed N | --seeds A..B] [--jobs 1 to 64] [--verbose] [--twice]\n"
        "           [--mutant NAME | --mutants]\n",
        what);
    return 2;
}

static bool read_number(const char *text, uint64_t *number) {
    char *end;
    *number = strtoull(text, &end, 10);
    return end != text && (*end == '\0' || *end == '.');
}

static bool read_seeds(const char *text, struct runs *runs) {
    const char *dots = strstr(text, "..");
    return dots && read_number(text, &runs->first) && read_number(dots + 2, &runs->last) &&
           runs->first <= runs->last;
}

int main(int argc, char **argv) {
    struct runs runs = {.first = 1, .last = test_scaled(2000), .jobs = 1, .program = argv[0]};
    bool mutants = false;
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";
        uint64_t number;
        if (strcmp(name, "--verbose") == 0) {
            runs.verbose = true;
        } else if (strcmp(name, "--twice") == 0) {
            runs.twice = true;
        } else if (strcmp(name, "--mutants") == 0) {
            mutants = true;
        } else if (strcmp(name, "--seed") == 0) {
            i++;
            if (!read_number(value, &runs.first))
                return usage("--seed takes a number");
            runs.last = runs.first;
        } else if (strcmp(name, "--seeds") == 0) {
            i++;
            if (!read_seeds(value, &runs))
                return usage("--seeds takes two numbers, A..B");
        } else if (strcmp(name, "--jobs") == 0) {
            i++;
            if (!read_number(value, &number) || number < 1 || number > 64)
                return usage("--jobs takes a number from 1 to 64");
            runs.jobs = (unsigned)number;
        } else if (strcmp(name, "--mutant") == 0) {
            i++;
            if (!runs_plant(value))
                return usage("--mutant takes a name of core/mutant.h");
            runs.mutant = value;
        } else {
            return usage("an argument of no known name");
        }
    }
    return mutants ? mutants_find() : runs_all(&runs);
}
