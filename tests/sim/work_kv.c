/* Work of /v1: put with versions, batches of commands, pages of ranges, and a bank whose total is
 * nothing at every instant. Through the real procedures, from the request's bytes on. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/world.h"

#define ACCOUNTS 8u

typedef enum status prepare(struct kv *kv, struct call *call, struct kv_error *error);

static void ask(struct client_call *call, bool query, prepare *prepare_call) {
    struct request *request = &call->call.request;
    request->method = query ? slice_of("GET", 3) : slice_of("POST", 4);
    *(query ? &request->query : &request->body) = buf_slice(&call->text);
    struct kv_error error;
    if (prepare_call(call->world->kv[call->call.home], &call->call, &error) != ST_OK)
        story_fail("a call of /v1 is refused: %s", error.text);
}

static unsigned key(struct world *world) {
    return (unsigned)sim_random(world, world->plan.keys);
}

/* The version that a client may believe in: the newest there is, mostly. */
static uint64_t version_of(struct world *world, unsigned number) {
    char name[8];
    (void)snprintf(name, sizeof name, "v%02u", number % 100);
    const struct past_version *version =
        past_at(past_find(&world->past, slice_of(name, 3)), UINT64_MAX);
    return version && !sim_one_in(world, 8) ? version->lsn : 0;
}

/* Several keys, no key twice, each if its version is the one given. */
static void cas(struct world *world, struct client *client, struct client_call *call) {
    (void)client;
    unsigned count = 1 + (unsigned)sim_random(world, 3), first = key(world);
    for (unsigned i = 0; i < count; i++) {
        unsigned at = (first + i) % world->plan.keys;
        buf_printf(&call->text, "%s{\"key\":\"v%02u\",\"value\":%u,\"version\":%llu}",
            i ? "," : "[", at, call->number, (unsigned long long)version_of(world, at));
    }
    buf_append_text(&call->text, "]");
    ask(call, false, kv_prepare_put);
}

static void command(struct world *world, struct client_call *call) {
    struct buf *text = &call->text;
    unsigned at = key(world);
    switch (sim_random(world, 6)) {
    case 0:
        buf_printf(text, "{\"cmd_type\":\"get\",\"key\":\"v%02u\"}", at);
        break;
    case 1:
        buf_printf(text, "{\"cmd_type\":\"set\",\"key\":\"v%02u\",\"value\":%u}", at, call->number);
        break;
    case 2:
        buf_printf(text, "{\"cmd_type\":\"delete\",\"key\":\"v%02u\"}", at);
        break;
    case 3:
        buf_printf(text, "{\"cmd_type\":\"range\",\"from\":\"v%02u\",\"limit\":%u,\"reverse\":%s}",
            at, 1 + (unsigned)sim_random(world, 5), sim_one_in(world, 2) ? "true" : "false");
        break;
    default:
        buf_printf(text, "{\"cmd_type\":\"incr\",\"key\":\"v%02u\",\"by\":3}", at);
    }
}

static void execute(struct world *world, struct client *client, struct client_call *call) {
    (void)client;
    unsigned count = 1 + (unsigned)sim_random(world, 5);
    buf_append_text(&call->text, "{\"commands\":[");
    for (unsigned i = 0; i < count; i++) {
        buf_append_text(&call->text, i ? "," : "");
        command(world, call);
    }
    buf_append_text(&call->text, "]}");
    ask(call, false, kv_prepare_execute);
}

static void range(struct world *world, struct client *client, struct client_call *call) {
    (void)client;
    buf_printf(&call->text, "from=v%02u&to=v%02u&limit=%u%s", key(world), key(world) + 2,
        1 + (unsigned)sim_random(world, 6), sim_one_in(world, 2) ? "&reverse=1" : "");
    ask(call, true, kv_prepare_range);
}

static void hot(struct world *world, struct client *client, struct client_call *call) {
    (void)client;
    buf_printf(&call->text,
        sim_one_in(world, 6) ? "{\"commands\":[{\"cmd_type\":\"get\",\"key\":\"hot%u\"}]}"
                             : "{\"commands\":[{\"cmd_type\":\"incr\",\"key\":\"hot%u\"}]}",
        (unsigned)sim_random(world, 2));
    ask(call, false, kv_prepare_execute);
}

/* What one account gains another loses; all together have nothing. */
static void bank(struct world *world, struct client *client, struct client_call *call) {
    (void)client;
    unsigned from = (unsigned)sim_random(world, ACCOUNTS);
    unsigned to = (from + 1 + (unsigned)sim_random(world, ACCOUNTS - 1)) % ACCOUNTS;
    unsigned amount = 1 + (unsigned)sim_random(world, 100);
    if (sim_one_in(world, 4))
        buf_append_text(
            &call->text, "{\"commands\":[{\"cmd_type\":\"range\",\"prefix\":\"bank\"}]}");
    else
        buf_printf(&call->text,
            "{\"commands\":[{\"cmd_type\":\"incr\",\"key\":\"bank%u\",\"by\":-%u},"
            "{\"cmd_type\":\"incr\",\"key\":\"bank%u\",\"by\":%u}]}",
            from, amount, to, amount);
    ask(call, false, kv_prepare_execute);
}

static void look_at_bank(struct world *world, struct client_call *call) {
    (void)world;
    struct buf *body = &call->call.reply.body;
    if (call->call.outcome != ST_OK || call->trace.writes)
        return;
    buf_append_byte(body, '\0');
    long long sum = 0;
    for (const char *at = body->data; (at = strstr(at, "\"value\":"));)
        sum += strtoll(at += strlen("\"value\":"), NULL, 10);
    if (sum != 0)
        story_fail("call %u: the bank's total is %lld: %s", call->number, sum, body->data);
}

const struct work work_kv_cas = {"/v1/put", cas, NULL, false, false};
const struct work work_kv_execute = {"/v1/execute", execute, NULL, false, false};
const struct work work_kv_range = {"/v1/range", range, NULL, false, false};
const struct work work_kv_hot = {"hot key", hot, NULL, false, false};
const struct work work_kv_bank = {"/v1 bank", bank, look_at_bank, false, false};
