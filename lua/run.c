#include "lua/run.h"

#include <assert.h>

#include "core/clock.h"
#include "core/json_write.h"
#include "lua/doom.h"
#include "lua/fault.h"
#include "lua/log.h"
#include "lua/reply.h"
#include "lua/request.h"
#include "lua/sandbox.h"
#include "lua/store_lib.h"

/* A request that saw this many machines go is taken to be what breaks them. */
#define REPLACEMENTS_MAX 2u

/* ---- inside the coroutine ---- */

static int end_handler(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    struct attempt *attempt = script_vm_of(L)->current;
    struct call *call = attempt->call;
    script_make_reply(L, 1, call->request.route->kind, &call->reply);
    attempt->verdict = PROC_COMMIT;
    return 0;
}

/* Calls the handler; on the stack is what script_decode_body gave. */
static int begin_handler(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    struct script_vm *vm = script_vm_of(L);
    struct attempt *attempt = vm->current;
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm->handlers[attempt->call->request.route->index]);
    if (!script_push_args(L, attempt->call)) {
        attempt->verdict = PROC_ROLLBACK;
        return 0;
    }
    script_push_req(L, attempt);
    lua_rotate(L, 1, 3);
    lua_settop(L, 3);
    lua_callk(L, 2, LUA_MULTRET, 0, end_handler);
    return end_handler(L, LUA_OK, 0);
}

/* The first function of a request's coroutine. */
static int run_handler(lua_State *L) {
    lua_pushcfunction(L, script_decode_body);
    lua_callk(L, 0, 3, 0, begin_handler);
    return begin_handler(L, LUA_OK, 0);
}

static int end_lifecycle(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    struct attempt *attempt = script_vm_of(L)->current;
    attempt->call->reply.status = 200;
    attempt->verdict = PROC_COMMIT;
    (void)ctx;
    return 0;
}

/* As run_handler, for the functions of on(); their reference is the argument. */
static int run_lifecycle(lua_State *L) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, (int)lua_tointeger(L, 1));
    lua_callk(L, 0, 0, 0, end_lifecycle);
    return end_lifecycle(L, LUA_OK, 0);
}

/* ---- how an attempt ends ---- */

static enum verdict end_with(struct call *call, enum status outcome) {
    call->outcome = outcome;
    buf_reset(&call->reply.headers, SIZE_MAX);
    buf_reset(&call->reply.body, SIZE_MAX);
    return PROC_FAIL;
}

static const char *name_of(const struct attempt *attempt) {
    if (attempt->call->procedure == &script_first_run)
        return "on(\"first_run\")";
    if (attempt->call->procedure == &script_on_start)
        return "on(\"start\")";
    return attempt->call->request.route->pattern;
}

/* In a protected call: notes what went wrong and where, in the attempt's log. Arguments: the
 * attempt, and the text or NULL, in which case the error object lies on the coroutine's stack. */
static int note_error(lua_State *L) {
    struct attempt *attempt = lua_touserdata(L, 1);
    lua_State *co = attempt->thread.state;
    struct buf *scratch = &attempt->vm->scratch;
    lua_settop(L, 2);
    if (lua_touserdata(L, 2)) {
        lua_pushstring(L, lua_touserdata(L, 2));
        lua_replace(L, 2);
    } else if (lua_gettop(co) > 0) {
        lua_xmove(co, L, 1);
        if (lua_type(L, -1) == LUA_TTABLE) /* no __tostring: nothing of the user's runs here */
            lua_pushliteral(L, "error object is a table");
        else
            script_push_text(L, -1);
        lua_replace(L, 2);
        lua_settop(L, 2);
        script_drop_our_place(L);
    }
    if (script_fault_wanted(&attempt->call->fault))
        script_fault_fill(L, 2, co, attempt->vm->app, &attempt->call->fault);
    if (attempt->vm->app->testing)
        return 0;
    luaL_traceback(L, co, NULL, 0);
    const char *route = name_of(attempt);
    struct slice trace;
    trace.data = lua_tolstring(L, -1, &trace.len);
    buf_reset(scratch, SCRIPT_SCRATCH_KEEP);
    buf_append_text(scratch, "{\"route\":");
    json_write_string(scratch, slice_of(route, strlen(route)));
    if (utf8_valid(trace)) {
        buf_append_text(scratch, ",\"traceback\":");
        json_write_string(scratch, trace);
    }
    buf_append_text(scratch, "}");
    lua_pushfstring(L, "handler error: %s", lua_isnil(L, 2) ? "?" : lua_tostring(L, 2));
    struct slice message;
    message.data = lua_tolstring(L, -1, &message.len);
    script_log_error(attempt, message, buf_ok(scratch) ? buf_slice(scratch) : SLICE(""));
    return 0;
}

/* Notes an error that has no place in the code. */
static void note_plain(struct attempt *attempt, const char *message) {
    if (script_fault_wanted(&attempt->call->fault))
        script_fault_plain(&attempt->call->fault, message);
    if (attempt->vm->app->testing)
        return;
    const char *route = name_of(attempt);
    struct buf *scratch = &attempt->vm->scratch;
    buf_reset(scratch, SCRIPT_SCRATCH_KEEP);
    buf_append_text(scratch, "{\"route\":");
    json_write_string(scratch, slice_of(route, strlen(route)));
    buf_append_text(scratch, "}");
    script_log_error(attempt, slice_of(message, strlen(message)),
        buf_ok(scratch) ? buf_slice(scratch) : SLICE(""));
}

/* Memory ran out in Lua. The attempt counts as one that the old machine took along. */
static enum verdict replace_vm(struct attempt *attempt) {
    struct call *call = attempt->call;
    script_vm_replace(attempt->vm);
    if (++call->replaced < REPLACEMENTS_MAX)
        return PROC_REPLACED;
    note_plain(attempt, "handler error: not enough memory (--lua-memory-max)");
    return end_with(call, ST_HANDLER);
}

static enum verdict end_with_error(struct attempt *attempt, const char *text) {
    lua_State *L = attempt->vm->lua;
    lua_pushcfunction(L, note_error);
    lua_pushlightuserdata(L, attempt);
    if (text)
        lua_pushlightuserdata(L, (void *)text);
    else
        lua_pushnil(L);
    int result = lua_pcall(L, 2, 0, 0);
    lua_settop(L, 0);
    if (result == LUA_ERRMEM)
        return replace_vm(attempt);
    return end_with(attempt->call, ST_HANDLER);
}

/* With the error on top of the coroutine. */
static enum verdict end_with_raised(struct attempt *attempt) {
    bool too_large = script_was_too_large(attempt);
    enum verdict verdict = end_with_error(attempt, NULL);
    if (verdict == PROC_FAIL && too_large)
        attempt->call->outcome = ST_TOO_LARGE;
    return verdict;
}

static enum verdict end_doomed(struct attempt *attempt) {
    switch (attempt->doom) {
    case DOOM_LOST:
        return PROC_UNWOUND;
    case DOOM_RERUN:
        return PROC_RERUN;
    case DOOM_ABORT:
        return PROC_ROLLBACK;
    case DOOM_TIMEOUT:
        return end_with(attempt->call, ST_TIMEOUT);
    case DOOM_MEMORY:
        return replace_vm(attempt);
    case DOOM_STUCK:
        return end_with_error(attempt, "ran too long where it cannot be interrupted: in a "
                                       "metamethod, a pattern or a large value");
    default:
        assert(false && "an attempt that is not doomed");
        return PROC_FAIL;
    }
}

/* Gives the coroutine back, if its machine is still there. */
static void release_thread(struct attempt *attempt, bool clean) {
    if (attempt->thread.state && attempt->generation == attempt->vm->generation) {
        script_leave_coroutines(attempt);
        script_thread_put(attempt->vm, attempt->thread, clean);
    }
    attempt->thread.state = NULL;
}

/* ---- one turn ---- */

/* Resumes the attempt's coroutine with the arguments on its stack. */
static enum verdict turn(struct attempt *attempt, int arguments) {
    int status = script_turn(attempt, arguments);
    attempt->call->handler_ns += clock_monotonic_ns() - attempt->slice_ns;
    enum verdict verdict;
    if (attempt->doom != DOOM_NONE)
        verdict = end_doomed(attempt);
    else if (status == LUA_YIELD)
        return attempt->pause == PAUSE_WAIT ? PROC_WAIT : PROC_AGAIN;
    else if (status == LUA_OK)
        verdict = attempt->verdict;
    else if (status == LUA_ERRMEM)
        verdict = replace_vm(attempt);
    else
        verdict = end_with_raised(attempt);
    release_thread(attempt, status == LUA_OK);
    return verdict;
}

/* A fresh attempt of the call, or NULL with the verdict. */
static struct attempt *begin(
    struct call *call, struct txn *txn, struct script_vm *vm, enum verdict *verdict) {
    call->attempt = NULL;
    if (!vm->lua)
        script_vm_replace(vm); /* it could not be made when it was lost */
    struct attempt *attempt = vm->lua ? script_attempt_get(vm) : NULL;
    if (!attempt) {
        *verdict = end_with(call, ST_NOMEM);
        return NULL;
    }
    attempt->call = call;
    attempt->txn = txn;
    attempt->deadline_ns = call->deadline_ns;
    call->attempt = attempt;
    call->outcome = ST_OK;
    if (!script_thread_get(vm, &attempt->thread)) {
        attempt->thread.state = NULL;
        *verdict = replace_vm(attempt);
        return NULL;
    }
    return attempt;
}

static enum verdict start_handler(struct call *call, struct txn *txn, struct script_vm *vm) {
    enum verdict verdict;
    struct attempt *attempt = begin(call, txn, vm, &verdict);
    if (!attempt)
        return verdict;
    lua_pushcfunction(attempt->thread.state, run_handler);
    return turn(attempt, 0);
}

static enum verdict start_lifecycle(
    struct call *call, struct txn *txn, struct script_vm *vm, const int *reference) {
    enum verdict verdict;
    struct attempt *attempt = begin(call, txn, vm, &verdict);
    if (!attempt)
        return verdict;
    if (*reference == LUA_NOREF) {
        release_thread(attempt, true);
        call->reply.status = 200;
        return PROC_COMMIT;
    }
    lua_pushcfunction(attempt->thread.state, run_lifecycle);
    lua_pushinteger(attempt->thread.state, *reference);
    return turn(attempt, 1);
}

/* Without a function nothing is marked: one that a later version of the application brings still
 * has its turn. */
static enum verdict start_first_run(struct call *call, struct txn *txn, struct script_vm *vm) {
    if (vm->app->has_first_run)
        txn_mark_first_run(txn);
    return start_lifecycle(call, txn, vm, &vm->first_run);
}

static enum verdict start_on_start(struct call *call, struct txn *txn, struct script_vm *vm) {
    return start_lifecycle(call, txn, vm, &vm->start);
}

static enum verdict resume(struct call *call, struct txn *txn) {
    struct attempt *attempt = call->attempt;
    assert(attempt && attempt->txn == txn);
    if (attempt->generation == attempt->vm->generation)
        return turn(attempt, 0);
    if (++call->replaced < REPLACEMENTS_MAX)
        return PROC_REPLACED;
    note_plain(attempt, "handler error: its Lua VM ran out of memory twice (--lua-memory-max)");
    return end_with(call, ST_HANDLER);
}

static void forget(struct call *call) {
    struct attempt *attempt = call->attempt;
    call->attempt = NULL;
    if (!attempt)
        return;
    release_thread(attempt, false);
    script_attempt_put(attempt);
}

static void drop(struct call *call) {
    if (call->attempt)
        ((struct attempt *)call->attempt)->log_lost = 0;
    fault_reset(&call->fault);
    forget(call);
}

static void finish(struct call *call, uint64_t version) {
    (void)version;
    struct attempt *attempt = call->attempt;
    if (attempt)
        script_log_write(attempt, call->request.id);
    forget(call);
}

const struct procedure script_handler = {
    .name = "handler", .start = start_handler, .resume = resume, .drop = drop, .finish = finish};

const struct procedure script_first_run = {.name = "first_run",
    .start = start_first_run,
    .resume = resume,
    .drop = drop,
    .finish = finish};

const struct procedure script_on_start = {
    .name = "start", .start = start_on_start, .resume = resume, .drop = drop, .finish = finish};
