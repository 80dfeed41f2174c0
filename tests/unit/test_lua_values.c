/* Values on their way between Lua, the store and JSON. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/support/script_fixture.h"

struct expectation {
    const char *lua;      /* the right side of `local v = ...`, or statements with `return` */
    const char *expected; /* of the reply */
};

/* Serves one route per line, with `head` in front of the source and around the line, and compares.
 */
static void check_all(const char *format, const struct expectation *lines, size_t count) {
    struct buf source;
    buf_init(&source, SIZE_MAX);
    for (size_t i = 0; i < count; i++) {
        buf_printf(&source, "route('r%zu', 'json', function(args, req)\n", i);
        const char *mark = strstr(format, "@");
        buf_append(&source, format, (size_t)(mark - format));
        buf_append_text(&source, lines[i].lua);
        buf_append_text(&source, mark + 1);
        buf_append_text(&source, "\nend)\n");
    }
    buf_append_byte(&source, '\0');
    const char *error = rig_load(&rig, source.data);
    if (error)
        fail_msg("%s", error);
    for (size_t i = 0; i < count; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "r%zu", i);
        const char *answer = rig_get(&rig, name);
        if (strcmp(answer, lines[i].expected) != 0)
            fail_msg("%s\n  gave %s\n  not  %s", lines[i].lua, answer, lines[i].expected);
    }
    buf_free(&source);
}
#define CHECK_ALL(format, lines) check_all(format, lines, sizeof lines / sizeof lines[0])

/* A value that was set and got encodes as it did before. */
static void values_survive_the_store(void **state) {
    (void)state;
    static const struct expectation lines[] = {
        {"1", "200 1"},
        {"1.0", "200 1.0"},
        {"-0.0", "200 -0.0"},
        {"math.maxinteger", "200 9223372036854775807"},
        {"math.mininteger", "200 -9223372036854775808"},
        {"2^53", "200 9007199254740992.0"},
        {"'text'", "200 \"text\""},
        {"'\\0\\n\"'", "200 \"\\u0000\\n\\\"\""},
        {"''", "200 \"\""},
        {"true", "200 true"},
        {"false", "200 false"},
        {"{}", "200 {}"},
        {"json.array{}", "200 []"},
        {"json.object{}", "200 {}"},
        {"{1, 2, 3}", "200 [1,2,3]"},
        {"{b = 1, a = 2, c = {x = json.null}}", "200 {\"a\":2,\"b\":1,\"c\":{\"x\":null}}"},
        {"{{}, json.array{}, {{}}}", "200 [{},[],[{}]]"},
        {"json.decode('[[],{},null,1.5]')", "200 [[],{},null,1.5]"},
        {"{[3] = 'c', [1] = 'a', [2] = 'b'}", "200 [\"a\",\"b\",\"c\"]"},
        {"(function() local t = {} for i = 1, 20 do t[i] = i end return t end)()",
            "200 [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]"},
        {"(function() local t = {} for i = 10, 30 do t['k' .. i] = i end return t end)()",
            "200 {\"k10\":10,\"k11\":11,\"k12\":12,\"k13\":13,\"k14\":14,\"k15\":15,\"k16\":16,"
            "\"k17\":17,\"k18\":18,\"k19\":19,\"k20\":20,\"k21\":21,\"k22\":22,\"k23\":23,"
            "\"k24\":24,\"k25\":25,\"k26\":26,\"k27\":27,\"k28\":28,\"k29\":29,\"k30\":30}"},
        {"(function() local t = json.decode('[1,2]') t[2] = nil t[1] = nil return t end)()",
            "200 []"},
        {"setmetatable({1}, {__index = function() end})", "200 [1]"},
    };
    CHECK_ALL("set('k', @) local v, n = get('k') assert(n == 0) return 200, v", lines);
}

/* A large array keeps its length across the 16-bit header. */
static void large_tables_keep_their_count(void **state) {
    (void)state;
    static const struct expectation lines[] = {
        {"local t = {} for i = 1, 65535 do t[i] = 1 end set('k', t) return 200, #get('k')",
            "FAIL handler error"}, /* 64 KiB is the rig's limit of a value */
        {"local t = {} for i = 1, 60000 do t[i] = 1 end set('k', t) return 200, #get('k')",
            "200 60000"},
        {"local t = {} for i = 1, 70000 do t[i] = 1 end return 200, #json.decode(json.encode(t))",
            "200 70000"},
    };
    CHECK_ALL("@", lines);
}

/* What cannot be stored is an error that names the place. */
static void bad_values_name_the_place(void **state) {
    (void)state;
    static const struct expectation lines[] = {
        {"{items = {1, 2, {price = 0/0}}}",
            "200 \"app.lua:LINE: value.items[3].price: not a number (NaN)\""},
        {"{1/0}", "200 \"app.lua:LINE: value[1]: infinite\""},
        {"print", "200 \"app.lua:LINE: value: a function cannot be encoded\""},
        {"{a = {print}}", "200 \"app.lua:LINE: value.a[1]: a function cannot be encoded\""},
        {"coroutine.create(print)", "200 \"app.lua:LINE: value: a thread cannot be encoded\""},
        {"{1, nil, 3}", "200 \"app.lua:LINE: value: array with holes\""},
        {"{1, 2, x = 3}",
            "200 \"app.lua:LINE: value: table with mixed keys (an array has 1..n, an object has "
            "strings)\""},
        {"{[0] = 1}", "200 \"app.lua:LINE: value: array with an index below 1\""},
        {"{[1.5] = 1}",
            "200 \"app.lua:LINE: value: table with mixed keys (an array has 1..n, an object has "
            "strings)\""},
        {"{[true] = 1}", "200 \"app.lua:LINE: value: table with a key that is neither a string nor "
                         "an integer\""},
        {"{x = '\\xff'}", "200 \"app.lua:LINE: value.x: not valid UTF-8\""},
        {"{['\\xff'] = 1}", "200 \"app.lua:LINE: value.?: not valid UTF-8\""},
        {"json.null", "200 \"app.lua:LINE: set: null cannot be stored (nil deletes)\""},
        {"('x'):rep(65536)",
            "200 \"app.lua:LINE: set: the value of 'k' is larger than 65536 bytes\""},
        {"json.array{x = 1}",
            "200 \"app.lua:LINE: value: table with mixed keys (an array has 1..n, an object has "
            "strings)\""},
        {"json.object{1}",
            "200 \"app.lua:LINE: value: table with mixed keys (an array has 1..n, an object has "
            "strings)\""},
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct expectation line = lines[i];
        char expected[256];
        const char *mark = strstr(line.expected, "LINE");
        (void)snprintf(expected, sizeof expected, "%.*s2%s", (int)(mark - line.expected),
            line.expected, mark + 4);
        line.expected = expected;
        rig_close(&rig);
        check_all("local v = @ local ok, why = pcall(set, 'k', v) assert(not ok) "
                  "ok, why = pcall(function() set('k', v) end) return 200, why",
            &line, 1);
    }
}

/* A cycle and a value nested over 64 levels are refused, 64 levels are not. */
static void depth_is_bounded(void **state) {
    (void)state;
    static const struct expectation lines[] = {
        {"local t = {} t.t = t return 200, {(pcall(set, 'k', t))}", "200 [false]"},
        {"local t = 1 for i = 1, 65 do t = {t} end return 200, {(pcall(set, 'k', t))}",
            "200 [false]"},
        {"local t = 1 for i = 1, 64 do t = {t} end set('k', t) local n, v = 0, get('k') "
         "while type(v) == 'table' do n, v = n + 1, v[1] end return 200, n",
            "200 64"},
    };
    CHECK_ALL("@", lines);
}

/* Store calls check their arguments. */
static void arguments_are_checked(void **state) {
    (void)state;
    static const struct expectation lines[] = {
        {"get()", "200 \"get: key must be a string, got no value\""},
        {"get(5)", "200 \"get: key must be a string, got number\""},
        {"get('')", "200 \"get: key must be a non-empty UTF-8 string of at most 1024 bytes\""},
        {"set(('k'):rep(1025), 1)",
            "200 \"set: key must be a non-empty UTF-8 string of at most 1024 bytes\""},
        {"delete('\\xff')",
            "200 \"delete: key must be a non-empty UTF-8 string of at most 1024 bytes\""},
        {"set('k')", "200 \"set: value expected (nil deletes)\""},
        {"incr('k', 'x')", "200 \"incr: by must be a number, got string\""},
        {"incr('k', 0/0)", "200 \"incr: by must be a finite number\""},
        {"set('k', 'x') incr('k')", "200 \"incr: the value of 'k' is not a number\""},
        {"set('k', math.maxinteger) incr('k')",
            "200 \"incr: the sum for 'k' passes the range of its type\""},
        {"range(1)", "200 \"range: from must be a string or nil, got number\""},
        {"range('a', 'b', {limit = -1})", "200 \"range: limit must be an integer, 0 or more\""},
        {"range('a', 'b', {foo = 1})", "200 \"range: the options are 'limit' and 'reverse'\""},
        {"prefix()", "200 \"prefix: a string expected, got nil\""},
    };
    CHECK_ALL("local ok, why = pcall(function() @ end) assert(not ok) "
              "return 200, (why:gsub('^app.lua:%d+: ', ''))",
        lines);
}

/* set, get, delete and incr do what the contract says. */
static void store_calls_answer(void **state) {
    (void)state;
    static const struct expectation lines[] = {
        {"return 200, {get('k') == nil, delete('k'), incr('n'), incr('n', 5), incr('n', 0.5)}",
            "200 [true,false,1,6,6.5]"},
        {"local n, version = get('n') return 200, {n, version}", "200 [6.5,1]"},
        {"set('x', 1) set('x', nil) return 200, {get('x') == nil, delete('x')}",
            "200 [true,false]"},
        {"return 200, {delete('n'), delete('n'), get('n') == nil}", "200 [true,false,true]"},
        {"local a = {1} set('a', a) a[1] = 2 local b = get('a') b[1] = 3 return 200, get('a')",
            "200 [1]"},
    };
    CHECK_ALL("@", lines);
}

/* Ranges walk in byte order, with limits, backwards, over own writes; a `for` left early ends it.
 */
static void ranges_walk(void **state) {
    (void)state;
    static const struct expectation lines[] = {
        {"for _, k in ipairs{'a', 'b', 'b1', 'b2', 'c'} do set(k, k .. '!') end return 200, {}",
            "200 {}"},
        {"return 200, keys(range('b', 'c'))", "200 [\"b\",\"b1\",\"b2\"]"},
        {"return 200, keys(range('b1'))", "200 [\"b1\",\"b2\",\"c\"]"},
        {"return 200, keys(range(nil, 'b'))", "200 [\"a\"]"},
        {"return 200, keys(range())", "200 [\"a\",\"b\",\"b1\",\"b2\",\"c\"]"},
        {"return 200, keys(range('c', 'a'))", "200 []"},
        {"return 200, keys(prefix('b', {limit = 2}))", "200 [\"b\",\"b1\"]"},
        {"return 200, keys(prefix('b', {limit = 2, reverse = true}))", "200 [\"b2\",\"b1\"]"},
        {"return 200, keys(prefix('b', {limit = 0}))", "200 []"},
        {"set('b0', 1) set('b1', nil) return 200, keys(prefix('b'))", "200 [\"b\",\"b0\",\"b2\"]"},
        {"local out = {} for k, v, n in prefix('c') do out = {k, v, n} end return 200, out",
            "200 [\"c\",\"c!\",1]"},
        {"local it = prefix('c') it() it() return 200, {it() == nil}", "200 [true]"},
    };
    CHECK_ALL("local function keys(...) local out = json.array{} for k in ... do out[#out + 1] = k "
              "end return out end @",
        lines);
    rig_close(&rig);
    assert_null(
        rig_load(&rig, "route('early', 'json', function() for k in range() do break end "
                       "for i = 1, 60 do for k in range() do break end end return 200, {} end)\n"
                       "local kept\n"
                       "route('keep', 'json', function() kept = range() return 200, (kept()) end)\n"
                       "route('use', 'json', function() return 200, (kept()) end)\n"));
    assert_string_equal(rig_get(&rig, "early"), "200 {}");
    assert_string_equal(rig_get(&rig, "keep"), "200 \"a\"");
    assert_string_equal(rig_get(&rig, "use"), "FAIL handler error");
}

/* json.* encodes and decodes strictly. */
static void json_is_strict(void **state) {
    (void)state;
    static const struct expectation lines[] = {
        {"json.encode{a = 1, b = {1, 2.5, json.null}}",
            "200 \"{\\\"a\\\":1,\\\"b\\\":[1,2.5,null]}\""},
        {"json.encode(nil)", "200 \"null\""},
        {"json.decode('{\"a\":[1,2]}').a[2]", "200 2"},
        {"json.decode('null') == json.null", "200 true"},
        {"tostring(json.null)", "200 \"null\""},
        {"(pcall(json.decode, '{\"a\":1,\"a\":2}'))", "200 false"},
        {"(pcall(json.decode, '[1,]'))", "200 false"},
        {"(pcall(json.decode, '[1] x'))", "200 false"},
        {"(pcall(json.decode, ''))", "200 false"},
        {"math.type(json.decode('1')) .. math.type(json.decode('1.0'))", "200 \"integerfloat\""},
        {"getmetatable(json.array{}) == nil", "200 true"},
        {"json.encode(setmetatable(json.array{}, nil))", "200 \"{}\""},
    };
    CHECK_ALL("return 200, @", lines);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(values_survive_the_store, setup, teardown),
        cmocka_unit_test_setup_teardown(large_tables_keep_their_count, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_values_name_the_place, setup, teardown),
        cmocka_unit_test_setup_teardown(depth_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(arguments_are_checked, setup, teardown),
        cmocka_unit_test_setup_teardown(store_calls_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(ranges_walk, setup, teardown),
        cmocka_unit_test_setup_teardown(json_is_strict, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
