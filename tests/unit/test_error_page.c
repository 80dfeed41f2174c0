/* Who is shown a page instead of JSON, and that nothing on the page is markup that came from
 * outside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/error_page.h"

static bool prefers_html(const char *field) {
    struct accept_tastes tastes = {0};
    accept_add(&tastes, slice_of(field, strlen(field)));
    return accept_prefers_html(&tastes);
}

static void browsers_and_whoever_asks_for_html_get_it(void **state) {
    (void)state;
    static const char *const fields[] = {
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
        "text/html",
        "TEXT/HTML",
        "text/*",
        "text/html, */*",
        "text/html, application/*",
        "application/json;q=0.5, text/html;q=0.501",
        "application/json;q=0, */*",
        "text/html;level=1",
        "text/plain;x=\"a,b;q=0\", text/html",
        "text/html;q=0.001",
        "application/json;q=2, text/html;q=0.1",
        ", ,text/html,",
    };
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        if (!prefers_html(fields[i]))
            fail_msg("%s", fields[i]);
}

static void others_get_json(void **state) {
    (void)state;
    static const char *const fields[] = {"", "*/*", "application/json",
        "text/html, application/json", "application/json, text/html", "text/html;q=0",
        "text/html;q=0, */*", "text/html;q=x", "text/html;q=1.5", "text/html;q=0.0001",
        "text/html;q=", "text/htm", "text/htmlx", "image/png", "text/html;q=0.5, */*;q=0.6",
        "text/*, application/json", "*/*, text/html;q=0.9", "x=\"text/html",
        "application/json, text/*;q=0.9", "\"", "text/html;q=0.5;q=1, */*"};
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
        if (prefers_html(fields[i]))
            fail_msg("%s", fields[i]);
    struct accept_tastes none = {0};
    assert_false(accept_prefers_html(&none));
}

static void several_fields_count_as_one_list(void **state) {
    (void)state;
    struct accept_tastes tastes = {0};
    accept_add(&tastes, SLICE("*/*;q=0.1"));
    assert_false(accept_prefers_html(&tastes));
    accept_add(&tastes, SLICE("text/html"));
    assert_true(accept_prefers_html(&tastes));
    accept_add(&tastes, SLICE("application/json"));
    assert_false(accept_prefers_html(&tastes));
}

static void the_page_escapes_all_of_it(void **state) {
    (void)state;
    struct buf out;
    buf_init(&out, SIZE_MAX);
    error_page_write(&out, 404, "Not <b>", "no \"<script>\" & 'such'", SLICE("<id>"));
    buf_append(&out, "", 1);
    assert_true(buf_ok(&out));
    assert_non_null(strstr(out.data, "<title>404 Not &lt;b&gt;</title>"));
    assert_non_null(strstr(out.data, "<h1>404 Not &lt;b&gt;</h1>"));
    assert_non_null(strstr(out.data, "<p>no &quot;&lt;script&gt;&quot; &amp; &#39;such&#39;</p>"));
    assert_non_null(strstr(out.data, "<code>&lt;id&gt;</code>"));
    assert_null(strstr(out.data, "<script>"));
    buf_reset(&out, 0);
    error_page_write(&out, 599, "", "text", slice_of(NULL, 0));
    buf_append(&out, "", 1);
    assert_non_null(strstr(out.data, "<title>599</title>"));
    assert_null(strstr(out.data, "Request"));
    buf_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(browsers_and_whoever_asks_for_html_get_it),
        cmocka_unit_test(others_get_json),
        cmocka_unit_test(several_fields_count_as_one_list),
        cmocka_unit_test(the_page_escapes_all_of_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
