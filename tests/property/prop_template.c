/* Random templates: whatever the bytes are, the parser either refuses them with a place inside the
 * text or gives a program whose jumps are sound and whose texts lie in the source; and a program
 * renders, or fails with its file and place.
 *
 * Usage: prop_template [seed [templates]]; the seed is printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/splitmix.h"
#include "lua/template_set.h"
#include "tests/support/scale.h"
#include "tests/support/script_rig.h"

static uint64_t seed = 20261121, random_state;
static unsigned templates;

static uint64_t draw(void) {
    return splitmix_next(&random_state);
}

static unsigned below(unsigned bound) {
    return (unsigned)(draw() % bound);
}

/* ---- making templates ---- */

static const char *const pieces[] = {"{{", "}}", "{{{", "}}}", "{{#", "{{^", "{{/", "{{>", "{{!",
    "{{&", "{{=", "=}}", "{{=<% %>=}}", "<%", "%>", "<%={{ }}=%>", "{{a}}", "{{{b}}}", "{{.}}",
    "{{#a}}", "{{/a}}", "{{#l}}", "{{/l}}", "{{^b}}", "{{/b}}", "{{>p}}", "{{>t}}",
    "{{#l}}{{.}}{{/l}}", "{{a.b}}", "\n", "\r\n", "\n", "  ", "\t", " ", "x", "text", "<", "{", "}",
    "=", ".", "a", "b", "l", "é"};

static void make_random(struct buf *out) {
    for (unsigned n = below(24); n > 0; n--) {
        buf_append_text(out, pieces[below(sizeof pieces / sizeof pieces[0])]);
        if (below(60) == 0)
            buf_append_byte(out, (char)draw());
    }
}

/* Those with partials last. */
static const char *const leaves[] = {"{{a}}", "{{{b}}}", "{{.}}", "{{!c}}", "\n", "\n{{!c}}\n",
    "text", " ", "{{=| |=}}|a||={{ }}=|", "\r\n", "{{!\n}}", "\n\n", "{{>p}}", "{{>t}}",
    "\n  {{>p}}\n"};
#define LEAVES (sizeof leaves / sizeof leaves[0])
#define LEAVES_WITHOUT_PARTIALS (LEAVES - 3)
static unsigned leaf_count = LEAVES; /* those to draw from */

/* Sections that are balanced, so that more of them are accepted. */
static void make_good(struct buf *out, unsigned depth) {
    static const char *const names[] = {"a", "b", "l", ".", "a.b"};
    for (unsigned n = below(6); n > 0; n--) {
        if (depth == 0 || below(3)) {
            buf_append_text(out, leaves[below(leaf_count)]);
            continue;
        }
        const char *name = names[below(5)], *blank = below(2) ? "\n" : "";
        buf_printf(out, "%s{{%c%s}}%s", blank, below(2) ? '#' : '^', name, blank);
        make_good(out, depth - 1);
        buf_printf(out, "%s{{/%s}}%s", blank, name, blank);
    }
}

/* The text with blanks in front of each line that is not empty. */
static void indent_text(struct slice text, struct buf *out) {
    for (size_t i = 0; i < text.len; i++) {
        bool starts = i == 0 || text.data[i - 1] == '\n';
        bool empty = text.data[i] == '\n' ||
                     (text.data[i] == '\r' && i + 1 < text.len && text.data[i + 1] == '\n');
        if (starts && !empty)
            buf_append_text(out, " \t ");
        buf_append_byte(out, text.data[i]);
    }
}

/* ---- what holds of every template ---- */

static void check_program(const struct template *template) {
    uint32_t open[TEMPLATE_SECTIONS_MAX], depth = 0;
    for (uint32_t i = 0; i < template->op_count; i++) {
        const struct template_op *op = &template->ops[i];
        assert_true(op->at <= template->len);
        assert_true(op->part + (uint64_t)op->parts <= template->part_count);
        switch ((enum template_op_kind)op->kind) {
        case TEMPLATE_TEXT:
            assert_true((size_t)op->at + op->len <= template->len);
            break;
        case TEMPLATE_SECTION:
        case TEMPLATE_INVERTED:
            assert_true(op->partner > i + 1 && op->partner <= template->op_count);
            assert_int_equal(template->ops[op->partner - 1].kind, TEMPLATE_END);
            assert_int_equal(template->ops[op->partner - 1].partner, i);
            assert_true(depth < TEMPLATE_SECTIONS_MAX);
            open[depth++] = i;
            break;
        case TEMPLATE_END:
            assert_true(depth > 0 && open[--depth] == op->partner);
            break;
        case TEMPLATE_PARTIAL:
            assert_true(op->len <= op->at && op->parts == 1);
            break;
        case TEMPLATE_VALUE:
        case TEMPLATE_RAW:
            break;
        }
    }
    assert_int_equal(depth, 0);
    for (uint32_t i = 0; i < template->part_count; i++)
        assert_true((size_t) template->parts[i].at + template->parts[i].len <= template->len);
}

static bool check_parse(struct slice source) {
    struct template *template = NULL;
    struct template_error error;
    enum status status = template_parse(source, &template, &error);
    if (status == ST_OK) {
        assert_true(slice_equal(slice_of(template->text, template->len), source));
        check_program(template);
        template_free(template);
        return true;
    }
    unsigned line, column;
    assert_int_equal(status, ST_INVALID);
    assert_true(error.text[0] && memchr(error.text, '\0', sizeof error.text));
    bool inside = false;
    for (size_t at = 0; at <= source.len && !inside; at++) {
        template_place(source, at, &line, &column);
        inside = line == error.line && column == error.column;
    }
    assert_true(inside);
    return false;
}

/* ---- the properties ---- */

static void any_bytes_are_parsed_or_refused(void **state) {
    (void)state;
    unsigned good = 0;
    struct buf source;
    buf_init(&source, SIZE_MAX);
    for (unsigned i = 0; i < templates; i++) {
        buf_reset(&source, SIZE_MAX);
        if (below(3))
            make_random(&source);
        else
            make_good(&source, 4);
        good += check_parse(buf_slice(&source));
    }
    buf_free(&source);
    printf("templates tried: %u, of them %u well-formed\n", templates, good);
    assert_true(good > templates / 5);
}

/* Renders batches of well-formed templates, in one application each. */
static void what_is_parsed_renders(void **state) {
    (void)state;
    static const char app[] = "local data = { a = 'A<', l = { 1, { b = 'in' }, 'x' }, b = false }\n"
                              "data.deep = data\n"
                              "route('all', 'json', { method = 'POST' }, function(args)\n"
                              "  local fine = 0\n"
                              "  for i = 1, args.count do\n"
                              "    local ok, text = pcall(render, 't' .. i, data)\n"
                              "    if ok then fine = fine + 1 assert(type(text) == 'string')\n"
                              "    else assert(text:find('^[tp]%d*%.mustache:%d+:%d+: ') or "
                              "text:find('^render: '), text) end\n"
                              "  end\n"
                              "  return 200, fine\n"
                              "end)\n";
    struct rig rig;
    struct buf source;
    buf_init(&source, SIZE_MAX);
    unsigned batches = test_scaled(10);
    for (unsigned batch = 0; batch < batches; batch++) {
        rig_init(&rig);
        for (unsigned i = 0; i <= 100; i++) {
            char name[32];
            buf_reset(&source, SIZE_MAX);
            make_good(&source, 4);
            buf_append_byte(&source, '\0');
            (void)snprintf(name, sizeof name, i ? "t%u.mustache" : "p.mustache", i);
            rig_write_file(&rig, name, source.data);
        }
        const char *error = rig_load(&rig, app);
        if (error)
            fail_msg("%s", error);
        const char *answer = rig_post(&rig, "all", "{\"count\":100}");
        if (strncmp(answer, "200 ", 4) != 0 && strcmp(answer, "FAIL time budget used up") != 0)
            fail_msg("batch %u: %s", batch, answer);
        rig_free(&rig);
    }
    buf_free(&source);
    printf("renders tried: %u\n", 100 * batches);
}

/* A partial alone on a line renders as if its text had been indented before it was parsed, which is
 * how the specification puts it. */
static void partials_are_indented_as_texts(void **state) {
    (void)state;
    static const char app[] =
        "local data = { a = 'A\\nB', l = { 1, { b = 'in' }, 'x' }, b = false }\n"
        "local fine\n"
        "local function try(name)\n"
        "  local ok, text = pcall(render, name, data)\n"
        "  if ok then fine = fine + 1 end\n"
        "  return ok and text or text:gsub('^.*: ', '')\n"
        "end\n"
        "route('all', 'json', { method = 'POST' }, function(args)\n"
        "  fine = 0\n"
        "  for i = 1, args.count do\n"
        "    local one, other = try('page' .. i), try('i' .. i)\n"
        "    if one ~= other then return 500, { i, one, other } end\n"
        "  end\n"
        "  return 200, fine > args.count / 2 and 'same' or fine\n"
        "end)\n";
    struct rig rig;
    struct buf source, indented;
    buf_init(&source, SIZE_MAX);
    buf_init(&indented, SIZE_MAX);
    unsigned batches = test_scaled(20);
    leaf_count = LEAVES_WITHOUT_PARTIALS;
    for (unsigned batch = 0; batch < batches; batch++) {
        rig_init(&rig);
        for (unsigned i = 1; i <= 100; i++) {
            char name[32], page[64];
            buf_reset(&source, SIZE_MAX);
            buf_reset(&indented, SIZE_MAX);
            make_good(&source, 3);
            indent_text(buf_slice(&source), &indented);
            buf_append_byte(&source, '\0');
            buf_append_byte(&indented, '\0');
            (void)snprintf(name, sizeof name, "p%u.mustache", i);
            rig_write_file(&rig, name, source.data);
            (void)snprintf(name, sizeof name, "i%u.mustache", i);
            rig_write_file(&rig, name, indented.data);
            (void)snprintf(name, sizeof name, "page%u.mustache", i);
            (void)snprintf(page, sizeof page, " \t {{>p%u}}\n", i);
            rig_write_file(&rig, name, page);
        }
        const char *error = rig_load(&rig, app);
        if (error)
            fail_msg("%s", error);
        const char *answer = rig_post(&rig, "all", "{\"count\":100}");
        if (strcmp(answer, "200 \"same\"") != 0)
            fail_msg("batch %u: %s", batch, answer);
        rig_free(&rig);
    }
    leaf_count = LEAVES;
    buf_free(&source);
    buf_free(&indented);
    printf("indented partials tried: %u\n", 100 * batches);
}

int main(int argc, char **argv) {
    if (argc > 1)
        seed = strtoull(argv[1], NULL, 10);
    templates = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : test_scaled(100000);
    random_state = seed;
    printf("prop_template: seed %llu\n", (unsigned long long)seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_bytes_are_parsed_or_refused),
        cmocka_unit_test(what_is_parsed_renders),
        cmocka_unit_test(partials_are_indented_as_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
