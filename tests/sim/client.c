/* Clients: each makes one call, waits for its release (or, pipelining, for its commit), and makes
 * the next. Each reply is judged by the trace of its call and the past. */
#include "tests/sim/world.h"

#include <assert.h>
#include <stdlib.h>

#include "core/clock.h"

/* From a call's submission to its release; most take some dozens, the longest some 10,000. */
#define CALL_MOVES_MAX 100000u

/* ---- the trace around a procedure ---- */

static struct client_call *call_of(struct call *call) {
    return (struct client_call *)call;
}

static enum verdict note_verdict(struct client_call *call, enum verdict verdict) {
    call->verdict = verdict;
    call->world->counts.preempted += verdict == PROC_AGAIN && call->client->work->lua;
    return verdict;
}

static enum status traced_declare(struct call *base, struct txn *txn) {
    return call_of(base)->inner->declare(base, txn);
}

static enum verdict traced_start(struct call *base, struct txn *txn, struct script_vm *vm) {
    struct client_call *call = call_of(base);
    STORY_HOLDS(!call->running && !call->finished, "an attempt begins while another runs");
    call->running = true;
    call->attempts++;
    trace_reset(&call->trace);
    sim_clock_pass(call->client->work->lua);
    enum verdict verdict = call->inner->start(base, txn, vm);
    sim_clock_pass(false);
    return note_verdict(call, verdict);
}

static enum verdict traced_resume(struct call *base, struct txn *txn) {
    struct client_call *call = call_of(base);
    STORY_HOLDS(call->running, "an attempt goes on that was over");
    sim_clock_pass(call->client->work->lua);
    enum verdict verdict = call->inner->resume(base, txn);
    sim_clock_pass(false);
    return note_verdict(call, verdict);
}

static void traced_drop(struct call *base) {
    struct client_call *call = call_of(base);
    STORY_HOLDS(call->running, "an attempt is dropped twice");
    call->running = false;
    story("call %u loses its attempt", call->number);
    if (call->inner->drop)
        call->inner->drop(base);
}

static void traced_finish(struct call *base, uint64_t version) {
    struct client_call *call = call_of(base);
    STORY_HOLDS(call->running && !call->finished, "a call is finished twice");
    call->running = false;
    call->finished = true;
    call->version = version;
    story("call %u has %s at LSN %llu", call->number,
        call->verdict == PROC_COMMIT ? "committed" : "ended", (unsigned long long)version);
    if (call->inner->finish)
        call->inner->finish(base, version);
}

/* ---- calls ---- */

static struct client_call *call_new(struct world *world, struct client *client) {
    struct client_call *call = calloc(1, sizeof *call);
    assert(call);
    call->world = world;
    call->client = client;
    call->number = ++world->numbered;
    call->call.owner = world;
    buf_init(&call->call.reply.headers, SIZE_MAX);
    buf_init(&call->call.reply.body, SIZE_MAX);
    buf_init(&call->text, SIZE_MAX);
    buf_init(&call->scratch, SIZE_MAX);
    call->call.home = client->home % world->shards;
    call->call.msg.from = call->call.home;
    call->call.seed = sim_random(world, UINT64_MAX);
    call->call.vms = world->vms;
    return call;
}

static void call_free(struct client_call *call) {
    trace_free(&call->trace);
    buf_free(&call->call.reply.headers);
    buf_free(&call->call.reply.body);
    buf_free(&call->text);
    buf_free(&call->scratch);
    free(call);
}

static void submit(struct world *world, struct client_call *call) {
    call->inner = call->call.procedure;
    call->procedure = (struct procedure){.name = call->inner->name,
        .declare = call->inner->declare ? traced_declare : NULL,
        .start = traced_start,
        .resume = traced_resume,
        .drop = traced_drop,
        .finish = traced_finish,
        .release = call->inner->release};
    call->call.procedure = &call->procedure;
    uint64_t now_ns = sim_clock_ns();
    call->call.started_ns = now_ns;
    call->call.wall_ns = clock_wall_ns();
    call->call.deadline_ns =
        now_ns +
        (call->impatient ? 1 + sim_random(world, 40 * world->plan.tick_ns) : SIM_BUDGET_NS);
    call->lsn_before = world->past.last;
    call->since_move = world->counts.moves;
    call->next = world->calls;
    world->calls = call;
    world->in_flight++;
    call->client->busy = true;
    world->sender = call->call.home;
    world->due[call->call.home] = true;
    story("client %u: call %u (%s) to shard %u", call->client->number, call->number,
        call->client->work->name, call->call.home);
    enum status status = shard_submit(world->shard[call->call.home], &call->call, now_ns);
    STORY_HOLDS(status == ST_OK, "a call is not taken in");
}

bool client_step(struct world *world) {
    if (world->left == 0)
        return false;
    unsigned at = (unsigned)sim_random(world, world->plan.clients);
    for (unsigned i = 0; world->clients[at].busy; i++, at = (at + 1) % world->plan.clients)
        if (i == world->plan.clients)
            return false;
    struct client *client = &world->clients[at];
    struct client_call *call = call_new(world, client);
    client->turn++;
    world->left--;
    client->work->next(world, client, call);
    call->impatient = call->impatient || (world->plan.impatience && sim_one_in(world, 8));
    submit(world, call);
    return true;
}

/* ---- judging ---- */

static void judge_writer(struct world *world, const struct client_call *call) {
    struct past_record *record = past_record_of(&world->past, call->version);
    if (!record || record->claimed)
        story_fail("call %u: its LSN %llu is %s", call->number, (unsigned long long)call->version,
            record ? "another call's too" : "not in the log");
    record->claimed = true;
    if (call->version <= call->lsn_before)
        story_fail("call %u: committed before it was asked for", call->number);
    if (world->mode == WAL_ALWAYS && call->version > wal_durable_lsn(world->wal))
        story_fail("call %u: its reply left before LSN %llu was durable", call->number,
            (unsigned long long)call->version);
    if (!trace_holds(&call->trace, &world->past, call->version - 1)) {
        trace_tell(&call->trace);
        story_fail("call %u: what it read was not current at its LSN %llu", call->number,
            (unsigned long long)call->version);
    }
    const char *why = trace_check_record(&call->trace, &world->past, call->version);
    if (why) {
        trace_tell(&call->trace);
        story_fail("call %u, LSN %llu: %s", call->number, (unsigned long long)call->version, why);
    }
}

/* What it saw must be true at some LSN within its request, and must have become true at an LSN that
 * was durable when the reply left. */
static void judge_reader(const struct world *world, const struct client_call *call) {
    const struct past *past = &world->past;
    uint64_t durable = world->mode == WAL_ALWAYS ? wal_durable_lsn(world->wal) : UINT64_MAX;
    uint64_t first = durable < call->lsn_before ? durable : call->lsn_before;
    size_t at = past->count;
    while (at > 0 && past->records[at - 1].lsn > first)
        at--;
    uint64_t since = UINT64_MAX;
    bool was_true = false;
    for (uint64_t lsn = first;; lsn = past->records[at++].lsn) {
        if (!trace_holds(&call->trace, past, lsn))
            since = UINT64_MAX;
        else if (since == UINT64_MAX)
            since = lsn;
        bool within = at == past->count || past->records[at].lsn > call->lsn_before;
        if (within && since <= durable && since != UINT64_MAX)
            return;
        was_true = was_true || (within && since != UINT64_MAX);
        if (at == past->count)
            break;
    }
    trace_tell(&call->trace);
    story_fail(was_true ? "call %u: its reply left before what it saw was durable"
                        : "call %u: it saw what was not true between its request and its reply",
        call->number);
}

static void judge_failure(struct world *world, const struct client_call *call) {
    enum status outcome = call->call.outcome;
    bool starved = world->plan.memory_percent > 0;
    bool excused = ((outcome == ST_TIMEOUT || outcome == ST_CONFLICT) && call->impatient) ||
                   (outcome == ST_NOMEM && (starved || world->plan.txn_bytes_max)) ||
                   (outcome == ST_TOO_LARGE && world->plan.txn_bytes_max) ||
                   (outcome == ST_DISK_FULL && world->no_room) ||
                   outcome == ST_BUSY; /* the log has no room just now */
    world->counts.refused++;
    if (!excused)
        story_fail("call %u: ended with '%s' though nothing stood in its way", call->number,
            status_text(outcome));
}

static void judge(struct world *world, struct client_call *call) {
    enum status outcome = call->call.outcome;
    STORY_HOLDS(!call->running, "a call with an attempt that nobody ended");
    if (outcome != ST_OK && outcome != ST_HANDLER) {
        judge_failure(world, call);
        return;
    }
    STORY_HOLDS(call->finished, "a call that stands but was not finished");
    if (call->verdict == PROC_COMMIT && call->trace.writes)
        judge_writer(world, call);
    else
        judge_reader(world, call);
    witness_note(world, call, true);
    world->counts.committed += call->verdict == PROC_COMMIT;
    if (call->version > world->shown)
        world->shown = call->version;
    bool durable = world->mode == WAL_ALWAYS && past_record_of(&world->past, call->version);
    if (durable && call->version > world->required)
        world->required = call->version;
}

/* ---- what the shards say ---- */

void client_committed(void *ctx, struct call *base) {
    (void)ctx;
    struct client_call *call = call_of(base);
    STORY_HOLDS(!call->committed, "a call commits twice");
    call->committed = true;
    if (call->client->pipelines)
        call->client->busy = false;
}

void client_released(void *ctx, struct call *base) {
    struct world *world = ctx;
    struct client_call *call = call_of(base);
    STORY_HOLDS(call->committed && !call->released, "a call is released out of order");
    STORY_HOLDS(base->home == world->sender, "a call is released far from home");
    call->released = true;
    story("client %u: call %u is answered: %s, LSN %llu, after %u losses", call->client->number,
        call->number, status_text(base->outcome), (unsigned long long)call->version, base->losses);
    if (world->counts.moves - call->since_move > CALL_MOVES_MAX)
        story_fail("call %u took %llu moves", call->number,
            (unsigned long long)(world->counts.moves - call->since_move));
    world->counts.lost += base->losses;
    world->counts.released++;
    judge(world, call);
    if (call->client->work->look)
        call->client->work->look(world, call);
    if (call->inner->release)
        call->inner->release(base);
    world->in_flight--;
    if (!call->client->pipelines)
        call->client->busy = false;
    for (struct client_call **at = &world->calls; *at; at = &(*at)->next)
        if (*at == call) {
            *at = call->next;
            break;
        }
    call_free(call);
}

void client_crash(struct world *world) {
    world->counts.unknown += world->in_flight;
    for (const struct client_call *call = world->calls; call; call = call->next)
        witness_note(world, call, false);
    world->calls = NULL;
    for (unsigned i = 0; i < SIM_CLIENTS_MAX; i++)
        world->clients[i].busy = false;
    for (size_t i = 0; i < world->past.count; i++)
        world->past.records[i].claimed = true;
}
