/* A second opinion: the transactions of a seed as a history of registers, for the checker that
 * knows nothing of the log (tests/history/): real time, versions, and what was read and written.
 *
 * Only seeds that run under `always` all along, since the other modes may lose what was
 * acknowledged, and whose work writes each value once. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/history/history.h"
#include "tests/sim/world.h"

struct text {
    char bytes[PAST_KEY_BYTES + 1];
};

static const char *text_of(
    const struct trace *trace, const struct trace_item *item, struct text *text) {
    assert(item->len <= PAST_KEY_BYTES);
    memcpy(text->bytes, trace->names + item->name, item->len);
    text->bytes[item->len] = '\0';
    return text->bytes;
}

static int64_t value_of(uint64_t hash) {
    return (int64_t)(hash >> 1);
}

/* A walk that was not at its end covers up to its last item. */
static void note_range(
    struct history *history, const struct trace *trace, const struct trace_op *op) {
    struct text from, to, name;
    const struct trace_item *items = trace->items + op->first;
    const struct trace_item *first = &op->item, *last = op->bounded ? &op->to : NULL;
    if (op->count == 0 && !op->ran_out)
        return;
    bool cut = !op->ran_out;
    if (cut && op->reverse)
        first = &items[op->count - 1];
    else if (cut)
        last = &items[op->count - 1];
    history_range(history, text_of(trace, first, &from), last ? text_of(trace, last, &to) : NULL,
        cut && !op->reverse);
    for (unsigned i = 0; i < op->count; i++) {
        const struct trace_item *item = &items[op->reverse ? op->count - 1 - i : i];
        history_range_item(
            history, text_of(trace, item, &name), value_of(item->value), item->version);
    }
}

static void note_op(struct history *history, const struct trace *trace, const struct trace_op *op) {
    struct text name;
    const char *key = text_of(trace, &op->item, &name);
    switch (op->kind) {
    case TRACE_GET:
        history_read(
            history, key, op->there ? value_of(op->item.value) : HISTORY_ABSENT, op->item.version);
        break;
    case TRACE_SET:
        history_write(history, key, value_of(op->item.value));
        break;
    case TRACE_DELETE:
        history_delete(history, key);
        break;
    case TRACE_RANGE:
        note_range(history, trace, op);
        break;
    case TRACE_VERSION:
        break; /* it saw no value */
    }
}

void witness_open(struct world *world) {
    bool takes_part = world->plan.always;
    for (unsigned i = 0; i < world->plan.clients; i++)
        takes_part = takes_part && world->clients[i].work->once;
    world->witness = takes_part ? history_new(true) : NULL;
}

void witness_note(struct world *world, const struct client_call *call, bool answered) {
    bool wrote = call->trace.writes && (!answered || call->verdict == PROC_COMMIT);
    if (!world->witness || (call->trace.writes && !wrote))
        return;
    history_begin(world->witness, &(struct history_txn){.client = call->client->number,
                                      .invoke_ns = call->call.started_ns,
                                      .complete_ns = answered ? sim_clock_ns() : HISTORY_NEVER,
                                      .outcome = answered ? HISTORY_OK : HISTORY_UNKNOWN,
                                      .version = answered && wrote ? call->version : 0});
    for (size_t i = 0; i < call->trace.op_count; i++)
        note_op(world->witness, &call->trace, &call->trace.ops[i]);
}

void witness_close(struct world *world) {
    if (!world->witness)
        return;
    struct history_report *report = history_check(world->witness);
    world->counts.witnessed += report->txns;
    if (report->count)
        story_fail(
            "the history checker: %s: %s", report->anomalies[0].name, report->anomalies[0].text);
    free(report);
    history_free(world->witness);
    world->witness = NULL;
}
