/* What the template parser refuses, and where it says it is; names; places. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "lua/template.h"

/* "line:column: text", or "fine". */
static const char *parse(struct slice source) {
    static char answer[256];
    struct template *template = NULL;
    struct template_error error;
    enum status status = template_parse(source, &template, &error);
    if (status == ST_OK) {
        template_free(template);
        return "fine";
    }
    assert_int_equal(status, ST_INVALID);
    (void)snprintf(answer, sizeof answer, "%u:%u: %s", error.line, error.column, error.text);
    return answer;
}

static void mistakes_are_told_with_their_place(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"a {{b", "1:3: tag without its end '}}'"},
        {"a\nb {{{b}} c", "2:3: tag without its end '}}}'"},
        {"{{=<% %>}}", "1:1: tag without its end '=}}'"},
        {"{{=<% %>=}}\n<%x", "2:1: tag without its end '%>'"},
        {"\n\n   {{#a}}\n", "3:4: section 'a' is not closed"},
        {"{{#a}}{{#b}}{{/b}}", "1:1: section 'a' is not closed"},
        {"{{^a.b}}", "1:1: section 'a.b' is not closed"},
        {"x{{/a}}", "1:2: 'a' closes a section that is not open"},
        {"{{#a}}\n{{#b}}\n{{/a}}", "3:1: 'a' closes the section 'b' of line 2"},
        {"{{#a}}{{/a.b}}", "1:7: 'a.b' closes the section 'a' of line 1"},
        {"{{#.}}{{/}}", "1:7: '' closes the section '.' of line 1"},
        {"{{}}", "1:1: tag without a name"},
        {"{{ }}", "1:1: tag without a name"},
        {"{{#}}{{/}}", "1:1: tag without a name"},
        {"{{{}}}", "1:1: tag without a name"},
        {"{{if x}}", "1:1: a name has no white space: 'if x'"},
        {"{{a.}}", "1:1: a dotted name with an empty part: 'a.'"},
        {"{{.a}}", "1:1: a dotted name with an empty part: '.a'"},
        {"{{a..b}}", "1:1: a dotted name with an empty part: 'a..b'"},
        {"{{..}}", "1:1: a dotted name with an empty part: '..'"},
        {"{{<p}}{{/p}}", "1:1: tags that begin with '<' are not supported"},
        {"{{$p}}{{/p}}", "1:1: tags that begin with '$' are not supported"},
        {"{{< p}}{{/p}}", "1:1: tags that begin with '<' are not supported"},
        {"{{$ p}}{{/p}}", "1:1: tags that begin with '$' are not supported"},
        {"{{#*p}}{{/*p}}", "1:1: tags that begin with '*' are not supported"},
        {"{{&*p}}", "1:1: tags that begin with '*' are not supported"},
        {"a\n  {{>*p}}\n", "2:3: tags that begin with '>*' are not supported"},
        {"{{> * p }}", "1:1: tags that begin with '>*' are not supported"},
        {"{{>**p}}", "1:1: tags that begin with '>*' are not supported"},
        {"{{=<% %>=}}\n<%>*a.b%>", "2:1: tags that begin with '>*' are not supported"},
        {"{{=<%%>=}}",
            "1:1: delimiters are two words of up to 32 bytes without '=', as in {{=<% %>=}}"},
        {"{{==}}",
            "1:1: delimiters are two words of up to 32 bytes without '=', as in {{=<% %>=}}"},
        {"{{=a = =}}",
            "1:1: delimiters are two words of up to 32 bytes without '=', as in {{=<% %>=}}"},
        {"{{=a b c=}}",
            "1:1: delimiters are two words of up to 32 bytes without '=', as in {{=<% %>=}}"},
        {"{{>../a}}",
            "1:1: a partial's name has parts between '/', none of them '..' or empty: '../a'"},
        {"{{>/a}}",
            "1:1: a partial's name has parts between '/', none of them '..' or empty: '/a'"},
        {"{{>}}", "1:1: a partial's name has parts between '/', none of them '..' or empty: ''"},
        {"{{>a\nb}}",
            "1:1: a partial's name has parts between '/', none of them '..' or empty: 'a\nb'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_string_equal(parse(slice_of(cases[i][0], strlen(cases[i][0]))), cases[i][1]);
}

static void what_looks_odd_may_be_a_template(void **state) {
    (void)state;
    static const char *const cases[] = {"", "{", "}}", "{ {x} }", "{{x}}}", "{{{x}}}}",
        "{{a-b_c?}}", "{{!}}", "{{! {{ }}", "{{é}}", "{{#a}}{{/ a }}", "{{= { } =}}{x}",
        "{{=a b=}}axb", "\r\n", "{{x\n}}", "{{>a b}}", "{{>a*}}", "{{>a/*}}"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_string_equal(parse(slice_of(cases[i], strlen(cases[i]))), "fine");
    assert_string_equal(parse(slice_of("a\0{{b\0}}", 8)), "fine");
    assert_string_equal(parse(slice_of("{{\0b}}", 6)), "fine");
    assert_string_equal(parse(slice_of(NULL, 0)), "fine");
}

static void sizes_are_bounded(void **state) {
    (void)state;
    char *text = malloc(TEMPLATE_BYTES_MAX + 1);
    assert_non_null(text);
    memset(text, 'x', TEMPLATE_BYTES_MAX + 1);
    assert_string_equal(parse(slice_of(text, TEMPLATE_BYTES_MAX)), "fine");
    assert_string_equal(
        parse(slice_of(text, TEMPLATE_BYTES_MAX + 1)), "1:1: larger than 1048576 bytes");
    struct buf nested;
    for (unsigned depth = TEMPLATE_SECTIONS_MAX; depth <= TEMPLATE_SECTIONS_MAX + 1; depth++) {
        buf_init(&nested, SIZE_MAX);
        for (unsigned i = 0; i < depth; i++)
            buf_append_text(&nested, "{{#a}}");
        for (unsigned i = 0; i < depth; i++)
            buf_append_text(&nested, "{{/a}}");
        assert_string_equal(parse(buf_slice(&nested)),
            depth <= TEMPLATE_SECTIONS_MAX ? "fine"
                                           : "1:601: more than 100 sections inside each other");
        buf_free(&nested);
    }
    free(text);
}

/* Tags as dense as they can be, or blanks around tags, take a time in proportion to the bytes. */
static void large_templates_are_parsed_in_linear_time(void **state) {
    (void)state;
    static const char *const units[] = {
        "{{a}}", "{{!}}", "{{#a}}{{/a}}", " {{!}} ", "\n", "{{>a}}\n", "     \t{{!\n}}"};
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        struct buf text;
        buf_init(&text, SIZE_MAX);
        while (text.len + strlen(units[i]) <= TEMPLATE_BYTES_MAX)
            buf_append_text(&text, units[i]);
        assert_string_equal(parse(buf_slice(&text)), "fine");
        buf_free(&text);
    }
}

static void names_stay_in_the_folder(void **state) {
    (void)state;
    static const char *const good[] = {"a", "a/b", "a.b", "...", "a/b/c-d_e", "é", "a b"};
    static const char *const bad[] = {"", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/..",
        "a/../b", "a/./b", "./a", "a\n", "\x7f"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(template_name_valid(slice_of(good[i], strlen(good[i]))));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(template_name_valid(slice_of(bad[i], strlen(bad[i]))));
    assert_false(template_name_valid(slice_of("a\0b", 3)));
    char name[TEMPLATE_NAME_BYTES_MAX + 1];
    memset(name, 'a', sizeof name);
    assert_true(template_name_valid(slice_of(name, TEMPLATE_NAME_BYTES_MAX)));
    assert_false(template_name_valid(slice_of(name, TEMPLATE_NAME_BYTES_MAX + 1)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mistakes_are_told_with_their_place),
        cmocka_unit_test(what_looks_odd_may_be_a_template),
        cmocka_unit_test(sizes_are_bounded),
        cmocka_unit_test(large_templates_are_parsed_in_linear_time),
        cmocka_unit_test(names_stay_in_the_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
