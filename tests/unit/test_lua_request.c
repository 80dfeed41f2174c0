/* Requests in, replies out: args, req, routes, and the checks of what a handler returns. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/support/script_fixture.h"

static void load_or_fail(const char *source) {
    const char *error = rig_load(&rig, source);
    if (error)
        fail_msg("%s", error);
}

static const char *header_text(void) {
    struct buf *headers = &rig.call.reply.headers;
    buf_append_byte(headers, '\0');
    headers->len--;
    return headers->data;
}

/* Each machine may declare the routes in another order, as a loop over pairs() does. */
static void routes_come_in_any_order(void **state) {
    (void)state;
    load_or_fail("local names = {}\n"
                 "for i = 1, 8 do table.insert(names, random(#names + 1), 'r' .. i) end\n"
                 "for _, name in ipairs(names) do\n"
                 "  route(name, 'json', function() return 200, name end)\n"
                 "end\n");
    for (unsigned i = 1; i <= 8; i++) {
        char name[8], reply[16];
        (void)snprintf(name, sizeof name, "r%u", i);
        (void)snprintf(reply, sizeof reply, "200 \"r%u\"", i);
        assert_string_equal(rig_get(&rig, name), reply);
    }
}

/* Path parameters win over the body, the body over the query; all are in args. */
static void args_are_merged_in_order(void **state) {
    (void)state;
    load_or_fail("route('echo/:id', 'json', function(args) return 200, args end)\n"
                 "route('echo', 'json', function(args) return 200, args end)\n");
    assert_string_equal(rig_get(&rig, "echo"), "200 {}");
    assert_string_equal(rig_get(&rig, "echo?a=1&b=x+y&c=%41&a=2&d"),
        "200 {\"a\":\"1\",\"b\":\"x y\",\"c\":\"A\",\"d\":\"\"}");
    assert_string_equal(
        rig_post(&rig, "echo/7?id=q&x=q&y=q", "{\"id\":1,\"x\":[1,2.0,null],\"z\":{}}"),
        "200 {\"id\":\"7\",\"x\":[1,2.0,null],\"y\":\"q\",\"z\":{}}");
    assert_string_equal(
        rig_request(&rig, "POST", "echo/7?x=q", "application/x-www-form-urlencoded; charset=utf-8",
            SLICE("x=1&x=2&id=9&y=%7E")),
        "200 {\"id\":\"7\",\"x\":\"1\",\"y\":\"~\"}");
    assert_string_equal(rig_post(&rig, "echo?a=1", " [1, 2]"), "200 {\"a\":\"1\"}");
    assert_string_equal(
        rig_request(&rig, "POST", "echo", "text/plain", SLICE("{not json")), "200 {}");
    assert_string_equal(rig_post(&rig, "echo", ""), "200 {}");
}

/* Fields of multipart/form-data become args. */
static void multipart_fields_are_args(void **state) {
    (void)state;
    load_or_fail("route('echo', 'json', function(args, req) return 200, {args, req.form} end)\n");
    assert_string_equal(
        rig_request(&rig, "POST", "echo?b=q", "multipart/form-data; boundary=xyz",
            SLICE("--xyz\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n"
                  "--xyz\r\nContent-Disposition: form-data; name=\"f\"; filename=\"f.txt\"\r\n"
                  "Content-Type: text/plain\r\n\r\nfile\r\n--xyz--\r\n")),
        "200 [{\"a\":\"one\",\"b\":\"q\",\"f\":\"file\"},{\"a\":\"one\",\"f\":\"file\"}]");
    assert_string_equal(rig_request(&rig, "POST", "echo", "multipart/form-data; boundary=xyz",
                            SLICE("--xyz\r\nnonsense")),
        "400 {\"error\":\"the body is no well-formed form of at most 32768 "
        "fields\",\"code\":\"bad_form\"}");
}

/* A body that is not what its Content-Type says is 400 before the handler runs. */
static void broken_input_is_refused(void **state) {
    (void)state;
    load_or_fail(
        "route('echo', 'json', function(args) log('error', 'ran') return 200, args end)\n");
    assert_non_null(strstr(rig_post(&rig, "echo", "{\"a\":1,}"), "\"code\":\"bad_json\"}"));
    assert_int_equal(rig.call.reply.status, 400);
    assert_int_equal(rig.verdict, PROC_ROLLBACK);
    assert_non_null(strstr(rig_post(&rig, "echo", "{\"a\":1,\"a\":2}"), "bad_json"));
    assert_non_null(strstr(rig_get(&rig, "echo?a=%zz"), "bad_query"));
    assert_non_null(strstr(
        rig_request(&rig, "POST", "echo", "application/x-www-form-urlencoded", SLICE("a=%4")),
        "bad_form"));
}

/* req shows the request; a req kept from an earlier one shows nothing of this one. */
static void req_shows_the_request(void **state) {
    (void)state;
    load_or_fail(
        "route('show/:x', 'json', function(args, req)\n"
        "  return 200, {req.method, req.path, req.query, req.json, req.headers.host, "
        "req.headers['content-type'], req.cookies, req.body, req.remote, req.id, req.form,\n"
        "    req.nothing == nil}\nend)\n"
        "local kept\n"
        "route('keep', 'json', function(args, req) kept = req return 200, req.path end)\n"
        "route('peek', 'json', function() return 200, {kept.path, kept.id == nil} end)\n"
        "route('pairs', 'json', function(args, req)\n"
        "  local n = 0 for k, v in pairs(req) do n = n + 1 end return 200, n end)\n");
    assert_string_equal(rig_post(&rig, "show/1%2F2?q=1", "{\"a\":[]}"),
        "200 [\"POST\",\"show/1%2F2\",{\"q\":\"1\"},{\"a\":[]},\"localhost\",\"application/json\","
        "{\"a\":\"1\",\"b\":\"two\"},\"{\\\"a\\\":[]}\",\"127.0.0.1:5000\",\"req-1\",{},true]");
    assert_string_equal(rig_get(&rig, "keep"), "200 \"keep\"");
    assert_string_equal(rig_get(&rig, "peek"), "200 [\"keep\",true]");
    assert_string_equal(rig_get(&rig, "pairs"), "200 9"); /* all but json, which is nil */
}

/* Each attempt gets fresh args, however the last one changed them. */
static void args_are_fresh_in_each_attempt(void **state) {
    (void)state;
    load_or_fail("route('change', 'json', function(args)\n"
                 "  args.list[1] = args.list[1] + 1 args.seen = (args.seen or 0) + 1\n"
                 "  tostring(setmetatable({}, {__tostring = function() get('k') return '' end}))\n"
                 "  return 200, args\nend)\n");
    rig.remote = true;
    assert_string_equal(
        rig_post(&rig, "change", "{\"list\":[1]}"), "200 {\"list\":[2],\"seen\":1}");
    assert_int_equal(rig.reruns, 1);
}

/* Static parts win over parameters; methods choose between routes; HEAD goes to GET's. */
static void routes_match(void **state) {
    (void)state;
    load_or_fail("local function say(what) return function(args) return 200, {what, args} end end\n"
                 "route('a/:x', 'json', say 'param')\n"
                 "route('a/b', 'json', say 'static')\n"
                 "route('a/b/:y', 'json', say 'below')\n"
                 "route(':p/c/d', 'json', say 'tail')\n"
                 "route('m', 'json', {method = 'GET'}, say 'get')\n"
                 "route('m', 'json', {method = {'POST', 'put'}}, say 'post')\n");
    assert_string_equal(rig_get(&rig, "a/b"), "200 [\"static\",{}]");
    assert_string_equal(rig_get(&rig, "a/c"), "200 [\"param\",{\"x\":\"c\"}]");
    assert_string_equal(rig_get(&rig, "a/%62"), "200 [\"static\",{}]");
    assert_string_equal(rig_get(&rig, "a/x%2Fy"), "200 [\"param\",{\"x\":\"x/y\"}]");
    assert_string_equal(rig_get(&rig, "a/b/z"), "200 [\"below\",{\"y\":\"z\"}]");
    assert_string_equal(rig_get(&rig, "a/c/d"), "200 [\"tail\",{\"p\":\"a\"}]");
    assert_string_equal(rig_get(&rig, "a/c/e"), "404");
    assert_string_equal(rig_get(&rig, "a"), "404");
    assert_string_equal(rig_get(&rig, "a/"), "404");
    assert_string_equal(rig_get(&rig, "a//b"), "404");
    assert_string_equal(rig_get(&rig, "a/%zz"), "404");
    assert_string_equal(rig_get(&rig, ""), "404");
    assert_string_equal(rig_get(&rig, "m"), "200 [\"get\",{}]");
    assert_string_equal(rig_post(&rig, "m", "{}"), "200 [\"post\",{}]");
    assert_string_equal(rig_request(&rig, "HEAD", "m", "", SLICE("")), "200 [\"get\",{}]");
    assert_string_equal(
        rig_request(&rig, "DELETE", "m", "", SLICE("")), "405 GET, POST, PUT, HEAD");
    struct script_route_info info;
    assert_true(lua_script_engine.route_at(rig.app, 5, &info));
    assert_true(slice_equal(info.methods, SLICE("POST, PUT")));
    assert_true(slice_equal(info.pattern, SLICE("m")));
    assert_int_equal(info.line, 7);
    assert_false(lua_script_engine.route_at(rig.app, 6, &info));
}

/* Status, headers and body go out as the handler gave them. */
static void replies_are_made(void **state) {
    (void)state;
    load_or_fail(
        "route('html', 'html', function() return 200, '<p>hi</p>' end)\n"
        "route('text', 'text', function() return 201, 42 end)\n"
        "route('none', 'json', function() return 204 end)\n"
        "route('dropped', 'json', function() return 204, {1} end)\n"
        "route('null', 'json', function() return 200, json.null end)\n"
        "route('headers', 'json', function()\n"
        "  return 200, 1, {['Set-Cookie'] = {'a=1', 'b=2'}} end)\n"
        "route('type', 'text', function() return 200, 'x', {['content-TYPE'] = 'text/csv'} end)\n"
        "route('go', 'html', function() return redirect('/x') end)\n"
        "route('go303', 'json', function() return redirect('/x?y=1', 303) end)\n"
        "route('version', 'json', function() set('k', 1) return 200, get('k') end)\n"
        "route('abort', 'text', function() set('lost', 1) abort(409, 'no', {['X-Why'] = 'no'}) "
        "end)\n");
    assert_string_equal(rig_get(&rig, "html"), "200 <p>hi</p>");
    assert_string_equal(rig.call.reply.content_type, "text/html; charset=utf-8");
    assert_string_equal(rig_get(&rig, "text"), "201 42");
    assert_string_equal(rig.call.reply.content_type, "text/plain; charset=utf-8");
    assert_string_equal(rig_get(&rig, "none"), "204 ");
    assert_null(rig.call.reply.content_type);
    assert_string_equal(rig_get(&rig, "dropped"), "204 ");
    assert_string_equal(rig_get(&rig, "null"), "200 null");
    assert_string_equal(rig.call.reply.content_type, "application/json");
    assert_string_equal(rig_get(&rig, "headers"), "200 1");
    assert_string_equal(header_text(), "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n");
    assert_string_equal(rig_get(&rig, "type"), "200 x");
    assert_string_equal(header_text(), "content-TYPE: text/csv\r\n");
    assert_null(rig.call.reply.content_type);
    assert_string_equal(rig_get(&rig, "go"), "302 ");
    assert_string_equal(header_text(), "Location: /x\r\n");
    assert_string_equal(rig_get(&rig, "go303"), "303 ");
    assert_string_equal(rig_get(&rig, "version"), "200 1");
    assert_string_equal(rig_get(&rig, "abort"), "409 no");
    assert_string_equal(header_text(), "X-Why: no\r\n");
    assert_int_equal(rig.store.count, 1);
}

/* A reply that breaks the rules is a handler error, and nothing is written. */
static void bad_replies_are_handler_errors(void **state) {
    (void)state;
    static const char *const replies[] = {
        "",
        "return",
        "return nil",
        "return {}",
        "return '200'",
        "return 200.0",
        "return 199",
        "return 600",
        "return 200, print",
        "return 200, {0/0}",
        "return 200, 'x', 'y'",
        "return 200, 'x', {['bad name'] = '1'}",
        "return 200, 'x', {[''] = '1'}",
        "return 200, 'x', {['X-A'] = 'a\\r\\nb'}",
        "return 200, 'x', {['X-A'] = 'a\\0'}",
        "return 200, 'x', {['X-A'] = {}, 'y'}",
        "return 200, 'x', {['X-A'] = true}",
        "return 200, 'x', {['Content-Length'] = '1'}",
        "return 200, 'x', {['transfer-encoding'] = 'chunked'}",
        "return 200, 'x', {['Connection'] = 'close'}",
        "return redirect('/a\\n')",
        "return redirect('/a', 200)",
        "abort()",
        "abort(1000)",
        "error()",
        "error({code = 1})",
        "error(setmetatable({}, {__tostring = function() while true do end end}))",
        "local x = nil + 1",
    };
    struct buf source;
    buf_init(&source, SIZE_MAX);
    for (size_t i = 0; i < sizeof replies / sizeof replies[0]; i++)
        buf_printf(
            &source, "route('r%zu', 'json', function() set('k', 1) %s end)\n", i, replies[i]);
    buf_append_text(&source, "route('html', 'html', function() return 200, {} end)\n");
    buf_append_byte(&source, '\0');
    load_or_fail(source.data);
    buf_free(&source);
    for (size_t i = 0; i < sizeof replies / sizeof replies[0]; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "r%zu", i);
        const char *answer = rig_get(&rig, name);
        if (strcmp(answer, "FAIL handler error") != 0)
            fail_msg("%s\n  gave %s", replies[i], answer);
        assert_int_equal(rig.call.reply.body.len, 0);
    }
    assert_string_equal(rig_get(&rig, "html"), "FAIL handler error");
    assert_int_equal(rig.store.count, 0);
}

/* first_run leaves its marker; without a function there is nothing to mark. */
static void lifecycle_functions_run(void **state) {
    (void)state;
    load_or_fail(
        "on('first_run', function() incr('runs') end)\n"
        "on('start', function() incr('starts') error('no') end)\n"
        "route('runs', 'json', function() return 200, {get('runs'), get('starts')} end)\n");
    rig.remote = true;
    assert_string_equal(rig_first_run(&rig), "200 ");
    assert_int_equal(rig.waits, 1);
    assert_true(rig.txn.first_run);
    rig.call.procedure = lua_script_engine.on_start;
    assert_string_equal(rig_run_call(&rig), "FAIL handler error");
    assert_string_equal(rig_get(&rig, "runs"), "200 [1]");
    rig_close(&rig);
    rig.txn.first_run = false;
    load_or_fail("route('x', 'json', print)");
    assert_string_equal(rig_first_run(&rig), "200 ");
    assert_false(rig.txn.first_run);
    rig.call.procedure = lua_script_engine.on_start;
    assert_string_equal(rig_run_call(&rig), "200 ");
}

/* Log lines are written when the attempt stands; those of one that ran again are not. */
static void log_lines_belong_to_the_attempt_that_stands(void **state) {
    (void)state;
    load_or_fail("route('log', 'json', function()\n"
                 "  log('warn', 'looking', {a = 1}) print('x', 2)\n"
                 "  tostring(setmetatable({}, {__tostring = function() get('k') return '' end}))\n"
                 "  return 200\nend)\n"
                 "route('flood', 'json', function()\n"
                 "  for i = 1, 1000 do log('error', ('x'):rep(1000)) end return 200 end)\n");
    char path[128], text[4096];
    (void)snprintf(path, sizeof path, "%s/stderr", rig.folder);
    int kept = dup(2);
    int file = open(path, O_RDWR | O_CREAT, 0600);
    assert_true(kept >= 0 && file >= 0 && dup2(file, 2) == 2);
    rig.remote = true;
    char answer[16], flooded[16];
    (void)snprintf(answer, sizeof answer, "%s", rig_get(&rig, "log"));
    unsigned reruns = rig.reruns;
    (void)snprintf(flooded, sizeof flooded, "%s", rig_get(&rig, "flood"));
    assert_int_equal(dup2(kept, 2), 2);
    ssize_t len = pread(file, text, sizeof text - 1, 0);
    close(kept);
    close(file);
    assert_true(len > 0);
    text[len] = '\0';
    assert_string_equal(answer, "200 ");
    assert_int_equal(reruns, 1);
    const char *first = strstr(text, "looking");
    assert_non_null(first);
    assert_non_null(strstr(first, "{\"a\":1}"));
    assert_null(strstr(first + 1, "looking"));
    assert_non_null(strstr(text, "req-1"));
    assert_string_equal(flooded, "200 ");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(routes_come_in_any_order, setup, teardown),
        cmocka_unit_test_setup_teardown(args_are_merged_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(multipart_fields_are_args, setup, teardown),
        cmocka_unit_test_setup_teardown(broken_input_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(req_shows_the_request, setup, teardown),
        cmocka_unit_test_setup_teardown(args_are_fresh_in_each_attempt, setup, teardown),
        cmocka_unit_test_setup_teardown(routes_match, setup, teardown),
        cmocka_unit_test_setup_teardown(replies_are_made, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_replies_are_handler_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(
            log_lines_belong_to_the_attempt_that_stands, setup, teardown),
        cmocka_unit_test_setup_teardown(lifecycle_functions_run, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
