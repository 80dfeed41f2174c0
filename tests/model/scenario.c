#include "tests/model/scenario.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GET(k)                                                                                     \
    { .kind = STEP_GET, .key = KEY_##k }
#define VERSION(k)                                                                                 \
    { .kind = STEP_VERSION, .key = KEY_##k }
#define SET(k)                                                                                     \
    { .kind = STEP_SET, .key = KEY_##k }
#define DELETE(k)                                                                                  \
    { .kind = STEP_DELETE, .key = KEY_##k }
#define YIELD                                                                                      \
    { .kind = STEP_YIELD }
#define ALL .kind = STEP_RANGE, .key = KEY_A, .to = KEY_CROWD
#define STEPS(...)                                                                                 \
    .steps = {__VA_ARGS__}, .count = sizeof((struct step[]){__VA_ARGS__}) / sizeof(struct step)

/* The home of most is the shard of the first key, which saves the message that follows it; "far"
 * and the declared ones are of the other shard. */
static const struct shape alphabet[] = {
    {.name = "get x, set y", .core = true, STEPS(GET(X), SET(Y))},
    {.name = "get y, set x", .core = true, STEPS(GET(Y), SET(X)), .home = 1},
    {.name = "set x, set y", .core = true, STEPS(SET(X), SET(Y))},
    {.name = "get x, set x", STEPS(GET(X), SET(X))},
    {.name = "far: get x, set x", STEPS(GET(X), SET(X)), .home = 1},
    {.name = "get x, get y", .core = true, STEPS(GET(X), GET(Y))},
    {.name = "get x, get y, roll back", STEPS(GET(X), GET(Y), SET(Y)), .rolls_back = true},
    {.name = "get z, get y", .core = true, STEPS(GET(Z), GET(Y))},
    {.name = "get z", STEPS(GET(Z))},
    {.name = "get z, set y", .core = true, STEPS(GET(Z), SET(Y))},
    {.name = "walk, set y", .core = true, STEPS({ALL, .limit = 9}, SET(Y))},
    {.name = "walk", STEPS({ALL, .limit = 9}), .home = 1},
    {.name = "walk 1", STEPS({ALL, .limit = 1})},
    {.name = "walk 1, set y", .core = true, STEPS({ALL, .limit = 1}, SET(Y))},
    {.name = "walk 1 back, set x", STEPS({ALL, .limit = 1, .reverse = true}, SET(X)), .home = 1},
    {.name = "set z", STEPS(SET(Z))},
    {.name = "delete z", .core = true, STEPS(DELETE(Z))},
    {.name = "set y, set z", .core = true, STEPS(SET(Y), SET(Z)), .home = 1},
    {.name = "set a", STEPS(SET(A)), .home = 1},
    {.name = "set a, set z", .core = true, STEPS(SET(A), SET(Z)), .home = 1},
    {.name = "delete x", STEPS(DELETE(X))},
    {.name = "delete x, set z", .core = true, STEPS(DELETE(X), SET(Z))},
    {.name = "delete x, set y", STEPS(DELETE(X), SET(Y))},
    {.name = "delete z, get y", STEPS(DELETE(Z), GET(Y))},
    {.name = "batch: get x, set y", .core = true, STEPS(GET(X), SET(Y)), .declares = true},
    {.name = "batch: version y, set x", STEPS(VERSION(Y), SET(X)), .declares = true, .home = 1},
    {.name = "batch: get x, get y", STEPS(GET(X), GET(Y)), .declares = true, .home = 1},
    {.name = "get x, yield, get y", STEPS(GET(X), YIELD, GET(Y))},
    {.name = "get z, yield, get y", .core = true, STEPS(GET(Z), YIELD, GET(Y))},
    {.name = "get x, yield, set y", STEPS(GET(X), YIELD, SET(Y))},
    {.name = "aged: get y, get x, yield, set y",
        STEPS(GET(Y), GET(X), YIELD, SET(Y)),
        .aged = true},
    {.name = "never waits: get x, get y, set y",
        STEPS(GET(X), GET(Y), SET(Y)),
        .never_waits = true},
    {.name = "never waits: walk", STEPS({ALL, .limit = 9}), .never_waits = true},
    {.name = "get y, get x, fail", STEPS(GET(Y), GET(X)), .fails = true, .home = 1},
    {.name = "version y, get x, get y", STEPS(VERSION(Y), GET(X), GET(Y))},
};
#define ALPHABET_SIZE (sizeof alphabet / sizeof alphabet[0])

/* Those that only chosen scenarios use. The weary ask for the ticket when they lose once more. */
static const struct shape further[] = {
    {.name = "walk all",
        .home = 1,
        STEPS({.kind = STEP_RANGE, .key = KEY_A, .to = KEY_COUNT, .limit = 20, .expect = 1})},
    {.name = "walk all back",
        .home = 1,
        STEPS({.kind = STEP_RANGE,
            .key = KEY_A,
            .to = KEY_COUNT,
            .limit = 20,
            .expect = 1,
            .reverse = true})},
    {.name = "set 0, set 5",
        STEPS({.kind = STEP_SET, .key = KEY_CROWD}, {.kind = STEP_SET, .key = KEY_CROWD + 5})},
    {.name = "delete 0, set 5",
        STEPS({.kind = STEP_DELETE, .key = KEY_CROWD}, {.kind = STEP_SET, .key = KEY_CROWD + 5})},
    {.name = "set 0, set 4",
        STEPS({.kind = STEP_SET, .key = KEY_CROWD}, {.kind = STEP_SET, .key = KEY_CROWD + 4})},
    {.name = "walk 1, get y", STEPS({ALL, .limit = 1}, GET(Y))},
    {.name = "weary: get x, set y", STEPS(GET(X), SET(Y)), .losses = 2},
    {.name = "weary: set x, set y", STEPS(SET(X), SET(Y)), .losses = 2, .home = 1},
    {.name = "weary: get y, set x", STEPS(GET(Y), SET(X)), .losses = 2, .home = 1},
    {.name = "weary: walk, set y", STEPS({ALL, .limit = 9}, SET(Y)), .losses = 2},
    {.name = "weary: get x, get y", STEPS(GET(X), GET(Y)), .losses = 2},
    {.name = "weary batch: get x, set y", STEPS(GET(X), SET(Y)), .declares = true, .losses = 2},
};

static const char *const chosen[][MODEL_CALLS_MAX] = {
    {"walk all", "set 0, set 5"},
    {"walk all", "delete 0, set 5"},
    {"walk all back", "set 0, set 4"},
    {"walk all", "set 0, set 5", "delete 0, set 5"},
    {"walk 1, get y", "delete x, set y"},
    {"get z, yield, get y", "set y, set z", "delete z"},
    {"weary: get x, set y", "weary: get y, set x"},
    {"weary: walk, set y", "set a, set z"},
    {"weary: get x, get y", "set x, set y"},
    {"weary: get x, set y", "weary: get y, set x", "set x, set y"},
    {"weary: set x, set y", "weary: get x, set y", "get x, get y"},
    {"weary: walk, set y", "weary: set x, set y", "set a, set z"},
    {"weary: walk, set y", "weary: get y, set x", "delete x, set z"},
    {"weary: get x, get y", "set x, set y", "batch: version y, set x"},
    {"weary batch: get x, set y", "weary: set x, set y", "get y, set x"},
};

static const struct shape *shape_named(const char *name) {
    for (unsigned i = 0; i < ALPHABET_SIZE; i++)
        if (!strcmp(alphabet[i].name, name))
            return &alphabet[i];
    for (unsigned i = 0; i < sizeof further / sizeof further[0]; i++)
        if (!strcmp(further[i].name, name))
            return &further[i];
    fprintf(stderr, "no shape is called \"%s\"\n", name);
    abort();
}

/* ---- families ---- */

static const struct shape *member(bool core, unsigned index) {
    for (unsigned i = 0; i < ALPHABET_SIZE; i++)
        if ((!core || alphabet[i].core) && index-- == 0)
            return &alphabet[i];
    return NULL;
}

static unsigned members(bool core) {
    unsigned count = 0;
    while (member(core, count))
        count++;
    return count;
}

/* The index-th of all choices of `left` shapes in ascending order, none below `lowest`. */
static bool choose(const struct family *family, unsigned shapes, unsigned lowest, unsigned left,
    unsigned *index, struct scenario *scenario) {
    if (left == 0)
        return (*index)-- == 0;
    for (unsigned i = lowest; i < shapes; i++) {
        scenario->shapes[family->calls - left] = member(family->core, i);
        if (choose(family, shapes, i, left - 1, index, scenario))
            return true;
    }
    return false;
}

bool family_scenario(const struct family *family, unsigned index, struct scenario *scenario) {
    *scenario = family->as;
    scenario->count = family->calls;
    if (!family->chosen)
        return choose(family, members(family->core), 0, family->calls, &index, scenario);
    if (index >= sizeof chosen / sizeof chosen[0])
        return false;
    for (scenario->count = 0; scenario->count < MODEL_CALLS_MAX && chosen[index][scenario->count];
         scenario->count++)
        scenario->shapes[scenario->count] = shape_named(chosen[index][scenario->count]);
    scenario->crowd = true;
    return true;
}

unsigned family_size(const struct family *family) {
    struct scenario scenario;
    unsigned count = 0;
    while (family_scenario(family, count, &scenario))
        count++;
    return count;
}

void model_scenario_name(const struct scenario *scenario, char *text, size_t size) {
    size_t at = 0;
    text[0] = '\0';
    for (unsigned i = 0; i < scenario->count && at < size; i++)
        at += (size_t)snprintf(
            text + at, size - at, "%s%s", i ? " || " : "", scenario->shapes[i]->name);
}

void model_keys(struct stage *stage, unsigned keys[KEY_COUNT]) {
    static const unsigned owners[] = {1, 0, 1, 0};
    unsigned at = 0;
    for (unsigned key = 0; key < KEY_COUNT; key++) {
        unsigned owner = key < KEY_CROWD ? owners[key] : 0;
        while (at < STAGE_KEYS && stage_owner(stage, at) != owner)
            at++;
        assert(at < STAGE_KEYS);
        keys[key] = at++;
    }
}

char model_key_letter(enum model_key key) {
    return key < KEY_CROWD ? "axyz"[key] : (char)('0' + (key - KEY_CROWD));
}
