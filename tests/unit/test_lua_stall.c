/* A machine that stands still at the wrong moment is not the script's fault: its clock is the
 * test's here, and jumps at each of its readings in turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/support/script_fixture.h"

#define READING_NS UINT64_C(500)
#define STALL_NS (20 * NS_PER_MS)

static uint64_t now_ns = NS_PER_S;
static uint64_t readings, stall_at; /* the how-manieth reading comes late; 0: none */

uint64_t clock_monotonic_ns(void) {
    now_ns += ++readings == stall_at ? STALL_NS : READING_NS;
    return now_ns;
}

uint64_t clock_wall_ns(void) {
    return UINT64_C(1700000000) * NS_PER_S;
}

/* Runs the route once for each reading of the clock, which comes late. */
static void survives_each_stall(const char *route, const char *expected) {
    stall_at = readings = 0;
    assert_string_equal(rig_get(&rig, route), expected);
    uint64_t count = readings;
    assert_true(count > 1);
    for (uint64_t i = 1; i <= count; i++) {
        stall_at = i;
        readings = 0;
        assert_string_equal(rig_get(&rig, route), expected);
    }
}

/* Renders rest between any two tags, so a long one is no stretch that cannot be interrupted. */
static void renders_are_not_blamed(void **state) {
    (void)state;
    rig_write_file(&rig, "long.mustache", "{{#x}}{{#x}}{{#x}}{{#x}}{{/x}}{{/x}}{{/x}}{{/x}}");
    const char *error = rig_load(&rig,
        "local x = {} for i = 1, 11 do x[i] = i end\n"
        "route('plain', 'text', function() return 200, render('long', { x = x }) end)\n"
        "route('sort', 'text', function()\n"
        "  table.sort({ 2, 1 }, function(a, b) render('long', { x = x }) return a < b end)\n"
        "  return 200, '' end)\n");
    if (error)
        fail_msg("%s", error);
    survives_each_stall("plain", "200 ");
    survives_each_stall("sort", "200 ");
}

/* Nor are a search that goes on from place to place, a document that is read, a chunk that is
 * compiled, or a short function where nothing can be interrupted. */
static void other_work_is_not_blamed(void **state) {
    (void)state;
    const char *error = rig_load(&rig,
        "local text = ('ab '):rep(200000)\n"
        "local list = {} for i = 1, 10000 do list[i] = i end\n"
        "local document = json.encode(list)\n"
        "local chunk = 'local x = 0 ' .. ('x = x + 1 '):rep(1500) .. 'return x'\n"
        "route('gsub', 'text', function() return 200, #text:gsub('%s', 'yy') end)\n"
        "route('find', 'text', function() return 200, text:find('%d') end)\n"
        "route('sort', 'text', function()\n"
        "  local t = {} for i = 1, 500 do t[i] = -i end table.sort(t) return 200, t[1] end)\n"
        "route('decode', 'text', function() return 200, #json.decode(document) end)\n"
        "route('encode', 'text', function() return 200, #json.encode(list) end)\n"
        "route('load', 'text', function() return 200, load(chunk)() end)\n"
        "route('meta', 'text', function()\n"
        "  return 200, tostring(setmetatable({}, { __tostring = function()\n"
        "    local n = 0 for i = 1, 20000 do n = n + i end return 'n' .. n end })) end)\n");
    if (error)
        fail_msg("%s", error);
    survives_each_stall("gsub", "200 800000");
    survives_each_stall("find", "200 ");
    survives_each_stall("sort", "200 -500");
    survives_each_stall("decode", "200 10000");
    survives_each_stall("encode", "200 48895");
    survives_each_stall("load", "200 1500");
    survives_each_stall("meta", "200 n200010000");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(renders_are_not_blamed, setup, teardown),
        cmocka_unit_test_setup_teardown(other_work_is_not_blamed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
