/* What cannot be caught: lost attempts, waits where nothing can yield, the budget, memory, abort.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/support/script_fixture.h"

/* Every way we know of to hold on to control after an error: each runs `body` inside. */
static const char *const holders[] = {
    "pcall(body)",
    "while true do pcall(body) end",
    "xpcall(body, function(e) return e end)",
    "xpcall(body, body)",
    "xpcall(body, function() while true do end end)",
    "local co = coroutine.create(body) coroutine.resume(co) coroutine.resume(co)",
    "local co = coroutine.wrap(function() while true do pcall(body) end end) pcall(co) pcall(co)",
    "coroutine.wrap(function() local x <close> = setmetatable({}, {__close = function() while true "
    "do end end}) body() end)()",
    "pcall(function() local x <close> = setmetatable({}, {__close = function() while true do "
    "pcall(body) end end}) body() end)",
    "pcall(setmetatable({}, {__index = function() body() end}).x)",
    "table.sort({3, 2, 1}, function(a, b) pcall(body) return a < b end)",
    "string.gsub('abc', '.', function(c) pcall(body) return c end)",
    "pcall(error, setmetatable({}, {__tostring = body}))",
    "for i = 1, 10 do local ok = pcall(pcall, pcall, body) end",
    "xpcall(function() error(setmetatable({}, {__tostring = body})) end, tostring)",
    "local t = setmetatable({}, {__lt = function() body() return true end, __concat = body, "
    "__len = body}) pcall(function() return t < t end) pcall(function() return t .. 'x' end) "
    "pcall(function() return #t end)",
};
#define HOLDERS (sizeof holders / sizeof holders[0])

/* Loads one route per holder, each with this body. */
static void load_holders(const char *body) {
    struct buf source;
    buf_init(&source, SIZE_MAX);
    for (size_t i = 0; i < HOLDERS; i++)
        buf_printf(&source,
            "route('h%zu', 'json', function()\n  local function body() %s end\n  %s\n"
            "  body()\n  set('reached', true) return 200, 'reached the end'\nend)\n",
            i, body, holders[i]);
    buf_append_byte(&source, '\0');
    const char *error = rig_load(&rig, source.data);
    if (error)
        fail_msg("%s", error);
    buf_free(&source);
}

static const char *run_holder(size_t i) {
    char name[32];
    (void)snprintf(name, sizeof name, "h%zu", i);
    return rig_get(&rig, name);
}

/* A lost attempt unwinds at its next store call, whatever surrounds it, and makes no second one. */
static void lost_attempts_unwind(void **state) {
    (void)state;
    load_holders("get('k')");
    for (size_t i = 0; i < HOLDERS; i++) {
        rig.txn.doomed = true;
        assert_string_equal(run_holder(i), "UNWOUND");
        assert_int_equal(rig.txn.calls, 1);
    }
    rig.txn.doomed = false;
}

/* abort() passes through everything and its reply is sent. */
static void abort_passes_through(void **state) {
    (void)state;
    load_holders("set('k', 1) abort(418, {tea = 'pot'})");
    for (size_t i = 0; i < HOLDERS; i++) {
        assert_string_equal(run_holder(i), "418 {\"tea\":\"pot\"}");
        assert_int_equal(rig.verdict, PROC_ROLLBACK);
        assert_int_equal(rig.store.count, 0);
    }
}

/* The budget ends every loop. */
static void budget_passes_through(void **state) {
    (void)state;
    load_holders("while true do end");
    rig.budget_ns = 30 * NS_PER_MS;
    for (size_t i = 0; i < HOLDERS; i++) {
        const char *answer = run_holder(i);
        /* a metamethod called by a C function cannot be preempted and may end earlier than that */
        if (strcmp(answer, "FAIL handler error") != 0)
            assert_string_equal(answer, "FAIL time budget used up");
        assert_int_equal(rig.verdict, PROC_FAIL);
    }
}

/* Memory errors replace the VM, and the second time the request is given up. */
static void memory_errors_pass_through(void **state) {
    (void)state;
    rig.vm_bytes_max = (size_t)4 << 20;
    load_holders("local t = {} while true do t[#t + 1] = ('x'):rep(100000) .. #t end");
    for (size_t i = 0; i < HOLDERS; i++) {
        const char *answer = run_holder(i);
        if (strcmp(answer, "FAIL handler error") != 0)
            fail_msg("%s: %s", holders[i], answer);
        assert_int_equal(rig.verdict, PROC_FAIL);
        assert_int_equal(rig.replacements, 1);
    }
}

/* A wait in a callback that cannot yield runs the attempt again; it is no error. */
static void waits_in_metamethods_run_again(void **state) {
    (void)state;
    assert_null(rig_load(&rig,
        "route('seed', 'json', function() set('k', 5) return 200 end)\n"
        "route('concat', 'json', function()\n"
        "  local t = setmetatable({}, {__index = function(_, i) return i == 1 and get('k') end,"
        " __len = function() return 1 end})\n"
        "  return 200, {table.concat(t)}\n"
        "end)\n"
        "route('tostring', 'json', function()\n"
        "  return 200, {tostring(setmetatable({}, {__tostring = function() return 'k=' .. get('k') "
        "end}))}\n"
        "end)\n"
        "route('pinned', 'json', function()\n"
        "  local out\n"
        "  tostring(setmetatable({}, {__tostring = function()\n"
        "    local co = coroutine.wrap(function() out = get('k') coroutine.yield('') end)\n"
        "    return co()\n"
        "  end}))\n"
        "  return 200, {out}\n"
        "end)\n"));
    assert_string_equal(rig_get(&rig, "seed"), "200 ");
    rig.remote = true;
    assert_string_equal(rig_get(&rig, "concat"), "200 [\"5\"]");
    assert_int_equal(rig.reruns, 0); /* the table library can */
    assert_string_equal(rig_get(&rig, "tostring"), "200 [\"k=5\"]");
    assert_int_equal(rig.reruns, 1);
    assert_string_equal(rig_get(&rig, "pinned"), "200 [5]");
    assert_int_equal(rig.reruns, 1);
}

/* A wait yields through sort, gsub, metamethods, pcall, iterators and nested coroutines. */
static void waits_yield_through_callbacks(void **state) {
    (void)state;
    assert_null(rig_load(&rig,
        "route('seed', 'json', function() for i = 1, 9 do set('k' .. i, 10 - i) end return 200 "
        "end)\n"
        "route('sort', 'json', function()\n"
        "  local t = {1, 2, 3, 4, 5, 6, 7, 8, 9}\n"
        "  table.sort(t, function(a, b) return get('k' .. a) < get('k' .. b) end)\n"
        "  return 200, t\nend)\n"
        "route('gsub', 'json', function()\n"
        "  return 200, {(('1-2-3'):gsub('%d', function(d) return get('k' .. d) end))}\nend)\n"
        "route('index', 'json', function()\n"
        "  local t = setmetatable({}, {__index = function(_, i) return (get('k' .. i)) end})\n"
        "  return 200, {t[1] + t[2], select(2, pcall(function() return t[3] end))}\nend)\n"
        "route('nested', 'json', function()\n"
        "  local function numbers()\n"
        "    return coroutine.wrap(function() for i = 1, 3 do coroutine.yield(get('k' .. i)) end "
        "end)\n"
        "  end\n"
        "  local outer = coroutine.wrap(function()\n"
        "    for n in numbers() do coroutine.yield(n) end\n"
        "  end)\n"
        "  local out = {}\n"
        "  for n in outer do out[#out + 1] = n end\n"
        "  return 200, out\nend)\n"
        "route('resume', 'json', function()\n"
        "  local co = coroutine.create(function(a) local b = coroutine.yield(a + get('k1'))\n"
        "    return b + get('k2') end)\n"
        "  local _, x = coroutine.resume(co, 100)\n"
        "  local _, y = coroutine.resume(co, 200)\n"
        "  return 200, {x, y, coroutine.status(co), coroutine.isyieldable()}\nend)\n"));
    assert_string_equal(rig_get(&rig, "seed"), "200 ");
    rig.remote = true;
    assert_string_equal(rig_get(&rig, "sort"), "200 [9,8,7,6,5,4,3,2,1]");
    assert_int_equal(rig.waits, 9);
    assert_string_equal(rig_get(&rig, "gsub"), "200 [\"9-8-7\"]");
    assert_int_equal(rig.waits, 3);
    assert_string_equal(rig_get(&rig, "index"), "200 [17,7]");
    assert_int_equal(rig.waits, 3);
    assert_string_equal(rig_get(&rig, "nested"), "200 [9,8,7]");
    assert_int_equal(rig.waits, 3);
    assert_string_equal(rig_get(&rig, "resume"), "200 [109,208,\"dead\",false]");
    assert_int_equal(rig.waits, 2);
    assert_int_equal(rig.reruns, 0);
}

/* Long handlers give the loop its turn, also from inside coroutines of their own. */
static void long_handlers_are_preempted(void **state) {
    (void)state;
    assert_null(rig_load(&rig,
        "local function work() local n = 0 for i = 1, 3000000 do n = n + i % 7 end return n end\n"
        "route('plain', 'json', function() return 200, work() end)\n"
        "route('inner', 'json', function() return 200, coroutine.wrap(work)() end)\n"
        "route('both', 'json', function()\n"
        "  local co = coroutine.wrap(function() coroutine.yield(work()) return work() end)\n"
        "  return 200, {co(), co()}\nend)\n"
        "route('concat', 'json', function()\n"
        "  local s = ('x'):rep(1000000) local n = 0\n"
        "  for i = 1, 1000 do local t = s .. i n = n + #t end return 200, n\nend)\n"));
    assert_string_equal(rig_get(&rig, "plain"), "200 8999997");
    assert_true(rig.turns >= 3);
    assert_string_equal(rig_get(&rig, "inner"), "200 8999997");
    assert_true(rig.turns >= 3);
    assert_string_equal(rig_get(&rig, "both"), "200 [8999997,8999997]");
    assert_true(rig.turns >= 6);
    assert_string_equal(rig_get(&rig, "concat"), "200 1000002893");
    assert_true(rig.turns >= 3);
}

/* A stretch that cannot yield ends as a handler error, not by the budget. */
static void stuck_stretches_fail(void **state) {
    (void)state;
    assert_null(rig_load(&rig,
        "route('stuck', 'json', function()\n"
        "  pcall(tostring, setmetatable({}, {__tostring = function() while true do end end}))\n"
        "  return 200, 'caught'\nend)\n"));
    assert_string_equal(rig_get(&rig, "stuck"), "FAIL handler error");
}

/* A pattern that backtracks without end is stopped; one pass over a large text is not. */
static void patterns_are_bounded(void **state) {
    (void)state;
    assert_null(rig_load(&rig,
        "local blanks = (' '):rep(1000000)\n"
        "route('trim', 'json', function() return 200, {(blanks .. 'x'):match('^(.-)%s*$')} end)\n"
        "route('deep', 'json', function()\n"
        "  return 200, {pcall(string.find, ('a'):rep(1000), ('.-'):rep(20) .. 'b')} end)\n"
        "route('gsub', 'json', function() return 200, {(blanks:gsub('%s*x', ''))} end)\n"
        "route('pass', 'json', function() return 200, #blanks:gsub('%s', 'yy') end)\n"));
    assert_string_equal(rig_get(&rig, "trim"), "FAIL handler error");
    assert_string_equal(rig_get(&rig, "deep"), "FAIL handler error");
    assert_string_equal(rig_get(&rig, "gsub"), "FAIL time budget used up"); /* it can yield */
    assert_string_equal(rig_get(&rig, "pass"), "200 2000000");
}

/* The attempt beside the one that broke the VM runs again in the new one. */
static void suspended_attempts_survive_a_replacement(void **state) {
    (void)state;
    rig.vm_bytes_max = (size_t)4 << 20;
    assert_null(rig_load(&rig,
        "route('wait', 'json', function() return 200, {get('k') or 'none'} end)\n"
        "route('eat', 'json', function() local t = {} while true do t[#t + 1] = {} end end)\n"));
    rig.remote = true;
    struct txn *other = calloc(1, sizeof *other);
    other->store = &rig.store;
    other->remote = true;
    assert_string_equal(rig_get(&rig, "wait"), "200 [\"none\"]"); /* fills in rig.call */
    struct call suspended = rig.call;
    buf_init(&suspended.reply.headers, SIZE_MAX);
    buf_init(&suspended.reply.body, SIZE_MAX);
    suspended.replaced = 0;
    suspended.deadline_ns = clock_monotonic_ns() + 20 * NS_PER_S;
    const struct procedure *handler = lua_script_engine.handler;
    assert_int_equal(handler->start(&suspended, other, rig.vm), PROC_WAIT);
    assert_string_equal(rig_get(&rig, "eat"), "FAIL handler error");
    assert_int_equal(handler->resume(&suspended, other), PROC_REPLACED);
    handler->drop(&suspended);
    enum verdict verdict = handler->start(&suspended, other, rig.vm);
    while (verdict == PROC_WAIT)
        verdict = handler->resume(&suspended, other);
    assert_int_equal(verdict, PROC_COMMIT);
    handler->finish(&suspended, 1);
    fake_txn_reset(other);
    free(other);
    buf_free(&suspended.reply.body);
    buf_free(&suspended.reply.headers);
}

/* A coroutine in which another request waits cannot be resumed by this one. */
static void a_waiting_coroutine_is_not_shared(void **state) {
    (void)state;
    assert_null(rig_load(&rig, "local shared\n"
                               "route('wait', 'json', function()\n"
                               "  shared = coroutine.create(function() return get('k') end)\n"
                               "  return 200, {coroutine.resume(shared)}\nend)\n"
                               "route('steal', 'json', function()\n"
                               "  local ok, why = coroutine.resume(shared)\n"
                               "  return 200, {ok, why, coroutine.status(shared)}\nend)\n"));
    rig.txn.remote = true;
    struct request request = {.method = SLICE("GET"), .path = SLICE("wait")};
    assert_int_equal(lua_script_engine.match(
                         rig.app, request.method, request.path, &request, &rig.scratch, &rig.allow),
        ROUTE_FOUND);
    struct call waiting = {.request = request,
        .procedure = lua_script_engine.handler,
        .deadline_ns = clock_monotonic_ns() + 20 * NS_PER_S};
    struct txn *other = calloc(1, sizeof *other);
    other->store = &rig.store;
    other->remote = true;
    assert_int_equal(waiting.procedure->start(&waiting, other, rig.vm), PROC_WAIT);
    assert_string_equal(
        rig_get(&rig, "steal"), "200 [false,\"cannot resume non-suspended coroutine\",\"normal\"]");
    waiting.procedure->drop(&waiting);
    fake_txn_reset(other);
    free(other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lost_attempts_unwind, setup, teardown),
        cmocka_unit_test_setup_teardown(abort_passes_through, setup, teardown),
        cmocka_unit_test_setup_teardown(budget_passes_through, setup, teardown),
        cmocka_unit_test_setup_teardown(memory_errors_pass_through, setup, teardown),
        cmocka_unit_test_setup_teardown(waits_in_metamethods_run_again, setup, teardown),
        cmocka_unit_test_setup_teardown(waits_yield_through_callbacks, setup, teardown),
        cmocka_unit_test_setup_teardown(long_handlers_are_preempted, setup, teardown),
        cmocka_unit_test_setup_teardown(stuck_stretches_fail, setup, teardown),
        cmocka_unit_test_setup_teardown(patterns_are_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(suspended_attempts_survive_a_replacement, setup, teardown),
        cmocka_unit_test_setup_teardown(a_waiting_coroutine_is_not_shared, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
