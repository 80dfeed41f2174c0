#include "tests/model/world.h"

#include <assert.h>

#include "tests/model/fingerprint.h"
#include "tests/model/tell.h"
#include "tests/support/stage.h"
#include "tests/support/stage_verdict.h"

/* ---- whose is what ---- */

static void learn(struct world *world, struct txn *txn) {
    if (!txn->call)
        return;
    unsigned at = 0;
    while (at < world->known_count && world->known[at].txn != txn)
        at++;
    if (at == world->known_count) {
        assert(at < MODEL_TXNS_MAX);
        world->known_count++;
    }
    world->known[at] = (struct known_txn){txn, ((const struct stage_call *)txn->call)->number - 1};
}

static void learn_line(struct world *world, const struct line *line) {
    for (struct txn *txn = line->first; txn; txn = txn->next)
        learn(world, txn);
}

/* A transaction is in a line of its shard before it does anything. */
static void learn_ready(struct world *world) {
    for (unsigned i = 0; i < MODEL_SHARDS; i++) {
        learn_line(world, &stage_shard(world->stage, i)->ready.quick);
        learn_line(world, &stage_shard(world->stage, i)->ready.slow);
    }
}

unsigned world_call_of(const struct world *world, const struct txn *txn) {
    for (const struct txn *pooled = txn->shard->pool; pooled; pooled = pooled->next)
        if (pooled == txn)
            return MODEL_CALLS_MAX;
    for (unsigned i = 0; i < world->known_count; i++)
        if (world->known[i].txn == txn)
            return world->known[i].call;
    assert(false && "a transaction that was never ready");
    return MODEL_CALLS_MAX;
}

static unsigned call_of_msg(const struct world *world, const struct msg *msg) {
    switch ((enum message)msg->type) {
    case MSG_FOLLOW:
    case MSG_DONE:
        return ((const struct stage_call *)msg)->number - 1;
    case MSG_BRANCH:
    case MSG_BRANCH_ANSWER:
        return world_call_of(world, ((const struct branch *)msg)->txn);
    case MSG_TICKET_WANT:
    case MSG_TICKET_ANSWER:
    case MSG_TICKET_RETURN:
    case MSG_TICKET_RETURNED:
        return world_call_of(world, ((const struct ticket *)msg)->txn);
    }
    assert(false && "a message of no known type");
    return MODEL_CALLS_MAX;
}

/* ---- life ---- */

static void make_call(struct world *world, unsigned index) {
    const struct shape *shape = world->scenario->shapes[index];
    struct stage_call *call = world->calls[index] = stage_call_new(world->stage);
    call->step_count = shape->count;
    call->declares = shape->declares;
    call->hints = HINTS_NONE;
    call->rolls_back = shape->rolls_back;
    call->fails = shape->fails;
    call->never_waits = shape->never_waits;
    call->budget_ns = shape->aged ? 5 : 0; /* a tenth of which has always passed */
    for (unsigned i = 0; i < shape->count; i++) {
        call->steps[i] = shape->steps[i];
        call->steps[i].key = world->keys[shape->steps[i].key];
        if (shape->steps[i].kind == STEP_RANGE)
            call->steps[i].to =
                shape->steps[i].to < KEY_COUNT ? world->keys[shape->steps[i].to] : STAGE_KEYS;
    }
}

void world_open(struct world *world, const struct scenario *scenario) {
    memset(world, 0, sizeof *world);
    world->scenario = scenario;
    world->stage = stage_open(MODEL_SHARDS, 1);
    model_keys(world->stage, world->keys);
    stage_preload(world->stage, world->keys[KEY_X]);
    stage_preload(world->stage, world->keys[KEY_Y]);
    for (unsigned i = 0; scenario->crowd && i + 1 < MODEL_CROWD; i++)
        stage_preload(world->stage, world->keys[KEY_CROWD + i]);
    for (unsigned i = 0; i < MODEL_SHARDS; i++)
        stage_gate(world->stage, i);
    world->initial_lsn = stage_last_lsn(world->stage);
    for (unsigned i = 0; i < scenario->count; i++)
        make_call(world, i);
}

const char *world_verdict(struct world *world) {
    const struct stage_call *culprit;
    const char *why = stage_leftover(world->stage);
    if (!why)
        why = world->wrong;
    return why ? why : stage_verdict(world->stage, &culprit);
}

void world_close(struct world *world) {
    stage_close(world->stage);
}

/* Tries every order of the calls from `placed` on. */
static bool explains(
    const struct world *world, struct stage_call *order[MODEL_CALLS_MAX], unsigned placed) {
    unsigned count = world->scenario->count;
    if (placed == count)
        return stage_serial(world->stage, order, count);
    for (unsigned i = 0; i < count; i++) {
        bool free = true;
        for (unsigned j = 0; j < placed && free; j++)
            free = order[j] != world->calls[i] &&
                   world->released_at[i] >= world->started_at[order[j]->number - 1];
        order[placed] = world->calls[i];
        if (free && explains(world, order, placed + 1))
            return true;
    }
    return false;
}

bool world_explained(const struct world *world) {
    struct stage_call *order[MODEL_CALLS_MAX];
    return explains(world, order, 0);
}

/* ---- what can happen ---- */

struct list {
    const struct world *world;
    struct move *moves;
    unsigned count;
};

static void add(struct list *list, struct move move) {
    assert(list->count < MODEL_MOVES_MAX);
    list->moves[list->count++] = move;
}

static void add_starts(struct list *list) {
    for (unsigned i = 0; i < list->world->scenario->count; i++)
        if (!list->world->started[i])
            add(list, (struct move){.kind = MOVE_START, .call = (unsigned char)i});
}

static void add_deliveries(struct list *list) {
    for (unsigned from = 0; from < MODEL_SHARDS; from++)
        for (unsigned to = 0; to < MODEL_SHARDS; to++) {
            const struct msg *msg = stage_mail(list->world->stage, from, to);
            if (msg)
                add(list, (struct move){.kind = MOVE_DELIVER,
                              .call = (unsigned char)call_of_msg(list->world, msg),
                              .from = (unsigned char)from,
                              .to = (unsigned char)to});
        }
}

static void add_turns(struct list *list) {
    for (unsigned i = 0; i < MODEL_SHARDS; i++) {
        const struct shard *shard = stage_shard(list->world->stage, i);
        const struct txn *txn = shard->answers             ? shard->answers->txn
                                : shard->ready.quick.first ? shard->ready.quick.first
                                                           : shard->ready.slow.first;
        if (txn)
            add(list, (struct move){.kind = MOVE_TURN,
                          .call = (unsigned char)world_call_of(list->world, txn),
                          .to = (unsigned char)i});
    }
}

static struct txn *backed_off(const struct world *world, unsigned call) {
    for (unsigned i = 0; i < world->known_count; i++)
        if (world->known[i].call == call && world->known[i].txn->state == TXN_BACKOFF &&
            world_call_of(world, world->known[i].txn) == call)
            return world->known[i].txn;
    return NULL;
}

/* Calls that have lost often wait until nothing else is left to do. */
static void add_wakes(struct list *list, bool others) {
    for (unsigned i = 0; i < list->world->scenario->count; i++) {
        const struct txn *txn = backed_off(list->world, i);
        unsigned before = list->world->scenario->shapes[i]->losses;
        if (txn && (!others || txn->losses - before <= list->world->scenario->wakes))
            add(list, (struct move){.kind = MOVE_WAKE, .call = (unsigned char)i});
    }
}

static unsigned rank(const struct move *move, unsigned last) {
    if (move->kind == MOVE_SYNC)
        return 2 * MODEL_CALLS_MAX + 1;
    if (move->call == last)
        return 0;
    return 1 + move->call + (move->kind == MOVE_START ? MODEL_CALLS_MAX : 0);
}

static void sort(struct list *list, unsigned last) {
    for (unsigned i = 1; i < list->count; i++) {
        struct move move = list->moves[i];
        unsigned at = i;
        for (; at > 0 && rank(&list->moves[at - 1], last) > rank(&move, last); at--)
            list->moves[at] = list->moves[at - 1];
        list->moves[at] = move;
    }
}

unsigned world_moves(const struct world *world, unsigned last, struct move moves[MODEL_MOVES_MAX]) {
    struct list list = {.world = world, .moves = moves};
    add_deliveries(&list);
    add_turns(&list);
    add_starts(&list);
    add_wakes(&list, list.count > 0);
    for (unsigned i = 0; i < MODEL_SHARDS; i++)
        if (stage_next_sync(world->stage, i))
            add(&list,
                (struct move){.kind = MOVE_SYNC, .call = MODEL_CALLS_MAX, .to = (unsigned char)i});
    sort(&list, last);
    return list.count;
}

/* ---- making it happen ---- */

/* The newest LSN that a client may know of. */
static uint64_t replied_lsn(const struct world *world) {
    uint64_t lsn = world->initial_lsn;
    for (unsigned i = 0; i < world->scenario->count; i++)
        if (world->calls[i]->released && world->calls[i]->version > lsn)
            lsn = world->calls[i]->version;
    return lsn;
}

static void start(struct world *world, unsigned index) {
    const struct shape *shape = world->scenario->shapes[index];
    struct shard *home = stage_shard(world->stage, shape->home);
    world->started[index] = true;
    world->started_at[index] = world->moves;
    stage_submit(world->stage, world->calls[index], shape->home);
    if (world->scenario->replies_order)
        world->calls[index]->lsn_before = replied_lsn(world);
    learn_ready(world);
    for (const struct line *line = &home->ready.quick; line; /* in whichever line it stands */
         line = line == &home->ready.quick ? &home->ready.slow : NULL)
        for (struct txn *txn = line->first; txn; txn = txn->next)
            if (txn->call == &world->calls[index]->call)
                txn->losses = shape->losses;
    stage_turn(world->stage, shape->home);
}

static void sync_log(struct world *world, unsigned queue) {
    stage_sync(world->stage, stage_next_sync(world->stage, queue));
    for (unsigned i = 0; i < MODEL_SHARDS; i++)
        stage_gate(world->stage, i);
}

/* A call is judged as soon as its reply has left: nothing that comes later can change the verdict.
 */
static void judge(struct world *world) {
    for (unsigned i = 0; i < world->scenario->count; i++) {
        if (world->judged[i] || !world->calls[i]->released)
            continue;
        world->outcomes[i] = call_fingerprint(world, i);
        world->judged[i] = true;
        world->released_at[i] = world->moves;
        const char *why = stage_call_verdict(world->stage, world->calls[i]);
        if (why && (!world->wrong || world->wrong_order)) {
            world->wrong = why;
            world->wrong_order = stage_about_order(why);
        }
    }
}

void world_do(struct world *world, const struct move *move) {
    world->moves++;
    if (world->story)
        tell_before(world, move);
    switch ((enum move_kind)move->kind) {
    case MOVE_START:
        start(world, move->call);
        break;
    case MOVE_DELIVER:
        stage_deliver(world->stage, move->from, move->to);
        break;
    case MOVE_TURN:
        stage_turn(world->stage, move->to);
        break;
    case MOVE_WAKE: {
        struct txn *txn = backed_off(world, move->call);
        unsigned shard = txn->shard->index;
        stage_wake(world->stage, txn);
        stage_turn(world->stage, shard);
        break;
    }
    case MOVE_SYNC:
        sync_log(world, move->to);
        break;
    }
    learn_ready(world);
    judge(world);
    if (world->story)
        tell_after(world, move);
}
