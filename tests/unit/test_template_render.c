/* render() in an application: what Lua values mean in a template, what is refused, what is bounded,
 * and which files are templates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "lua/template_render.h"
#include "tests/support/script_fixture.h"

struct expectation {
    const char *lua; /* statements */
    const char *expected;
};

/* Each line is the body of a route's function. */
static void check_all(const struct expectation *lines, size_t count) {
    struct buf source;
    buf_init(&source, SIZE_MAX);
    for (size_t i = 0; i < count; i++)
        buf_printf(
            &source, "route('r%zu', 'text', function(args, req) %s\nend)\n", i, lines[i].lua);
    buf_append_byte(&source, '\0');
    const char *error = rig_load(&rig, source.data);
    if (error)
        fail_msg("%s", error);
    for (size_t i = 0; i < count; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "r%zu?q=1", i);
        const char *answer = rig_get(&rig, name);
        if (strcmp(answer, lines[i].expected) != 0)
            fail_msg("%s\n  gave %s\n  not  %s", lines[i].lua, answer, lines[i].expected);
    }
    buf_free(&source);
}
#define CHECK(lines) check_all(lines, sizeof lines / sizeof lines[0])

static void lua_values_mean_what_the_manual_says(void **state) {
    (void)state;
    rig_write_file(&rig, "s.mustache", "{{#x}}[{{.}}]{{/x}}{{^x}}none{{/x}}");
    rig_write_file(&rig, "m.mustache", "{{#x}}[{{n}}]{{/x}}{{^x}}none{{/x}}");
    rig_write_file(&rig, "r.mustache", "{{method}} {{path}} {{query.q}} {{#query}}{{q}}{{/query}}");
    static const struct expectation lines[] = {
        {"return 200, render('s')", "200 none"},
        {"return 200, render('s', nil)", "200 none"},
        {"return 200, render('s', 7)", "200 none"},
        {"return 200, render('s', {})", "200 none"},
        {"return 200, render('s', { x = {} })", "200 none"},
        {"return 200, render('m', { x = json.object() })", "200 []"},
        {"return 200, render('s', { x = json.array() })", "200 none"},
        {"return 200, render('s', { x = json.null })", "200 none"},
        {"return 200, render('s', { x = false })", "200 none"},
        {"return 200, render('s', { x = 0 })", "200 [0]"},
        {"return 200, render('s', { x = { 1, 2.5, 'a' } })", "200 [1][2.5][a]"},
        {"return 200, render('s', { x = 10 / 2 })", "200 [5.0]"},
        {"return 200, render('s', { x = 0.1 + 0.2 })", "200 [0.3]"},
        {"return 200, render('s', { x = math.huge })", "200 [inf]"},
        {"return 200, render('m', { x = { n = 1 } })", "200 [1]"},
        {"return 200, render('m', { x = { { n = 1 }, 5, { n = 2 } }, n = 'up' })",
            "200 [1][up][2]"},
        {"return 200, render('m', { x = setmetatable({ n = 1 }, {}) })", "200 [1]"},
        {"return 200, render('s', { x = args.q })", "200 [1]"},
        {"return 200, render('r', req)", "200 GET r0 1 1"},
        {"return 200, render('m', { x = req, n = 1 })", "200 [1]"},
        {"local list = {} for i = 1, 3 do list[i] = { n = i } end\n"
         "return 200, render('m', { x = list })",
            "200 [1][2][3]"},
        {"local function bad() error('called') end\n"
         "local meta = { __index = bad, __len = bad, __pairs = bad, __tostring = bad, __name = 'x' "
         "}\n"
         "return 200, render('m', setmetatable({ x = setmetatable({ n = 1 }, meta) }, meta))",
            "200 [1]"},
    };
    struct expectation copy[sizeof lines / sizeof lines[0]];
    memcpy(copy, lines, sizeof lines);
    char path[32];
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        if (strstr(copy[i].lua, "render('r'")) {
            (void)snprintf(path, sizeof path, "200 GET r%zu 1 1", i);
            copy[i].expected = path;
        }
    CHECK(copy);
}

static void mistakes_are_errors_with_their_place(void **state) {
    (void)state;
    rig_write_file(&rig, "v.mustache", "a\n  {{x.y}}");
    rig_write_file(&rig, "s.mustache", "\n{{#x}}{{/x}}");
    rig_write_file(&rig, "dot.mustache", "{{.}}");
    rig_write_file(&rig, "bad.mustache", "a\n{{#x}}");
    rig_write_file(&rig, "uses.mustache", "{{>bad}}");
    rig_write_file(&rig, "self.mustache", "x{{>self}}");
    static const struct expectation lines[] = {
        {"local ok, why = pcall(render, 'v', { x = { y = {} } }) return 200, why",
            "200 v.mustache:2:3: 'x.y' is a table, which cannot be shown"},
        {"local ok, why = pcall(render, 'v', { x = { y = print } }) return 200, why",
            "200 v.mustache:2:3: 'x.y' is a function, which cannot be shown"},
        {"local ok, why = pcall(render, 's', { x = print }) return 200, why",
            "200 s.mustache:2:1: 'x' is a function, which a section cannot use"},
        {"local ok, why = pcall(render, 'dot', {}) return 200, why",
            "200 dot.mustache:1:1: '.' is a table, which cannot be shown"},
        {"local ok, why = pcall(render, 'bad') return 200, why",
            "200 bad.mustache:2:1: section 'x' is not closed"},
        {"local ok, why = pcall(render, 'uses') return 200, why",
            "200 bad.mustache:2:1: section 'x' is not closed"},
        {"local ok, why = pcall(function() render('bad') end) return 200, why",
            "200 app.lua:13: bad.mustache:2:1: section 'x' is not closed"},
        {"local ok, why = pcall(render, 'none') return 200, why",
            "200 render: no template 'none': there was no none.mustache in the resources folder "
            "when "
            "the application was loaded"},
        {"local ok, why = pcall(render, '../v') return 200, why",
            "200 render: bad name '../v': it has parts between '/', none of them '..' or empty"},
        {"local ok, why = pcall(render, '/v') return 200, (why:gsub(':.*', ''))", "200 render"},
        {"local ok, why = pcall(render, 'v\\0') return 200, (why:gsub(':.*', ''))", "200 render"},
        {"local ok, why = pcall(render) return 200, why",
            "200 bad argument #1 to '?' (string expected, got no value)"},
        {"local ok, why = pcall(render, 'self') return 200, why",
            "200 self.mustache:1:2: more than 200 sections and partials inside each other"},
        {"for i = 1, 3 do pcall(render, 'self') end return 200, render('dot', 'still works')",
            "200 still works"},
    };
    CHECK(lines);
}

static void outputs_are_bounded(void **state) {
    (void)state;
    rig_write_file(&rig, "l.mustache", "{{#x}}{{s}}{{/x}}");
    rig_write_file(&rig, "r.mustache", "{{#x}}{{{s}}}{{/x}}");
    rig_write_file(&rig, "i.mustache", "{{#x}}\n                {{>i}}\n{{/x}}\n");
    static const struct expectation lines[] = {
        {"local x, s = {}, ('x'):rep(1 << 20) for i = 1, 8 do x[i] = true end\n"
         "return 200, #render('r', { x = x, s = s }) .. ' ' .. #render('l', { x = x, s = s })",
            "200 8388608 8388608"},
        {"local x, s = {}, ('x'):rep(1 << 20) for i = 1, 8 do x[i] = true end x[9] = true\n"
         "return 200, select(2, pcall(render, 'r', { x = x, s = s }))",
            "200 render: the text is larger than 8388608 bytes"},
        {"return 200, select(2, pcall(render, 'l', { x = true, s = ('<'):rep(3 << 20) }))",
            "200 render: the text is larger than 8388608 bytes"},
        {"return 200, select(2, pcall(render, 'l', { x = true, s = ('x'):rep(9 << 20) }))",
            "200 render: the text is larger than 8388608 bytes"},
        {"return 200, #render('l', { x = true, s = ('<'):rep(2 << 20) })", "200 8388608"},
        {"return 200, select(2, pcall(render, 'i', { x = true }))",
            "200 i.mustache:2:17: partials indented by more than 1024 bytes"},
    };
    CHECK(lines);
}

/* An empty text may come first, when there is no room for anything yet. */
static void nothing_may_come_first(void **state) {
    (void)state;
    rig_write_file(&rig, "raw.mustache", "{{{x}}}{{x}}");
    rig_write_file(&rig, "value.mustache", "{{x}}{{{x}}}.");
    static const struct expectation lines[] = {
        {"return 200, render('raw', { x = '' })", "200 "},
        {"return 200, render('value', { x = '' })", "200 ."},
    };
    CHECK(lines);
}

/* A render without an end uses up the budget, wherever it stands, and nothing catches that. */
static void endless_renders_are_stopped(void **state) {
    (void)state;
    rig_write_file(&rig, "twice.mustache", "{{>twice}}{{>twice}}");
    rig_write_file(&rig, "long.mustache", "{{#x}}{{#x}}{{#x}}{{#x}}{{/x}}{{/x}}{{/x}}{{/x}}");
    const char *error = rig_load(&rig,
        "local x = {} for i = 1, 1000 do x[i] = i end\n"
        "route('plain', 'text', function() return 200, render('long', { x = x }) end)\n"
        "route('caught', 'text', function() pcall(render, 'long', { x = x }) return 200, '' end)\n"
        "route('inside', 'text', function()\n"
        "  return 200, coroutine.wrap(function() return render('long', { x = x }) end)() end)\n"
        "route('sort', 'text', function()\n"
        "  table.sort({ 1, 2, 3 }, function(a, b) render('long', { x = x }) return a < b end)\n"
        "  return 200, '' end)\n"
        "route('meta', 'text', function()\n"
        "  local t = setmetatable({}, { __index = function() return render('long', { x = x }) end "
        "})\n"
        "  return 200, #string.format('%s', t.x) end)\n"
        "route('stuck', 'text', function()\n"
        "  local t = setmetatable({}, { __lt = function() return render('long', { x = x }) end,\n"
        "    __tostring = function() return render('long', { x = x }) end })\n"
        "  return 200, tostring(t) end)\n"
        "route('small', 'text', function() return 200, render('long', { x = { 1, 2 } }) end)\n");
    if (error)
        fail_msg("%s", error);
    static const char *const routes[] = {"plain", "caught", "inside", "sort", "meta"};
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        rig.budget_ns = 50 * NS_PER_MS;
        do { /* a machine that stands still may take all of a small budget before the first turn */
            rig.budget_ns *= 2;
            assert_string_equal(rig_get(&rig, routes[i]), "FAIL time budget used up");
        } while (rig.turns == 0 && rig.budget_ns < 4 * NS_PER_S);
        assert_true(rig.turns > 0);
    }
    rig.budget_ns = 20 * NS_PER_S;
    assert_string_equal(rig_get(&rig, "stuck"), "FAIL handler error");
    assert_string_equal(rig_get(&rig, "small"), "200 ");
}

/* Two renders at once in one VM: the second has a state of its own. */
static void renders_pause_and_go_on(void **state) {
    (void)state;
    rig_write_file(&rig, "l.mustache", "{{#x}}\n{{#y}}\n  {{>p}}\n{{/y}}\n{{/x}}\n");
    rig_write_file(&rig, "p.mustache", "<{{.}}>\n");
    const char *error = rig_load(&rig,
        "local x = {} for i = 1, 1000 do x[i] = { y = { 'a', 'b', i } } end\n"
        "local want = {} for i = 1, 1000 do want[i] = '  <a>\\n  <b>\\n  <' .. i .. '>\\n' end\n"
        "want = table.concat(want)\n"
        "local function check() return render('l', { x = x }) == want end\n"
        "route('t', 'text', function()\n"
        "  for i = 1, 30 do if not check() then return 200, 'differs' end end\n"
        "  local inner = coroutine.wrap(function() for i = 1, 30 do coroutine.yield(check()) end "
        "end)\n"
        "  for i = 1, 30 do if not inner() then return 200, 'differs inside' end end\n"
        "  return 200, 'same' end)\n");
    if (error)
        fail_msg("%s", error);
    assert_string_equal(rig_get(&rig, "t"), "200 same");
    assert_true(rig.turns > 2);
}

static void memory_is_the_machine_s(void **state) {
    (void)state;
    rig.vm_bytes_max = (size_t)6 << 20;
    rig_write_file(&rig, "l.mustache", "{{#x}}{{s}}{{/x}}");
    rig_write_file(&rig, "small.mustache", "{{.}}");
    const char *error = rig_load(&rig,
        "route('big', 'text', function()\n"
        "  local x, s = {}, ('x'):rep(1 << 16) for i = 1, 100 do x[i] = true end\n"
        "  pcall(render, 'l', { x = x, s = s }) return 200, '' end)\n"
        "route('small', 'text', function() return 200, render('small', 'fine') end)\n");
    if (error)
        fail_msg("%s", error);
    assert_string_equal(rig_get(&rig, "big"), "FAIL handler error");
    assert_int_equal(rig.replacements, 1);
    assert_string_equal(rig_get(&rig, "small"), "200 fine");
}

/* ---- files ---- */

static void in_folder(const char *command) {
    char line[1024];
    (void)snprintf(line, sizeof line, "cd %s && %s", rig.folder, command);
    assert_int_equal(system(line), 0);
}

static void templates_are_the_files_below_the_folder(void **state) {
    (void)state;
    in_folder(
        "mkdir -p a/b .git node_modules deep/1/2/3/4/5/6/7/8 outside-link && rmdir outside-link && "
        "for f in top a/in a/b/in .hidden .git/x node_modules/x deep/1/2/3/4/5/6/7/x "
        "deep/1/2/3/4/5/6/7/8/x; do printf %s \"$f\" > $f.mustache; done && "
        "ln -s ../top.mustache a/link.mustache && ln -s /etc/passwd out.mustache && "
        "ln -s a linked && ln -s nowhere dangling.mustache && mkdir folder.mustache && "
        "mkfifo pipe.mustache && printf x > .mustache && "
        "head -c 1048577 /dev/zero > large.mustache");
    static const struct expectation lines[] = {
        {"return 200, render('top') .. render('a/in') .. render('a/b/in')", "200 topa/ina/b/in"},
        {"return 200, render('a/link') .. render('deep/1/2/3/4/5/6/7/x')",
            "200 topdeep/1/2/3/4/5/6/7/x"},
        {"return 200, select(2, pcall(render, 'out'))",
            "200 out.mustache: a link that leads out of the resources folder"},
        {"return 200, select(2, pcall(render, 'dangling'))",
            "200 dangling.mustache: a link that leads out of the resources folder"},
        {"return 200, select(2, pcall(render, 'large'))", "200 large.mustache: larger than 1 MiB"},
        {"for _, name in ipairs({ '.hidden', '.git/x', 'node_modules/x', 'linked/in', 'folder', "
         "'pipe', 'deep/1/2/3/4/5/6/7/8/x' }) do\n"
         "local ok, why = pcall(render, name) if ok or not why:find('no template', 1, true) then "
         "return "
         "200, name end end return 200, 'none'",
            "200 none"},
        {"return 200, (select(2, pcall(render, 'x')):gsub('%(.*/tmp/concave[^:]*: ', '('))",
            "200 render: no template 'x' (folders more than 8 deep)"},
    };
    CHECK(lines);
    struct slice problem;
    unsigned count = 0;
    while (lua_script_engine.problem_at(rig.app, count, &problem))
        count++;
    assert_int_equal(count, 3); /* dangling, large, out */
}

/* The application sees what was there when it was opened, until it is opened again. */
static void files_are_read_once(void **state) {
    (void)state;
    static const char source[] = "route('t', 'html', function() return 200, render('page') end)";
    rig_write_file(&rig, "page.mustache", "one");
    assert_null(rig_load(&rig, source));
    assert_string_equal(rig_get(&rig, "t"), "200 one");
    assert_string_equal(rig.call.reply.content_type, "text/html; charset=utf-8");
    rig_write_file(&rig, "page.mustache", "two");
    assert_string_equal(rig_get(&rig, "t"), "200 one");
    rig_close(&rig);
    assert_null(rig_load(&rig, source));
    assert_string_equal(rig_get(&rig, "t"), "200 two");
}

static void too_many_templates_are_told(void **state) {
    (void)state;
    struct template_set *set = template_set_new();
    assert_non_null(set);
    char name[32];
    for (unsigned i = 0; i < TEMPLATES_MAX; i++) {
        (void)snprintf(name, sizeof name, "t%u", i);
        assert_int_equal(
            template_set_add(set, slice_of(name, strlen(name)), SLICE("{{a.b}}")), ST_OK);
    }
    assert_int_equal(template_set_add(set, SLICE("more"), SLICE("x")), ST_TOO_LARGE);
    assert_int_equal(template_set_link(set), ST_OK);
    assert_int_equal(set->name_count, 2);
    for (unsigned i = 0; i < TEMPLATES_MAX; i++) {
        (void)snprintf(name, sizeof name, "t%u", i);
        uint32_t index = template_set_find(set, slice_of(name, strlen(name)));
        assert_true(index != TEMPLATE_NONE && strcmp(set->entries[index].name, name) == 0);
    }
    assert_int_equal(template_set_find(set, SLICE("t")), TEMPLATE_NONE);
    template_set_free(set);
}

static void a_folder_that_is_not_there_is_told(void **state) {
    (void)state;
    struct template_set *set = NULL;
    assert_int_equal(template_set_read("/nonexistent/folder", &set), ST_OK);
    assert_string_equal(set->trouble, "/nonexistent/folder: it cannot be opened");
    assert_int_equal(set->count, 0);
    template_set_free(set);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(lua_values_mean_what_the_manual_says),
        TEST(mistakes_are_errors_with_their_place),
        TEST(outputs_are_bounded),
        TEST(nothing_may_come_first),
        TEST(endless_renders_are_stopped),
        TEST(renders_pause_and_go_on),
        TEST(memory_is_the_machine_s),
        TEST(templates_are_the_files_below_the_folder),
        TEST(files_are_read_once),
        cmocka_unit_test(too_many_templates_are_told),
        cmocka_unit_test(a_folder_that_is_not_there_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
