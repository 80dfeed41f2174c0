/* Work of Lua handlers: the routes of apps/sim.lua, in real machines. They are preempted at any
 * instruction: the machine's hook comes after a random number of them, and time passes while a
 * handler runs. */
#include <assert.h>
#include <lua.h>
#include <stdio.h>
#include <string.h>

#include "lua/script.h"
#include "tests/sim/world.h"
#include "tests/support/diag_catch.h"

#define VM_BYTES_MAX ((size_t)4 << 20)
#define HOOK_MAX 120u

/* One for a process; machines are made and closed with each life. */
static struct script_app *app;
static uint64_t chance;

static uint64_t draw(uint64_t below) {
    chance = chance * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (chance >> 33) % below;
}

void __real_lua_sethook(lua_State *L, lua_Hook hook, int mask, int count);
void __wrap_lua_sethook(lua_State *L, lua_Hook hook, int mask, int count);
void __wrap_lua_sethook(lua_State *L, lua_Hook hook, int mask, int count) {
    int sooner = 1 + (int)draw(HOOK_MAX);
    if (sim_clock_passes() && draw(3) == 0)
        sim_clock_set(sim_clock_ns() + draw(1500000));
    __real_lua_sethook(L, hook, mask, count < sooner ? count : sooner);
}

static struct script_app *open_app(struct world *world) {
    struct script_options options = {.file = SIM_APP,
        .vm_bytes_max = VM_BYTES_MAX,
        .key_bytes_max = 64,
        .value_bytes_max = 4096,
        .shards = SIM_SHARDS_MAX};
    struct script_app *opened = NULL;
    if (lua_script_engine.app_open(&options, &opened, &world->error) != ST_OK)
        story_fail("%s: %.*s", SIM_APP, (int)world->error.len, world->error.data);
    return opened;
}

void work_lua_open(struct world *world) {
    if (!world->plan.lua)
        return;
    if (!app)
        app = open_app(world);
    chance = world->seed;
    for (unsigned i = 0; i < world->shards; i++) {
        enum status status = lua_script_engine.vm_open(app, i, &world->vms[i], &world->error);
        assert(status == ST_OK);
    }
}

void work_lua_close(struct world *world, bool crashed) {
    for (unsigned i = 0; i < SIM_SHARDS_MAX; i++) {
        if (world->vms[i] && !crashed)
            lua_script_engine.vm_close(world->vms[i]);
        world->vms[i] = NULL;
    }
}

/* ---- what is asked for ---- */

static void ask(struct client_call *call, const char *route) {
    struct request *request = &call->call.request;
    request->method = slice_of("GET", 3);
    request->path = slice_of(route, strlen(route));
    request->query = buf_slice(&call->text);
    request->remote = slice_of("127.0.0.1:1", 11);
    request->id = slice_of("sim", 3);
    struct buf allow;
    buf_init(&allow, 1024);
    enum route_match found = lua_script_engine.match(
        app, request->method, request->path, request, &call->scratch, &allow);
    buf_free(&allow);
    STORY_HOLDS(found == ROUTE_FOUND, "a route of the application is not found");
    call->call.procedure = lua_script_engine.handler;
}

static void bank(struct world *world, struct client *client, struct client_call *call) {
    (void)client;
    if (sim_one_in(world, 4)) {
        buf_append_text(&call->text, sim_one_in(world, 2) ? "by=range" : "by=key");
        ask(call, "total");
        return;
    }
    uint64_t from = sim_random(world, 8);
    buf_printf(&call->text, "from=%u&to=%u&amount=%u", (unsigned)from,
        (unsigned)((from + 1 + sim_random(world, 7)) % 8), (unsigned)sim_random(world, 60));
    ask(call, "transfer");
}

static void lists(struct world *world, struct client *client, struct client_call *call) {
    (void)client;
    unsigned first = (unsigned)sim_random(world, 6);
    buf_printf(&call->text, "element=%u&keys=ll%u", call->number, first);
    if (sim_one_in(world, 2))
        buf_printf(&call->text, ",ll%u", (first + 1 + (unsigned)sim_random(world, 5)) % 6);
    ask(call, "append");
}

static void mixed(struct world *world, struct client *client, struct client_call *call) {
    (void)client;
    if (sim_one_in(world, 30)) {
        buf_append_text(&call->text, "a=lm1");
        ask(call, "hog");
        return;
    }
    buf_printf(&call->text, "a=lm%u&b=lm%u&c=lm%u&n=%u&drop=%u&fails=%u",
        (unsigned)sim_random(world, 6), (unsigned)sim_random(world, 6),
        (unsigned)sim_random(world, 6), (unsigned)sim_random(world, 2),
        (unsigned)sim_one_in(world, 3), (unsigned)sim_one_in(world, 10));
    ask(call, "mixed");
}

/* The handlers check what they see and fail if it is wrong. */
static void look(struct world *world, struct client_call *call) {
    enum status outcome = call->call.outcome;
    if (world->plan.txn_bytes_max)
        return;
    if (outcome == ST_HANDLER && !strstr(diag_catch_last(), "memory"))
        story_fail("call %u: its handler failed: %s", call->number, diag_catch_last());
    if (outcome == ST_OK && call->call.reply.status != 200 && call->call.reply.status != 409)
        story_fail("call %u: status %d", call->number, call->call.reply.status);
}

const struct work work_lua_bank = {"Lua bank", bank, look, true, false};
const struct work work_lua_append = {"Lua list-append", lists, look, true, false};
const struct work work_lua_mixed = {"Lua mixed", mixed, NULL, true, false};
