/* Templates as an application renders them, rule by rule: the core modules of Mustache
 * (interpolation, sections, inverted, comments, partials, delimiters) and what Lua adds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/support/script_fixture.h"

struct render_case {
    const char *template;
    const char *data; /* JSON */
    const char *expected;
    const char *partials[4]; /* name, text, name, text */
};

static const char app[] = "route('t', 'text', { method = 'POST' }, function(args)\n"
                          "  return 200, render('page', args.data)\n"
                          "end)\n";

static void write_template(const char *name, const char *text) {
    char file[64];
    (void)snprintf(file, sizeof file, "%s.mustache", name);
    rig_write_file(&rig, file, text);
}

static void remove_template(const char *name) {
    char path[160];
    (void)snprintf(path, sizeof path, "%s/%s.mustache", rig.folder, name);
    (void)unlink(path);
}

static void check_case(const struct render_case *one) {
    write_template("page", one->template);
    for (int i = 0; i < 4 && one->partials[i]; i += 2)
        write_template(one->partials[i], one->partials[i + 1]);
    const char *error = rig_load(&rig, app);
    if (error)
        fail_msg("%s", error);
    char body[1024];
    (void)snprintf(body, sizeof body, "{\"data\":%s}", one->data);
    const char *answer = rig_post(&rig, "t", body);
    if (strncmp(answer, "200 ", 4) != 0 || strcmp(answer + 4, one->expected) != 0)
        fail_msg(
            "%s\n  with %s\n  gave %s\n  not  %s", one->template, one->data, answer, one->expected);
    rig_close(&rig);
    for (int i = 0; i < 4 && one->partials[i]; i += 2)
        remove_template(one->partials[i]);
}

static void check_cases(const struct render_case *cases, size_t count) {
    for (size_t i = 0; i < count; i++)
        check_case(&cases[i]);
}
#define CHECK(cases) check_cases(cases, sizeof cases / sizeof cases[0])

static void variables_are_replaced_and_escaped(void **state) {
    (void)state;
    static const struct render_case cases[] = {
        {"plain { text } }} {\n", "{}", "plain { text } }} {\n", {0}},
        {"", "{}", "", {0}},
        {"Dear {{name}},", "{\"name\":\"Ann\"}", "Dear Ann,", {0}},
        {"{{x}}", "{\"x\":\"& \\\" < >\"}", "&amp; &quot; &lt; &gt;", {0}},
        {"{{x}}", "{\"x\":\"it's\"}", "it&#39;s", {0}},
        {"{{{x}}}", "{\"x\":\"& \\\" < > '\"}", "& \" < > '", {0}},
        {"{{&x}}", "{\"x\":\"& \\\" < > '\"}", "& \" < > '", {0}},
        {"{{x}}", "{\"x\":\"{{y}} é 😀\"}", "{{y}} é 😀", {0}},
        {"{{x}}|{{{x}}}|{{&x}}", "{\"x\":85}", "85|85|85", {0}},
        {"{{x}}|{{{x}}}|{{&x}}", "{\"x\":1.210}", "1.21|1.21|1.21", {0}},
        {"{{x}} {{y}} {{z}}", "{\"x\":-9223372036854775808,\"y\":9223372036854775807,\"z\":0}",
            "-9223372036854775808 9223372036854775807 0", {0}},
        {"{{x}} {{y}} {{z}}", "{\"x\":2.0,\"y\":-0.5,\"z\":1e100}", "2.0 -0.5 1e+100", {0}},
        {"({{x}}{{{x}}}{{&x}})", "{\"x\":null}", "()", {0}},
        {"({{x}}{{{x}}}{{&x}})", "{}", "()", {0}},
        {"({{x}}) ({{y}})", "{\"x\":true,\"y\":false}", "(true) (false)", {0}},
        {"({{x}})", "{\"x\":\"\"}", "()", {0}},
        {"\"{{p.n}}\" = \"{{#p}}{{n}}{{/p}}\"", "{\"p\":{\"n\":\"J\"}}", "\"J\" = \"J\"", {0}},
        {"{{{p.n}}} {{&p.n}}", "{\"p\":{\"n\":\"<\"}}", "< <", {0}},
        {"{{a.b.c.d.e.n}}", "{\"a\":{\"b\":{\"c\":{\"d\":{\"e\":{\"n\":\"P\"}}}}}}", "P", {0}},
        {"({{a.b.c}})", "{\"a\":{}}", "()", {0}},
        {"({{a.b.c.n}})", "{\"a\":{\"b\":{}},\"c\":{\"n\":\"J\"}}", "()", {0}},
        {"({{a.b}})", "{\"a\":\"text\",\"b\":1}", "()", {0}},
        {"({{a.b}})", "{\"a\":null,\"b\":1}", "()", {0}},
        {"{{#a}}{{b.c.n}}{{/a}}",
            "{\"a\":{\"b\":{\"c\":{\"n\":\"P\"}}},\"b\":{\"c\":{\"n\":\"wrong\"}}}", "P", {0}},
        {"({{#a}}{{b.c}}{{/a}})", "{\"a\":{\"b\":{\"x\":1}},\"b\":{\"c\":\"wrong\"}}", "()", {0}},
        {"({{a.b}})", "{\"a.b\":\"c\"}", "()", {0}},
        {"{{a.b}}", "{\"a.b\":\"c\",\"a\":{\"b\":\"d\"}}", "d", {0}},
        {"Hi {{.}}!", "\"you\"", "Hi you!", {0}},
        {"{{.}}{{{.}}}{{&.}}", "\"<\"", "&lt;<<", {0}},
        {"{{.}}", "85", "85", {0}},
        {"{{.}}", "1.21", "1.21", {0}},
        {"| {{x}} | {{{x}}} | {{&x}} |", "{\"x\":\"-\"}", "| - | - | - |", {0}},
        {"  {{x}}\n  {{{x}}}\n  {{&x}}\n", "{\"x\":\"-\"}", "  -\n  -\n  -\n", {0}},
        {"|{{ x }}|{{{ x }}}|{{& x }}|{{\t&\tx\n}}|", "{\"x\":\"-\"}", "|-|-|-|-|", {0}},
    };
    CHECK(cases);
}

static void sections_render_for_what_is_there(void **state) {
    (void)state;
    static const struct render_case cases[] = {
        {"({{#x}}in{{/x}})", "{\"x\":true}", "(in)", {0}},
        {"({{#x}}in{{/x}})", "{\"x\":false}", "()", {0}},
        {"({{#x}}in{{/x}})", "{\"x\":null}", "()", {0}},
        {"({{#x}}in{{/x}})", "{}", "()", {0}},
        {"({{#x}}in{{/x}})", "{\"x\":[]}", "()", {0}},
        {"({{#x}}in{{/x}})", "{\"x\":{}}", "()", {0}},
        {"({{#x}}in{{/x}})", "{\"x\":0}", "(in)", {0}},
        {"({{#x}}in{{/x}})", "{\"x\":\"\"}", "(in)", {0}},
        {"({{#x}}Hi {{n}}.{{/x}})", "{\"x\":{\"n\":\"Joe\"}}", "(Hi Joe.)", {0}},
        {"{{#a}}{{b}} {{.}}{{/a}}", "{\"a\":\"x\",\"b\":\"y\"}", "y x", {0}},
        {"{{#a}}{{.}} is {{a}}{{/a}}", "{\"a\":\"x\"}", "x is x", {0}},
        {"{{#a}}{{.}} is {{a}}{{/a}}", "{\"a\":1.5}", "1.5 is 1.5", {0}},
        {"{{#s}}{{#b}}{{c}}{{a}}{{/b}}{{c}}{{/s}}",
            "{\"a\":\"o\",\"c\":\"C\",\"s\":{\"b\":{\"c\":\"i\"}}}", "ioC", {0}},
        {"{{#a}}{{one}}{{#b}}{{one}}{{two}}{{#c}}{{one}}{{two}}{{three}}{{/c}}{{one}}{{two}}{{/b}}"
         "{{one}}{{/a}}",
            "{\"a\":{\"one\":1},\"b\":{\"two\":2},\"c\":{\"three\":3}}", "112123121", {0}},
        {"{{#l}}{{i}};{{/l}}", "{\"l\":[{\"i\":1},{\"i\":2},{\"i\":3}]}", "1;2;3;", {0}},
        {"{{#t}}{{#m}}{{t.x}}{{n}}.{{#b}}{{t.y}}{{n}}{{o}}.{{/b}}{{/m}}{{/t}}",
            "{\"t\":[{\"t\":{\"x\":\"a\",\"y\":\"A\"},\"m\":[{\"n\":\"1\",\"b\":[{\"o\":\"x\"},"
            "{\"o\":\"y\"}]}]}]}",
            "a1.A1x.A1y.", {0}},
        {"({{#l}}no{{/l}})", "{\"l\":[]}", "()", {0}},
        {"{{#b}}\n* a\n{{/b}}\n* {{t}}\n{{#b}}\n* c\n{{/b}}\n", "{\"b\":true,\"t\":\"b\"}",
            "* a\n* b\n* c\n", {0}},
        {"| A {{#b}}B {{#b}}C{{/b}} D{{/b}} E |", "{\"b\":true}", "| A B C D E |", {0}},
        {"| A {{#b}}B {{#b}}C{{/b}} D{{/b}} E |", "{\"b\":false}", "| A  E |", {0}},
        {"[{{#x}}found{{/x}}]", "{}", "[]", {0}},
        {"{{#l}}({{.}}){{/l}}", "{\"l\":[\"a\",\"b<\"]}", "(a)(b&lt;)", {0}},
        {"{{#l}}({{{.}}})({{&.}}){{/l}}", "{\"l\":[\"<\"]}", "(<)(<)", {0}},
        {"{{#l}}({{.}}){{/l}}", "{\"l\":[1,2,-3]}", "(1)(2)(-3)", {0}},
        {"{{#l}}({{.}}){{/l}}", "{\"l\":[1.10,2.20]}", "(1.1)(2.2)", {0}},
        {"{{#l}}({{.}}){{/l}}", "{\"l\":[true,false,null]}", "(true)(false)()", {0}},
        {"{{#l}}({{#.}}{{.}}{{/.}}){{/l}}", "{\"l\":[[1,2],[\"a\",\"b\"],[]]}", "(12)(ab)()", {0}},
        {"{{#.}}({{v}}){{/.}}", "[{\"v\":\"a\"},{\"v\":\"b\"}]", "(a)(b)", {0}},
        {"{{#.}}{{a}}{{/.}}{{^.}}none{{/.}}", "{\"a\":1}", "1", {0}},
        {"{{#a.b.c}}Here{{/a.b.c}}", "{\"a\":{\"b\":{\"c\":true}}}", "Here", {0}},
        {"({{#a.b.c}}Here{{/a.b.c}})", "{\"a\":{\"b\":{\"c\":false}}}", "()", {0}},
        {"({{#a.b.c}}Here{{/a.b.c}})", "{\"a\":{}}", "()", {0}},
        {"| {{#b}}\t|\t{{/b}} | \n", "{\"b\":true}", "| \t|\t | \n", {0}},
        {"| {{#b}} {{! x }}\n {{/b}} | \n", "{\"b\":true}", "|  \n  | \n", {0}},
        {" {{#b}}YES{{/b}}\n {{#b}}GOOD{{/b}}\n", "{\"b\":true}", " YES\n GOOD\n", {0}},
        {"| This\n{{#b}}\n|\n{{/b}}\n| A\n", "{\"b\":true}", "| This\n|\n| A\n", {0}},
        {"| This\n  {{#b}}  \n|\n\t{{/b}}\t\n| A\n", "{\"b\":true}", "| This\n|\n| A\n", {0}},
        {"|\r\n{{#b}}\r\n{{/b}}\r\n|", "{\"b\":true}", "|\r\n|", {0}},
        {"  {{#b}}\n#{{/b}}\n/", "{\"b\":true}", "#\n/", {0}},
        {"#{{#b}}\n/\n  {{/b}}", "{\"b\":true}", "#\n/\n", {0}},
        {"|{{# b }}={{/ b }}|{{ # b }}-{{ / b }}|", "{\"b\":true}", "|=|-|", {0}},
        {"{{#b}}{{/b}}\n{{#b}} {{/b}}\n", "{\"b\":true}", "\n \n", {0}},
        {"{{#l}}\n- {{.}}\n{{/l}}\n{{^l}}\nnone\n{{/l}}\n.", "{\"l\":[1,2]}", "- 1\n- 2\n.", {0}},
        {"{{#a}}{{x}}{{/a}}", "{\"a\":{\"x\":null},\"x\":\"outer\"}", "", {0}},
    };
    CHECK(cases);
}

static void inverted_sections_render_for_what_is_not_there(void **state) {
    (void)state;
    static const struct render_case cases[] = {
        {"({{^x}}out{{/x}})", "{\"x\":false}", "(out)", {0}},
        {"({{^x}}out{{/x}})", "{\"x\":true}", "()", {0}},
        {"({{^x}}out{{/x}})", "{\"x\":null}", "(out)", {0}},
        {"({{^x}}out{{/x}})", "{}", "(out)", {0}},
        {"({{^x}}out{{/x}})", "{\"x\":{\"n\":1}}", "()", {0}},
        {"({{^x}}out{{/x}})", "{\"x\":[{\"n\":1}]}", "()", {0}},
        {"({{^x}}out{{/x}})", "{\"x\":[]}", "(out)", {0}},
        {"({{^x}}out{{/x}})", "{\"x\":0}", "()", {0}},
        {"{{^b}}\n* a\n{{/b}}\n* {{t}}\n{{^b}}\n* c\n{{/b}}\n", "{\"b\":false,\"t\":\"b\"}",
            "* a\n* b\n* c\n", {0}},
        {"| A {{^b}}B {{^b}}C{{/b}} D{{/b}} E |", "{\"b\":false}", "| A B C D E |", {0}},
        {"| A {{^b}}B {{^b}}C{{/b}} D{{/b}} E |", "{\"b\":true}", "| A  E |", {0}},
        {"[{{^x}}no x{{/x}}]", "{}", "[no x]", {0}},
        {"({{^a.b.c}}out{{/a.b.c}})", "{\"a\":{\"b\":{\"c\":true}}}", "()", {0}},
        {"({{^a.b.c}}out{{/a.b.c}})", "{\"a\":{\"b\":{\"c\":false}}}", "(out)", {0}},
        {"({{^a.b.c}}out{{/a.b.c}})", "{\"a\":{}}", "(out)", {0}},
        {"| {{^b}}\t|\t{{/b}} | \n", "{\"b\":false}", "| \t|\t | \n", {0}},
        {"| {{^b}} {{! x }}\n {{/b}} | \n", "{\"b\":false}", "|  \n  | \n", {0}},
        {" {{^b}}NO{{/b}}\n {{^b}}WAY{{/b}}\n", "{\"b\":false}", " NO\n WAY\n", {0}},
        {"| T\n{{^b}}\n|\n{{/b}}\n| A\n", "{\"b\":false}", "| T\n|\n| A\n", {0}},
        {"| T\n  {{^b}}\n|\n  {{/b}}\n| A\n", "{\"b\":false}", "| T\n|\n| A\n", {0}},
        {"|\r\n{{^b}}\r\n{{/b}}\r\n|", "{\"b\":false}", "|\r\n|", {0}},
        {"  {{^b}}\n^{{/b}}\n/", "{\"b\":false}", "^\n/", {0}},
        {"^{{^b}}\n/\n  {{/b}}", "{\"b\":false}", "^\n/\n", {0}},
        {"|{{^ b }}={{/ b }}|", "{\"b\":false}", "|=|", {0}},
        {"{{^.}}nothing{{/.}}", "[]", "nothing", {0}},
    };
    CHECK(cases);
}

static void comments_leave_nothing(void **state) {
    (void)state;
    static const struct render_case cases[] = {
        {"12{{! a comment }}67", "{}", "1267", {0}},
        {"12{{!\n  over\n  lines\n}}67\n", "{}", "1267\n", {0}},
        {"a\n{{! alone }}\nb\n", "{}", "a\nb\n", {0}},
        {"a\n  {{! alone, indented }}\nb\n", "{}", "a\nb\n", {0}},
        {"|\r\n{{! alone }}\r\n|", "{}", "|\r\n|", {0}},
        {"  {{! first line }}\n!", "{}", "!", {0}},
        {"!\n  {{! last line }}", "{}", "!\n", {0}},
        {"a\n{{!\nlines\n}}\nb\n", "{}", "a\nb\n", {0}},
        {"a\n  {{!\n    lines\n  }}\nb\n", "{}", "a\nb\n", {0}},
        {"  12 {{! 34 }}\n", "{}", "  12 \n", {0}},
        {"12 {{! x }} 67", "{}", "12  67", {0}},
        {"({{! x }}{{!x}}{{!}})", "{\"! x\":1,\"!x\":2,\"x\":3}", "()", {0}},
        {"{{!a}} {{!b}}\n.", "{}", " \n.", {0}},
        {"{{! {{x} }}.", "{}", ".", {0}},
    };
    CHECK(cases);
}

static void delimiters_can_be_set(void **state) {
    (void)state;
    static const struct render_case cases[] = {
        {"{{=<% %>=}}(<%t%>)", "{\"t\":\"Hey\"}", "(Hey)", {0}},
        {"({{=[ ]=}}[t])", "{\"t\":\"Hey\"}", "(Hey)", {0}},
        {"{{= [ ] =}}[#l][.][/l]{{.}}", "{\"l\":[1,2]}", "12{{.}}", {0}},
        {"[\n{{#s}}\n  {{d}}\n  |d|\n{{/s}}\n{{= | | =}}\n|#s|\n  {{d}}\n  |d|\n|/s|\n]\n",
            "{\"s\":true,\"d\":\"x\"}", "[\n  x\n  |d|\n  {{d}}\n  x\n]\n", {0}},
        {"[\n{{^s}}\n  {{d}}\n  |d|\n{{/s}}\n{{= | | =}}\n|^s|\n  {{d}}\n  |d|\n|/s|\n]\n",
            "{\"s\":false,\"d\":\"x\"}", "[\n  x\n  |d|\n  {{d}}\n  x\n]\n", {0}},
        {"[ {{>p}} ]\n{{= | | =}}\n[ |>p| ]\n", "{\"v\":\"yes\"}", "[ .yes. ]\n[ .yes. ]\n",
            {"p", ".{{v}}."}},
        {"[ {{>p}} ]\n[ .{{v}}.  .|v|. ]\n", "{\"v\":\"yes\"}",
            "[ .yes.  .yes. ]\n[ .yes.  .|v|. ]\n", {"p", ".{{v}}. {{= | | =}} .|v|."}},
        {"| {{=@ @=}} |", "{}", "|  |", {0}},
        {" | {{=@ @=}}\n", "{}", " | \n", {0}},
        {"a\n{{=@ @=}}\nb\n", "{}", "a\nb\n", {0}},
        {"a\n  {{=@ @=}}\nb\n", "{}", "a\nb\n", {0}},
        {"|\r\n{{= @ @ =}}\r\n|", "{}", "|\r\n|", {0}},
        {"  {{=@ @=}}\n=", "{}", "=", {0}},
        {"=\n  {{=@ @=}}", "{}", "=\n", {0}},
        {"|{{= @   @ =}}|", "{}", "||", {0}},
        {"{{=<% %>=}}<%{x}%><%&x%><%x%><%={{ }}=%>{{x}}", "{\"x\":\"<\"}", "<<&lt;&lt;", {0}},
        {"{{=| |=}}|! a comment ||x|", "{\"x\":1}", "1", {0}},
    };
    CHECK(cases);
}

static void partials_are_put_in_place(void **state) {
    (void)state;
    static const struct render_case cases[] = {
        {"({{>text}})", "{}", "(from partial)", {"text", "from partial"}},
        {"({{>text}})", "{}", "()", {0}},
        {"({{>p}})", "{\"t\":\"content\"}", "(*content*)", {"p", "*{{t}}*"}},
        {"{{>node}}", "{\"c\":\"X\",\"n\":[{\"c\":\"Y\",\"n\":[]}]}", "X<Y<>>",
            {"node", "{{c}}<{{#n}}{{>node}}{{/n}}>"}},
        {"{{>outer}}", "{\"a\":\"hello\",\"b\":\"world\"}", "*hello world*!",
            {"outer", "*{{a}} {{>inner}}*!", "inner", "{{b}}"}},
        {"| {{>p}} |", "{}", "| \t|\t |", {"p", "\t|\t"}},
        {"  {{d}}  {{> p}}\n", "{\"d\":\"|\"}", "  |  >\n>\n", {"p", ">\n>"}},
        {"|\r\n{{>p}}\r\n|", "{}", "|\r\n>|", {"p", ">"}},
        {"  {{>p}}\n>", "{}", "  >\n  >>", {"p", ">\n>"}},
        {">\n  {{>p}}", "{}", ">\n  >\n  >", {"p", ">\n>"}},
        {"\\\n {{>p}}\n/\n", "{\"c\":\"<\\n->\"}", "\\\n |\n <\n->\n |\n/\n",
            {"p", "|\n{{{c}}}\n|\n"}},
        {"|{{> p }}|", "{\"b\":true}", "|[]|", {"p", "[]"}},
        {"{{>a/b-c}}", "{}", "", {0}},
        /* what the specification leaves to the rule that the partial's lines are indented */
        {" {{>p}}\n", "{\"l\":[1,2]}", " a\n 1\n 2\n z\n", {"p", "a\n{{#l}}\n{{.}}\n{{/l}}\nz\n"}},
        {" {{>p}}\n", "{\"l\":[1,2]}", " <\n 1> <\n 2> ;\n", {"p", "{{#l}}<\n{{.}}> {{/l}};\n"}},
        {" {{>p}}\n", "{\"l\":[1,2]}", " a\n b\n a\n b\n c\n", {"p", "{{#l}}a\nb\n{{/l}}c\n"}},
        {" {{>p}}\n", "{}", " a\n\n b\n\r\n c\n", {"p", "a\n\nb\n\r\nc\n"}},
        {" {{>p}}\n", "{}", " x\n  \n y\n", {"p", "{{!c}}x\n {{!c}}{{!d}}\n{{!c}}y\n"}},
        {" {{>p}}\n", "{}", " x\n ", {"p", "x\n{{!c}}{{!d}}"}},
        {" {{>p}}\n", "{}", " a\n   b\n   b\n c\n", {"p", "a\n  {{>q}}\nc\n", "q", "b\nb\n"}},
        {" {{>p}}\n", "{}", " a b\nb\nc\n", {"p", "a {{>q}}c\n", "q", "b\nb\n"}},
        {" {{>p}}\n.", "{}", ".", {"p", ""}},
        {" {{>p}}\n.", "{\"x\":\"1\\n2\"}", " 1\n2\n.", {"p", "{{x}}\n"}},
        {" {{>p}}\n{{>p}}\n", "{}", " a\n b\na\nb\n", {"p", "a\nb\n"}},
        {"{{#l}}\n  {{>p}}\n{{/l}}\n", "{\"l\":[1,2]}", "  1\n  2\n", {"p", "{{.}}\n"}},
        {"{{=<% %>=}}<%>p%>", "{}", "<%x%>", {"p", "<%x%>"}},
    };
    CHECK(cases);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(variables_are_replaced_and_escaped),
        TEST(sections_render_for_what_is_there),
        TEST(inverted_sections_render_for_what_is_not_there),
        TEST(comments_leave_nothing),
        TEST(delimiters_can_be_set),
        TEST(partials_are_put_in_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
