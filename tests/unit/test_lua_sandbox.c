/* The world that an application sees: what is there, what is not, and what cannot be changed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/support/script_fixture.h"

/* Runs each text as a handler's body; all must answer "200 true". */
static void all_true(const char *const *bodies, size_t count) {
    struct buf source;
    buf_init(&source, SIZE_MAX);
    for (size_t i = 0; i < count; i++)
        buf_printf(&source, "route('r%zu', 'json', function(args, req) %s end)\n", i, bodies[i]);
    buf_append_byte(&source, '\0');
    const char *error = rig_load(&rig, source.data);
    if (error)
        fail_msg("%s", error);
    for (size_t i = 0; i < count; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "r%zu", i);
        const char *answer = rig_get(&rig, name);
        if (strcmp(answer, "200 true") != 0)
            fail_msg("%s\n  gave %s", bodies[i], answer);
    }
    buf_free(&source);
}
#define ALL_TRUE(bodies) all_true(bodies, sizeof bodies / sizeof bodies[0])

/* Nothing that reaches files, processes, bytecode or the collector is there. */
static void forbidden_things_are_absent(void **state) {
    (void)state;
    static const char *const bodies[] = {
        "return 200, io == nil and debug == nil and package == nil",
        "return 200, dofile == nil and loadfile == nil and collectgarbage == nil and warn == nil",
        "return 200, os.execute == nil and os.getenv == nil and os.exit == nil and os.remove == "
        "nil",
        "return 200, os.rename == nil and os.tmpname == nil and os.setlocale == nil",
        "return 200, string.dump == nil and math.randomseed == nil",
        "return 200, coroutine.close == nil and coroutine.running == nil",
        "return 200, type(os.date()) == 'string' and type(os.time()) == 'number' and "
        "type(os.clock()) "
        "== 'number'",
        "return 200, not pcall(setmetatable, {}, {__gc = function() end})",
        "local f, why = load('\\27Lua') return 200, f == nil and why:find('binary') ~= nil",
    };
    ALL_TRUE(bodies);
}

/* The parts of the standard library that stay work as they do elsewhere. */
static void the_rest_of_the_library_works(void **state) {
    (void)state;
    static const char *const bodies[] = {
        "return 200, ('%5.2f|%s|%q|%d'):format(1.5, 'a', 'b', 7) == ' 1.50|a|\"b\"|7'",
        "return 200, ('%s %s %s'):format(nil, true, 1.0) == 'nil true 1.0'",
        "return 200, ('%%%s'):format(setmetatable({}, {__tostring = function() return 'T' end})) "
        "== "
        "'%T'",
        "return 200, (select('#', table.unpack({1, nil, 3}, 1, 3))) == 3",
        "return 200, table.concat({1, 2, 'x'}, ',') == '1,2,x'",
        "local t = {5, 1, 4} table.sort(t) return 200, table.concat(t) == '145'",
        "local t = {} for i = 1, 3000 do t[i] = (i * 7919) % 3001 end table.sort(t) "
        "for i = 2, #t do if t[i - 1] > t[i] then return 200, i end end return 200, true",
        "local t = {} for i = 1, 100 do t[i] = (i * 37) % 101 end "
        "table.sort(t, function(a, b) return a > b end) "
        "for i = 2, #t do if t[i - 1] < t[i] then return 200, i end end return 200, true",
        "table.sort({3, 1, 2, 9, 7}, function() return true end) return 200, true",
        "return 200, not pcall(table.sort, {1, 'x'}) and not pcall(table.sort, {}, 5)",
        "return 200, utf8.len('h\\u{e4}') == 2 and math.floor(2.5) == 2",
        "return 200, load('return 1 + 1')() == 2",
        "return 200, load('return x', 'n', 't', {x = 5})() == 5",
        "local parts = {'return', ' 7'} local i = 0 "
        "return 200, load(function() i = i + 1 return parts[i] end)() == 7",
        "local f, why = load('return +') return 200, f == nil and type(why) == 'string'",
        "return 200, select('#', pcall(error)) == 2 and (select(2, pcall(error, {code = 7}))).code "
        "== 7",
        "local ok, trace = xpcall(function() error('x', 0) end, function(e) return e .. '!' end) "
        "return 200, not ok and trace == 'x!'",
        "return 200, select(2, xpcall(function(...) return select('#', ...) end, print, 1, 2, 3)) "
        "== 3",
        "local x do local c <close> = setmetatable({}, {__close = function() x = 1 end}) end "
        "return 200, x == 1",
        "return 200, tostring(12) == '12' and tonumber('0x10') == 16 and rawlen({1}) == 1",
        "local co = coroutine.wrap(function(a) local b = coroutine.yield(a + 1) error('e' .. b) "
        "end) "
        "local first = co(1) local ok, why = pcall(co, 5) "
        "return 200, first == 2 and not ok and why:find('e5') ~= nil",
        "local ok, why = pcall(coroutine.yield, 1) "
        "return 200, not ok and why == 'attempt to yield from outside a coroutine'",
        "local co = coroutine.create(function() end) coroutine.resume(co) "
        "local ok, why = coroutine.resume(co) return 200, why == 'cannot resume dead coroutine'",
    };
    ALL_TRUE(bodies);
}

/* gsub with a function gives what the library's own gives. */
static void gsub_is_the_librarys(void **state) {
    (void)state;
    static const char *const bodies[] = {
        "return 200, ('hello world'):gsub('o', function() return '0' end) == 'hell0 w0rld'",
        "local s, n = ('abc'):gsub('', function() return '-' end) return 200, s == '-a-b-c-' and n "
        "== 4",
        "local s, n = ('abc'):gsub('%w*', function(w) return '<' .. w .. '>' end) "
        "return 200, s == '<abc>' and n == 1",
        "local s, n = ('a,b,,c'):gsub('[^,]*', function(w) return '[' .. w .. ']' end) "
        "return 200, s == '[a],[b],[],[c]' and n == 4",
        "local s = ('k=v; x=y'):gsub('(%w)=(%w)', function(a, b) return b .. '=' .. a end) "
        "return 200, s == 'v=k; y=x'",
        "local s, n = ('aaa'):gsub('a', function() return 'b' end, 2) return 200, s == 'bba' and n "
        "== 2",
        "local s, n = ('aaa'):gsub('^a', function() return 'b' end) return 200, s == 'baa' and n "
        "== 1",
        "local s = ('abc'):gsub('b', function() return nil end) return 200, s == 'abc'",
        "local s = ('abc'):gsub('b', function() return false end) return 200, s == 'abc'",
        "local s = ('abc'):gsub('()b', function(at) return at end) return 200, s == 'a2c'",
        "return 200, not pcall(string.gsub, 'abc', 'b', function() return {} end)",
        "local s = ('THE (quick) fox'):gsub('%f[%a]%a+', function(w) return #w end) "
        "return 200, s == '3 (5) 3'",
        "return 200, ('abc'):gsub('%w', '%0%0') == 'aabbcc' and ('x'):gsub('x', {x = 'y'}) == 'y'",
    };
    ALL_TRUE(bodies);
}

#define RAISES(code, text)                                                                         \
    "local _, why = pcall(function() local x = " code " end) "                                     \
    "return 200, why:gsub('^app.lua:%d+', 'app.lua:1') == [==[" text "]==] or why"

/* Functions that are ours tell what is wrong as the library's do, with the place of their call. */
static void errors_name_the_callers_place(void **state) {
    (void)state;
    static const char *const bodies[] = {
        RAISES("('x'):gsub('[a', 'y')", "app.lua:1: malformed pattern (missing ']')"),
        RAISES("('x'):gsub('[a', print)", "app.lua:1: malformed pattern (missing ']')"),
        RAISES("('x'):gsub('x', '%a')", "app.lua:1: invalid use of '%' in replacement string"),
        RAISES("('x'):gsub('x', function() return {} end)",
            "app.lua:1: invalid replacement value (a table)"),
        RAISES("('x'):gsub('x')", "app.lua:1: bad argument #2 to 'gsub' "
                                  "(string/function/table expected, got no value)"),
        RAISES("string.gsub('x', 'x', print, {})",
            "app.lua:1: bad argument #4 to 'gsub' (number expected, got table)"),
        RAISES("utf8.len('x', 3)",
            "app.lua:1: bad argument #2 to 'len' (initial position out of bounds)"),
        RAISES("utf8.len(('x'):rep(300000), 1, 300001)",
            "app.lua:1: bad argument #3 to 'len' (final position out of bounds)"),
        RAISES("utf8.len(('x'):rep(300000), {})",
            "app.lua:1: bad argument #2 to 'len' (number expected, got table)"),
        RAISES("table.sort(setmetatable({}, {__len = function() return 1.5 end}))",
            "app.lua:1: object length is not an integer"),
        RAISES("table.sort({1, {}})", "attempt to compare table with number"),
        "local _, why = xpcall(table.sort, function(e) return e end, {1, {}}) "
        "return 200, why == 'attempt to compare table with number' or why",
        RAISES("error('concave: 12: no place')", "app.lua:1: concave: 12: no place"),
    };
    ALL_TRUE(bodies);
}

/* Numbers are taken as the library takes them: "2" and 2.0 are integers, 1.5 is none. */
static void numbers_are_converted_as_in_the_library(void **state) {
    (void)state;
    static const char *const bodies[] = {
        "return 200, (('a1'):gsub(1, function() return 'b' end)) == 'ab'",
        "return 200, string.gsub(11, '1', function() return 'b' end) == 'bb'",
        "return 200, (('aaa'):gsub('a', function() return 'b' end, '2')) == 'bba'",
        "return 200, not pcall(string.gsub, 'aaa', 'a', function() return 'b' end, 1.5)",
        "local t = setmetatable({1, 2, 3}, {}) return 200, table.remove(t, '2') == 2 and #t == 2",
        "local t = setmetatable({1, 2, 3}, {}) table.insert(t, '2', 9) return 200, t[2] == 9",
        "local t = setmetatable({1, 2}, {}) table.move(t, '1', 2.0, '3') return 200, t[4] == 2",
        "local t = setmetatable({1, 2, 3}, {}) return 200, table.concat(t, ',', '2', 3.0) == '2,3'",
        "local t = setmetatable({1, 2, 3}, {}) return 200, select('#', table.unpack(t, '2')) == 2",
        "return 200, not pcall(table.unpack, setmetatable({1}, {}), 1.5)",
        "return 200, utf8.len(('x'):rep(300000), '2', -1.0) == 299999",
        "return 200, utf8.len(('x'):rep(300000), -2, -1) == 2",
        "return 200, not pcall(utf8.len, ('x'):rep(300000), -300001)",
    };
    ALL_TRUE(bodies);
}

/* load takes text if its mode says so. */
static void load_looks_at_its_mode(void **state) {
    (void)state;
    static const char *const bodies[] = {
        "return 200, load('return 1', 'c', 't')() == 1 and load('return 1', 'c', 'bt')() == 1",
        "local f, why = load('return 1', 'c', 'b') "
        "return 200, f == nil and why == \"attempt to load a text chunk (mode is 'b')\"",
        "local f, why = load('\\27Lua', 'c', 'bt') return 200, f == nil and type(why) == 'string'",
        "local f, why = load('\\27Lua', 'c', 'b') return 200, f == nil and type(why) == 'string'",
    };
    ALL_TRUE(bodies);
}

/* No text shows an address. */
static void no_addresses(void **state) {
    (void)state;
    static const char *const bodies[] = {
        "return 200, tostring({}) == 'table' and tostring(print) == 'function'",
        "return 200, tostring(coroutine.create(print)) == 'thread'",
        "return 200, ('%s'):format({}) == 'table'",
        "return 200, not pcall(string.format, '%p', {})",
        "return 200, not pcall(string.format, '%-10p', {})",
        "local ok, why = pcall(error, {}) return 200, tostring(why) == 'table'",
    };
    ALL_TRUE(bodies);
}

/* Handlers change neither globals nor libraries nor the metatable of strings. */
static void shared_tables_are_read_only(void **state) {
    (void)state;
    static const char *const bodies[] = {
        "local ok, why = pcall(function() leaked = 1 end) "
        "return 200, not ok and why:find(\"cannot set 'leaked'\", 1, true) ~= nil",
        "return 200, not pcall(function() print = nil end)",
        "return 200, not pcall(function() _G.x = 1 end) and not pcall(function() _ENV.x = 1 end)",
        "return 200, not pcall(rawset, _G, 'x', 1) and not pcall(rawset, string, 'x', 1)",
        "return 200, not pcall(setmetatable, _G, {}) and not pcall(setmetatable, string, nil)",
        "return 200, not pcall(function() string.rep = nil end)",
        "return 200, not pcall(function() json.null = 1 end)",
        "return 200, not pcall(table.insert, table, 1)",
        "return 200, not pcall(function() getmetatable('').__index = {} end)",
        "return 200, not pcall(function() getmetatable('').__index.upper = 1 end)",
        "return 200, getmetatable('').__index.upper('a') == 'A'",
        "return 200, not pcall(load('leaked = 1'))",
        "return 200, undefined_global == nil",
        "local n = 0 for k, v in pairs(string) do n = n + 1 end return 200, n > 10",
        "local _, hidden = pairs(string) return 200, hidden == nil",
        "local n = 0 for k, v in pairs(_G) do if k == 'get' then n = n + 1 end end return 200, n "
        "== 1",
        "return 200, ('x'):rep(3) == 'xxx' and rawequal(_G, _G._G)",
    };
    ALL_TRUE(bodies);
}

/* C functions that cannot be interrupted refuse huge work. */
static void huge_work_is_refused(void **state) {
    (void)state;
    static const char *const bodies[] = {
        "return 200, not pcall(string.rep, 'x', 1 << 40) and not pcall(string.rep, 'xx', 1 << 62)",
        "return 200, string.rep('', 1 << 60) == ''",
        "return 200, not pcall(table.move, {}, 1, 1 << 60, 2)",
        "return 200, not pcall(table.concat, {}, '', 1, 1 << 60)",
        "return 200, not pcall(table.unpack, {}, 1, 1 << 30)",
        "return 200, not pcall(table.insert, setmetatable({}, {__len = function() return 1 << 40 "
        "end}), "
        "1, 1)",
        "return 200, not pcall(load, ('x'):rep(1 << 20))",
    };
    ALL_TRUE(bodies);
}

/* random and uuid draw the same in every attempt of a request, and other numbers in another one. */
static void random_numbers_follow_the_seed(void **state) {
    (void)state;
    assert_null(
        rig_load(&rig, "route('draw', 'json', function()\n"
                       "  return 200, {random(1000000), math.random(1000000), uuid(), now()}\n"
                       "end)\n"));
    char first[256];
    (void)snprintf(first, sizeof first, "%s", rig_get(&rig, "draw"));
    assert_non_null(strstr(first, ",1700000000.0]"));
    assert_string_equal(rig_get(&rig, "draw"), first);
    rig.call.seed = 43;
    assert_string_not_equal(rig_get(&rig, "draw"), first);
    rig_close(&rig);
    static const char *const bodies[] = {
        "for i = 1, 1000 do local r = random(3) if r < 1 or r > 3 then return 200, r end end "
        "return 200, true",
        "for i = 1, 1000 do local r = random() if r < 0 or r >= 1 then return 200, r end end "
        "return 200, true",
        "return 200, random(5, 5) == 5 and not pcall(random, 2, 1) and not pcall(random, 0.5)",
        "return 200, math.type(random(math.mininteger, math.maxinteger)) == 'integer'",
        "return 200, uuid():match('^%x+%-%x%x%x%x%-4%x%x%x%-[89ab]%x%x%x%-%x+$') ~= nil and "
        "#uuid() "
        "== 36",
        "return 200, escape_html('<a href=\"x\">&\\'') == '&lt;a href=&quot;x&quot;&gt;&amp;&#39;'",
        "return 200, urlencode('a b/\\u{e4}') == 'a%20b%2F%C3%A4' and urlencode('') == ''",
    };
    ALL_TRUE(bodies);
}

/* A file's errors name its line; require finds files of the folder only, once. */
static void loading(void **state) {
    (void)state;
    static const struct {
        const char *source, *error;
    } broken[] = {
        {"local x =\n\nroute(", "app.lua:3: unexpected symbol near <eof>"},
        {"\nerror('no')", "app.lua:2: no"},
        {"\nerror('no', 0)", "app.lua:2: no"},
        {"assert(false)", "app.lua:1: assertion failed!"},
        {"\nerror({})", "app.lua:2: error object is a table"},
        {"error()", "app.lua:1: nil"},
        {"\n\ncoroutine.yield()", "app.lua:3: attempt to yield from outside a coroutine"},
        {"table.sort({1, {}})", "app.lua:1: attempt to compare table with number"},
        {"route('a', 'json', print)\nroute('a', 'json', print)",
            "app.lua:2: route 'a' for this method is there already: 'a' at app.lua:1"},
        {"route('a/:x', 'json', {method = 'GET'}, print)\n"
         "route('a/:y', 'json', {method = {'post', 'GET'}}, print)",
            "app.lua:2: route 'a/:y' for this method is there already: 'a/:x' at app.lua:1"},
        {"route('/a', 'json', print)",
            "app.lua:1: route '/a': a name neither begins nor ends with '/' and has no empty part"},
        {"#!/usr/bin/env concave\nerror('two')", "app.lua:2: two"},
        {"\xEF\xBB\xBF"
         "error('one')",
            "app.lua:1: one"},
        {"\xEF\xBB\xBF#\r\n\nerror('three')", "app.lua:3: three"},
        {"\n#", "app.lua:2: unexpected symbol near '#'"},
        {"\xEF\xBB", "app.lua:1: unexpected symbol near '<\\239>'"},
        {"route('', 'json', print)", "app.lua:1: route '': a name is not empty"},
        {"route('a', 'json', {method = {'GET', 'POST', 'get'}}, print)",
            "app.lua:1: route 'a': a method is there twice"},
        {"pcall(route, 'a', 'json', print)\nroute('a', 'json', print)",
            "app.lua:2: route 'a' for this method is there already: 'a' at app.lua:1"},
        {"route('a', 'xml', print)",
            "app.lua:1: bad argument #2 to 'route' ('xml' is none of json, html, text)"},
        {"route('a', 'json', {methods = 'GET'}, print)",
            "app.lua:1: route: the only option is 'method', not methods"},
        {"route('a', 'json', {'GET'}, print)",
            "app.lua:1: route: the only option is 'method', not a list"},
        {"log('loud', 'x')",
            "app.lua:1: bad argument #1 to 'log' ('loud' is none of debug, info, warn, error)"},
        {"route('a', 'json', 5)",
            "app.lua:1: bad argument #3 to 'route' (function expected, got number)"},
        {"get('x')", "app.lua:1: get works only while a request is handled"},
        {"require('../etc')", NULL},
        {"require('missing')", "app.lua:1: missing.lua: not found"},
        {"string.trim = 1", "app.lua:1: cannot set 'trim': library tables are read-only"},
        {"local t = {} while true do t[#t + 1] = t end", NULL},
        {"on('stop', print)",
            "app.lua:1: bad argument #1 to 'on' ('stop' is none of first_run, start)"},
        {"on('start', print)\non('start', print)",
            "app.lua:2: on: there is a function for 'start' already"},
    };
    rig.vm_bytes_max = (size_t)2 << 20;
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        const char *error = rig_load(&rig, broken[i].source);
        assert_non_null(error);
        if (broken[i].error)
            assert_string_equal(error, broken[i].error);
    }
    int made = mkdir(strcat(strcpy((char[128]){0}, rig.folder), "/lib"), 0700);
    assert_int_equal(made, 0);
    rig_write_file(&rig, "lib/money.lua",
        "loads = (loads or 0) + 1\nreturn {twice = function(n) return "
        "2 * n end}");
    assert_null(rig_load(&rig, "local money, again = require('lib.money'), require 'lib.money'\n"
                               "assert(money == again and loads == 1)\n"
                               "route('twice', 'json', function(args) return 200, "
                               "require('lib.money').twice(21) end)\n"
                               "route('late', 'json', function() require('other') end)\n"));
    assert_string_equal(rig_get(&rig, "twice"), "200 42");
    assert_string_equal(rig_get(&rig, "late"), "FAIL handler error");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(forbidden_things_are_absent, setup, teardown),
        cmocka_unit_test_setup_teardown(the_rest_of_the_library_works, setup, teardown),
        cmocka_unit_test_setup_teardown(gsub_is_the_librarys, setup, teardown),
        cmocka_unit_test_setup_teardown(errors_name_the_callers_place, setup, teardown),
        cmocka_unit_test_setup_teardown(numbers_are_converted_as_in_the_library, setup, teardown),
        cmocka_unit_test_setup_teardown(load_looks_at_its_mode, setup, teardown),
        cmocka_unit_test_setup_teardown(no_addresses, setup, teardown),
        cmocka_unit_test_setup_teardown(shared_tables_are_read_only, setup, teardown),
        cmocka_unit_test_setup_teardown(huge_work_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(random_numbers_follow_the_seed, setup, teardown),
        cmocka_unit_test_setup_teardown(loading, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
