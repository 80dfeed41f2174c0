/* What the exhaustive model runs: shapes of transactions over few keys, and scenarios of them.
 *
 * Two shards hold, in byte order: a (shard 1, absent), x (shard 0), y (shard 1), z (shard 0,
 * absent). The crowd is a row of keys behind them on shard 0, for walks of more than one batch;
 * only the scenarios that say so have it. */
#ifndef CONCAVE_TESTS_MODEL_SCENARIO_H
#define CONCAVE_TESTS_MODEL_SCENARIO_H

#include "tests/support/stage.h"

#define MODEL_SHARDS 2u
#define MODEL_CALLS_MAX 3u
#define MODEL_CROWD 6u

enum model_key { KEY_A, KEY_X, KEY_Y, KEY_Z, KEY_CROWD, KEY_COUNT = KEY_CROWD + MODEL_CROWD };

/* A transaction in words and steps. Step keys are of enum model_key; a walk's `to` is exclusive. */
struct shape {
    const char *name;
    struct step steps[4];
    unsigned count;
    bool core; /* of the alphabet */
    bool declares;
    bool rolls_back;
    bool fails;
    bool never_waits; /* is run again where others wait */
    bool aged;        /* so old that its reads are checked when it yields */
    unsigned home;
    unsigned
        losses; /* it counts as having lost so often before, so that few more lead to the ticket */
};

struct scenario {
    const struct shape *shapes[MODEL_CALLS_MAX];
    unsigned count;
    bool crowd;
    unsigned wakes;     /* losses after which a call is still run again while others move */
    bool replies_order; /* real time is what clients can tell: only a call that was submitted when
                         * another's reply had left comes behind it; else behind its commit */
};

/* Scenarios that differ in who takes part. */
struct family {
    const char *name;
    unsigned calls;     /* every choice of so many shapes, repetition included ... */
    bool core;          /* ... of the core of the alphabet, or of all */
    bool chosen;        /* instead: those of the list at the end of scenario.c */
    struct scenario as; /* for the rest */
};

/* Sets the scenario of this index, which counts from 0; false past the last. */
bool family_scenario(const struct family *family, unsigned index, struct scenario *scenario);
unsigned family_size(const struct family *family);
/* "name | name | name" */
void model_scenario_name(const struct scenario *scenario, char *text, size_t size);
/* The keys of the stage that the model's stand for. */
void model_keys(struct stage *stage, unsigned keys[KEY_COUNT]);
/* 'a', 'x', ...; of the crowd '0', '1', ... */
char model_key_letter(enum model_key key);

#endif
