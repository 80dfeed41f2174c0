#include "tests/model/search.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/model/assertion.h"
#include "tests/model/fingerprint.h"
#include "tests/model/table.h"
#include "tests/model/tell.h"

/* A branching on the way that is being searched. */
struct branching {
    struct move moves[MODEL_MOVES_MAX];
    unsigned count;
    unsigned chosen;
    unsigned preemptions; /* up to here */
    unsigned last;        /* the call that moved before */
};

struct way {
    const struct scenario *scenario;
    const struct search_bounds *bounds;
    struct search *search;
    struct table states, outcomes;
    struct branching branchings[SCHEDULE_MOVES_MAX];
    unsigned depth;
    /* the execution that runs */
    struct world world;
    struct move done[SCHEDULE_MOVES_MAX];
    unsigned done_count;
    unsigned last;
};

/* ---- one execution ---- */

static void make_move(struct way *way, const struct move *move) {
    way->done[way->done_count++] = *move;
    way->last = move->call;
    world_do(&way->world, move);
}

/* Whether a move takes the turn from a call that could go on. */
static bool preempts(const struct branching *branching, unsigned choice) {
    return branching->moves[choice].call != branching->last &&
           branching->moves[0].call == branching->last;
}

static unsigned preemptions_after(const struct branching *branching) {
    return branching->preemptions + preempts(branching, branching->chosen);
}

/* Repeats the way so far. */
static void replay(struct way *way) {
    world_open(&way->world, way->scenario);
    way->done_count = 0;
    way->last = MODEL_CALLS_MAX;
    for (unsigned i = 0; i < way->depth; i++)
        make_move(way, &way->branchings[i].moves[way->branchings[i].chosen]);
}

static uint64_t state_of(const struct way *way) {
    uint64_t state = world_fingerprint(&way->world);
    if (way->bounds->preemptions != PREEMPTIONS_UNBOUNDED)
        state = state * 31 + way->last;
    return state;
}

/* Goes on from the way's end to where nothing is left to do or nothing new can come. */
static void go_on(struct way *way) {
    bool fresh = true;
    while (way->done_count < SCHEDULE_MOVES_MAX) {
        struct branching next = {.last = way->last};
        next.count = world_moves(&way->world, way->last, next.moves);
        if (next.count == 0)
            return;
        if (way->depth > 0)
            next.preemptions = preemptions_after(&way->branchings[way->depth - 1]);
        uint8_t least =
            way->bounds->preemptions == PREEMPTIONS_UNBOUNDED ? 0 : (uint8_t)next.preemptions;
        fresh =
            fresh && (way->bounds->merges_nothing || table_put(&way->states, state_of(way), least));
        if (fresh)
            way->branchings[way->depth++] = next;
        make_move(way, &next.moves[0]);
    }
}

static void note_wrong(struct way *way, const char *why) {
    struct search *search = way->search;
    if (search->wrong && search->wrong_moves <= way->done_count)
        return;
    search->wrong = true;
    (void)snprintf(search->why, sizeof search->why, "%s", why);
    search->wrong_moves = way->done_count;
    memcpy(search->wrong_schedule, way->done, way->done_count * sizeof way->done[0]);
}

static void note_outcome(struct way *way, uint64_t outcome) {
    if (!table_put(&way->outcomes, outcome, 0))
        return;
    way->search->outcomes++;
    way->search->outcomes_hash += outcome;
}

static bool counts(const struct way *way) {
    const struct world *world = &way->world;
    if (!way->bounds->anomalies || stage_leftover(world->stage))
        return true;
    return !world->wrong_order || !world_explained(world);
}

static void judge(struct way *way) {
    const char *why =
        way->done_count == SCHEDULE_MOVES_MAX ? "it never ends" : world_verdict(&way->world);
    if (why && counts(way))
        note_wrong(way, why);
    if (why)
        return; /* what is left of it stays as it is */
    note_outcome(way, world_fingerprint(&way->world));
    for (unsigned i = 0; i < way->scenario->count; i++)
        note_outcome(way, way->world.outcomes[i]);
    world_close(&way->world);
}

static void execute(struct way *way) {
    struct search *search = way->search;
    search->executions++;
    if (setjmp(assertion_catch) == 0) {
        assertion_caught = true;
        replay(way);
        go_on(way);
        judge(way);
    } else {
        note_wrong(way, assertion_text);
    }
    assertion_caught = false;
    if (way->done_count > search->longest)
        search->longest = way->done_count;
}

/* ---- all executions ---- */

/* To the next choice that was not made yet; false if there is none. */
static bool turn_back(struct way *way) {
    while (way->depth > 0) {
        struct branching *at = &way->branchings[way->depth - 1];
        while (++at->chosen < at->count)
            if (preemptions_after(at) <= way->bounds->preemptions)
                return true;
        way->depth--;
    }
    return false;
}

void search_run(
    const struct scenario *scenario, const struct search_bounds *bounds, struct search *search) {
    struct way *way = calloc(1, sizeof *way);
    assert(way);
    memset(search, 0, sizeof *search);
    way->scenario = scenario;
    way->bounds = bounds;
    way->search = search;
    table_init(&way->states);
    table_init(&way->outcomes);
    do
        execute(way);
    while (turn_back(way) && !(bounds->stops && search->wrong));
    search->states = way->states.count;
    table_free(&way->states);
    table_free(&way->outcomes);
    free(way);
}

const char *search_tell(const struct scenario *scenario, const struct move *schedule,
    unsigned moves, struct buf *story, struct buf *outcome) {
    struct world world;
    world_open(&world, scenario);
    world.story = story;
    const char *volatile why = NULL;
    volatile unsigned at = 0;
    if (setjmp(assertion_catch) == 0) {
        assertion_caught = true;
        for (; at < moves; at++)
            world_do(&world, &schedule[at]);
        why = world_verdict(&world);
    } else {
        tell_after(&world, &schedule[at]);
        why = assertion_text;
    }
    assertion_caught = false;
    world_outcome(&world, outcome);
    if (!why)
        world_close(&world);
    return why;
}
