/* Work of transactions in C: scripts of steps on the keys k00, k01, ..., found on the way or
 * declared before they run. The trace judges what they see. */
#include "tests/sim/world.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define VALUE_BYTES 48u
#define LIST_BYTES_MAX 240u

struct slice work_key(unsigned key, char bytes[8]) {
    (void)snprintf(bytes, 8, "k%02u", key % 100);
    return slice_of(bytes, 3);
}

/* ---- the procedure ---- */

static struct client_call *of(struct call *call) {
    return (struct client_call *)call;
}

static struct slice value_of(
    const struct client_call *call, unsigned step, char bytes[VALUE_BYTES]) {
    uint64_t tag = (uint64_t)call->number * STEPS_MAX + step;
    memset(bytes, 'x', VALUE_BYTES);
    memcpy(bytes, &tag, sizeof tag);
    return slice_of(bytes, sizeof tag + tag % (VALUE_BYTES - sizeof tag));
}

static struct range_spec spec_of(
    const struct client_call *call, const struct step *step, char from[8], char to[8]) {
    bool bounded = step->to < call->world->plan.keys;
    return (struct range_spec){.from = work_key(step->key, from),
        .to = bounded ? work_key(step->to, to) : slice_of(NULL, 0),
        .bounded = bounded,
        .reverse = step->reverse,
        .expect = step->expect};
}

static enum status walk(struct client_call *call, struct txn *txn, const struct step *step) {
    enum status status = ST_OK;
    if (!call->range) {
        char from[8], to[8];
        struct range_spec spec = spec_of(call, step, from, to);
        call->taken = 0;
        status = txn_range_open(txn, &spec, &call->range);
    }
    while (status == ST_OK && call->taken < step->limit) {
        struct range_item item;
        status = txn_range_next(call->range, &item);
        call->taken += status == ST_OK;
    }
    if (status != ST_OK && status != ST_END)
        return status;
    if (step->closes)
        txn_range_close(call->range);
    call->range = NULL;
    return ST_OK;
}

/* One more element of the list that the value is. */
static enum status append(struct client_call *call, struct txn *txn, struct slice key) {
    char bytes[LIST_BYTES_MAX + sizeof(uint64_t)];
    struct slice value;
    uint64_t version;
    enum status status = txn_get(txn, key, &value, &version);
    if (status != ST_OK && status != ST_NOT_FOUND)
        return status;
    size_t len = status == ST_OK && value.len <= LIST_BYTES_MAX ? value.len : 0;
    if (len)
        memcpy(bytes, value.data, len);
    uint64_t element = UINT64_MAX - call->number; /* no other value of a script looks like it */
    memcpy(bytes + len, &element, sizeof element);
    return txn_set(txn, key, slice_of(bytes, len + sizeof element));
}

static enum status run_step(struct client_call *call, struct txn *txn, const struct step *step) {
    char name[8], bytes[VALUE_BYTES];
    struct slice key = work_key(step->key, name), value;
    uint64_t version;
    enum status status = ST_OK;
    switch (step->kind) {
    case STEP_GET:
        status = txn_get(txn, key, &value, &version);
        break;
    case STEP_VERSION:
        status = txn_version(txn, key, &version);
        break;
    case STEP_SET:
        return txn_set(txn, key, value_of(call, call->at, bytes));
    case STEP_DELETE:
        return txn_delete(txn, key);
    case STEP_RANGE:
        return walk(call, txn, step);
    case STEP_APPEND:
        return append(call, txn, key);
    case STEP_YIELD:
        break;
    }
    return status == ST_NOT_FOUND ? ST_OK : status;
}

static enum verdict fail_with(struct client_call *call, enum status outcome) {
    call->call.outcome = outcome;
    return PROC_FAIL;
}

static enum verdict go(struct call *base, struct txn *txn) {
    struct client_call *call = of(base);
    while (call->at < call->step_count) {
        const struct step *step = &call->steps[call->at];
        enum status status = run_step(call, txn, step);
        if (status == ST_PENDING)
            return call->never_waits ? PROC_RERUN : PROC_WAIT;
        if (status == ST_DOOMED)
            return PROC_UNWOUND;
        if (status != ST_OK)
            return fail_with(call, status);
        call->at++;
        if (call->replaced && call->at == call->step_count) {
            call->replaced = false;
            return PROC_REPLACED;
        }
        if (step->kind == STEP_YIELD)
            return PROC_AGAIN;
    }
    if (call->fails)
        return fail_with(call, ST_HANDLER);
    base->reply.status = 200;
    return call->rolls_back ? PROC_ROLLBACK : PROC_COMMIT;
}

static enum verdict start(struct call *base, struct txn *txn, struct script_vm *vm) {
    (void)vm;
    of(base)->at = 0;
    of(base)->range = NULL;
    return go(base, txn);
}

static enum status declare_step(struct client_call *call, struct txn *txn, unsigned at) {
    const struct step *step = &call->steps[at];
    char name[8], to[8], bytes[VALUE_BYTES];
    struct slice key = work_key(step->key, name);
    struct range_spec spec;
    switch (step->kind) {
    case STEP_GET:
        return txn_declare(txn, key, DECLARE_READ);
    case STEP_VERSION:
        return txn_declare(txn, key, DECLARE_VERSION);
    case STEP_SET:
        return txn_declare_value(txn, key, value_of(call, at, bytes));
    case STEP_DELETE:
        return txn_declare(txn, key, DECLARE_WRITE);
    case STEP_APPEND:
        return txn_declare(txn, key, DECLARE_READ_WRITE);
    case STEP_RANGE:
        spec = spec_of(call, step, name, to);
        return txn_declare_range(txn, &spec);
    case STEP_YIELD:
        break;
    }
    return ST_OK;
}

static enum status declare(struct call *base, struct txn *txn) {
    struct client_call *call = of(base);
    enum status status = ST_OK;
    for (unsigned i = 0; status == ST_OK && i < call->step_count; i++)
        status = declare_step(call, txn, i);
    txn_declare_bytes(txn, call->step_count, call->step_count * (LIST_BYTES_MAX + 16));
    return status;
}

static const struct procedure finding = {.name = "finding", .start = start, .resume = go};
static const struct procedure declaring = {
    .name = "declaring", .declare = declare, .start = start, .resume = go};

/* ---- what is asked for ---- */

static void draw_range(struct world *world, struct step *step) {
    unsigned keys = world->plan.keys;
    step->kind = STEP_RANGE;
    step->to = step->key + 1 + (unsigned)sim_random(world, keys);
    step->limit = 1 + (unsigned)sim_random(world, sim_one_in(world, 2) ? 4 : keys);
    step->expect = 1 + (unsigned)sim_random(world, step->limit);
    step->reverse = sim_one_in(world, 2);
    step->closes = sim_one_in(world, 2);
}

static void draw_step(struct world *world, struct step *step, unsigned ranges) {
    static const enum step_kind kinds[] = {
        STEP_GET, STEP_GET, STEP_GET, STEP_VERSION, STEP_SET, STEP_SET, STEP_DELETE, STEP_YIELD};
    step->key = (unsigned)sim_random(world, world->plan.keys);
    if (sim_random(world, 20) < ranges)
        draw_range(world, step);
    else
        step->kind = kinds[sim_random(world, sizeof kinds / sizeof kinds[0])];
}

static void draw_steps(
    struct world *world, struct client_call *call, unsigned count, unsigned ranges) {
    call->call.procedure = &finding;
    call->step_count = count;
    for (unsigned i = 0; i < count; i++)
        draw_step(world, &call->steps[i], ranges);
    call->rolls_back = sim_one_in(world, 10);
    call->fails = !call->rolls_back && sim_one_in(world, 12);
    call->replaced = sim_one_in(world, 12);
    call->never_waits = sim_one_in(world, 6);
}

static void points(struct world *world, struct client *client, struct client_call *call) {
    (void)client;
    draw_steps(world, call, 1 + (unsigned)sim_random(world, 6), 0);
}

static void ranges(struct world *world, struct client *client, struct client_call *call) {
    (void)client;
    draw_steps(world, call, 1 + (unsigned)sim_random(world, 5), 8);
}

static void declared(struct world *world, struct client *client, struct client_call *call) {
    (void)client;
    draw_steps(world, call, 1 + (unsigned)sim_random(world, 6), 4);
    call->call.procedure = &declaring;
}

/* Readers that see keys absent, and writers that put and delete in one go. */
static void flicker(struct world *world, struct client *client, struct client_call *call) {
    bool reads = client->number % 2;
    call->call.procedure = &finding;
    call->step_count = 2 + (unsigned)sim_random(world, 2);
    for (unsigned i = 0; i < call->step_count; i++) {
        struct step *step = &call->steps[i];
        step->key = (unsigned)sim_random(world, world->plan.keys);
        step->kind = reads ? STEP_GET : sim_one_in(world, 2) ? STEP_SET : STEP_DELETE;
        if (reads && sim_one_in(world, 3))
            draw_range(world, step);
    }
}

/* Two keys put at once, one of them deleted again; readers that see it absent before and after. */
static void blink(struct world *world, struct client *client, struct client_call *call) {
    unsigned pair = (unsigned)sim_random(world, world->plan.keys / 2) * 2;
    call->call.procedure = &finding;
    if (client->number % 2) {
        unsigned turns = 1 + (unsigned)sim_random(world, STEPS_MAX - 2);
        call->steps[0] = (struct step){.kind = STEP_GET, .key = pair};
        for (unsigned i = 1; i <= turns; i++)
            call->steps[i] = (struct step){.kind = STEP_YIELD};
        call->steps[turns + 1] = (struct step){.kind = STEP_GET, .key = pair + 1};
        call->step_count = turns + 2;
        return;
    }
    bool puts = client->turn % 2;
    call->step_count = puts ? 2 : 1;
    call->steps[0] = (struct step){.kind = puts ? STEP_SET : STEP_DELETE, .key = pair};
    call->steps[1] = (struct step){.kind = STEP_SET, .key = pair + 1};
}

/* Walks in small batches, and writers that in one go take a key away, put another near it, and a
 * third where the walk has yet to come. */
static void shift(struct world *world, struct client *client, struct client_call *call) {
    unsigned keys = world->plan.keys, half = keys / 2;
    call->call.procedure = &finding;
    if (client->number % 2) {
        call->step_count = 1 + (unsigned)sim_random(world, 2);
        call->steps[0] = (struct step){.kind = STEP_RANGE,
            .to = keys,
            .limit = keys,
            .expect = 1 + (unsigned)sim_random(world, 3),
            .reverse = sim_one_in(world, 4)};
        call->steps[1] = (struct step){.kind = STEP_SET, .key = keys - 1};
        return;
    }
    call->step_count = 3;
    call->steps[0] =
        (struct step){.kind = STEP_DELETE, .key = (unsigned)sim_random(world, half + 1)};
    call->steps[1] = (struct step){.kind = STEP_SET, .key = (unsigned)sim_random(world, half + 1)};
    call->steps[2] =
        (struct step){.kind = STEP_SET, .key = half + (unsigned)sim_random(world, half + 1)};
}

/* Deletes, mostly of what is not there: the newest of the log shows nowhere in the state. */
static void wipe(struct world *world, struct client *client, struct client_call *call) {
    (void)client;
    call->call.procedure = &finding;
    call->step_count = 1 + (unsigned)sim_random(world, 2);
    for (unsigned i = 0; i < call->step_count; i++)
        call->steps[i] = (struct step){.kind = sim_one_in(world, 10) ? STEP_SET : STEP_DELETE,
            .key = (unsigned)sim_random(world, world->plan.keys)};
}

/* T1 reads x and writes y, T2 reads y and writes x: on keys of different shards, often. */
static void skew(struct world *world, struct client *client, struct client_call *call) {
    unsigned pair = (unsigned)sim_random(world, world->plan.keys / 2) * 2;
    unsigned side = client->number % 2;
    call->call.procedure = &finding;
    call->step_count = 2;
    call->steps[0] = (struct step){.kind = STEP_GET, .key = pair + side};
    call->steps[1] = (struct step){
        .kind = sim_one_in(world, 4) ? STEP_DELETE : STEP_SET, .key = pair + 1 - side};
}

/* Long transactions against the short ones of other clients. */
static void long_ones(struct world *world, struct client *client, struct client_call *call) {
    (void)client;
    draw_steps(world, call, 12 + (unsigned)sim_random(world, STEPS_MAX - 12), 2);
    call->fails = call->rolls_back = false;
}

static void appends(struct world *world, struct client *client, struct client_call *call) {
    (void)client;
    call->call.procedure =
        sim_one_in(world, 3) && !world->plan.memory_percent ? &declaring : &finding;
    call->step_count = 1 + (unsigned)sim_random(world, 3);
    for (unsigned i = 0; i < call->step_count; i++)
        call->steps[i] = (struct step){.kind = sim_one_in(world, 3) ? STEP_GET : STEP_APPEND,
            .key = (unsigned)sim_random(world, world->plan.keys)};
}

const struct work work_points = {"points", points, NULL, false, true};
const struct work work_ranges = {"ranges", ranges, NULL, false, true};
const struct work work_declared = {"declared", declared, NULL, false, true};
const struct work work_flicker = {"flicker", flicker, NULL, false, true};
const struct work work_blink = {"blink", blink, NULL, false, true};
const struct work work_wipe = {"wipe", wipe, NULL, false, true};
const struct work work_shift = {"shift", shift, NULL, false, true};
const struct work work_skew = {"write skew", skew, NULL, false, true};
const struct work work_long = {"long", long_ones, NULL, false, true};
const struct work work_append = {"list-append", appends, NULL, false, true};
