/* `concave test FILE...`: runs the test() blocks of applications, each on an empty store in memory,
 * and prints a line a test and a summary. */
#include <inttypes.h>
#include <stdio.h>

#include "core/clock.h"
#include "net/mem_server.h"
#include "net/server.h"
#include "net/tools.h"
#include "shard/script_test.h"

/* Handlers' errors of one test that are shown if it fails. */
#define HANDLER_FAULTS_MAX 5u

struct session {
    const struct options *options;
    const struct script_engine *engine;
    unsigned passed, failed;
};

/* A test that runs, and what there is to be said if it fails. */
struct test_run {
    const struct session *session;
    struct script_app *app;
    struct buf report; /* of handlers that failed */
    unsigned handler_faults;
};

/* ---- text ---- */

/* Appends each line of the text, indented. */
static void append_indented(struct buf *out, struct slice text, const char *indent) {
    while (text.len > 0) {
        const char *newline = memchr(text.data, '\n', text.len);
        size_t len = newline ? (size_t)(newline - text.data) : text.len;
        buf_append_text(out, indent);
        buf_append_slice(out, slice_of(text.data, len));
        buf_append_byte(out, '\n');
        text = slice_of(text.data + len + (newline != NULL), text.len - len - (newline != NULL));
    }
}

/* A traceback of one line only repeats the place. */
static void append_fault(struct buf *out, const struct fault *fault) {
    struct slice trace = buf_slice(&fault->traceback);
    const char *newline = trace.len ? memchr(trace.data, '\n', trace.len) : NULL;
    append_indented(out, buf_slice(&fault->message), "     ");
    append_indented(out, buf_slice(&fault->source), "     ");
    if (newline && newline + 1 < trace.data + trace.len)
        append_indented(out, trace, "       ");
}

static void print_buf(const struct buf *text) {
    fwrite(text->data ? text->data : "", 1, text->len, stdout);
}

/* ---- one test ---- */

static void note_handler_fault(
    struct test_run *run, const struct script_test_request *request, const struct call *call) {
    if (call->outcome != ST_HANDLER || run->handler_faults++ >= HANDLER_FAULTS_MAX)
        return;
    buf_printf(&run->report, "     the handler of %.*s %.*s failed (500):\n",
        (int)request->method.len, request->method.data, (int)request->target.len,
        request->target.data);
    append_fault(&run->report, &call->fault);
}

/* Steps the test to its end, answering its requests. */
static enum script_test_step step_through(
    struct test_run *run, struct mem_server *server, struct script_test *test) {
    const struct script_tester *tester = run->session->engine->tester;
    struct script_test_request request;
    struct exchange *exchange = NULL;
    enum script_test_step step = tester->step(test, NULL, &request);
    while (step == SCRIPT_TEST_REQUEST) {
        struct mem_request sent = {request.method, request.target, request.headers, request.body};
        exchange = mem_server_call(server, &sent);
        if (!exchange) {
            buf_append_text(&run->report, "     out of memory\n");
            return SCRIPT_TEST_FAILED;
        }
        note_handler_fault(run, &request, &exchange->call);
        step = tester->step(test, &exchange->call.reply, &request);
        mem_server_give(server, exchange);
    }
    return step;
}

/* Runs first_run and start. What goes wrong is told in run->report. */
static bool start_server(struct test_run *run, struct mem_server *server) {
    const char *failed;
    struct fault fault;
    fault_init(&fault);
    enum status status = mem_server_start(server, &failed, &fault);
    if (status != ST_OK) {
        buf_printf(&run->report, "     on(\"%s\") failed: %s\n", failed, status_text(status));
        append_fault(&run->report, &fault);
    }
    fault_free(&fault);
    return status == ST_OK;
}

static bool run_test(struct test_run *run, unsigned index) {
    const struct script_tester *tester = run->session->engine->tester;
    struct mem_server *server = NULL;
    struct script_test *test = NULL;
    struct buf error;
    buf_init(&error, 64u << 10);
    bool passed = false;
    enum status status =
        mem_server_open(run->session->options, run->session->engine, run->app, &server, &error);
    if (status == ST_OK)
        status = tester->open(run->app, index, &test, &error);
    if (status != ST_OK) {
        if (error.len == 0)
            buf_append_text(&error, status_text(status));
        append_indented(&run->report, buf_slice(&error), "     ");
    } else if (start_server(run, server)) {
        passed = step_through(run, server, test) == SCRIPT_TEST_PASSED;
        if (!passed) { /* the test's own error before those of handlers */
            struct buf handlers = run->report;
            buf_init(&run->report, handlers.max);
            append_fault(&run->report, tester->fault(test));
            buf_append_slice(&run->report, buf_slice(&handlers));
            buf_free(&handlers);
        }
    }
    tester->close(test);
    mem_server_close(server);
    buf_free(&error);
    return passed;
}

static void run_and_tell(
    struct session *session, struct script_app *app, unsigned index, struct slice name) {
    struct test_run run = {.session = session, .app = app};
    buf_init(&run.report, 1u << 20);
    uint64_t started_ns = clock_monotonic_ns();
    bool passed = run_test(&run, index);
    double ms = (double)(clock_monotonic_ns() - started_ns) / (double)NS_PER_MS;
    printf("%s %.*s (%.1f ms)\n", passed ? "ok  " : "FAIL", (int)name.len, name.data, ms);
    if (passed) {
        session->passed++;
    } else {
        session->failed++;
        print_buf(&run.report);
    }
    fflush(stdout);
    buf_free(&run.report);
}

/* ---- the files ---- */

static bool is_wanted(const struct session *session, struct slice name) {
    const char *filter = session->options->filter;
    return !filter || memmem(name.data, name.len, filter, strlen(filter)) != NULL;
}

static void run_file(struct session *session, const char *file) {
    const struct options *options = session->options;
    struct script_options script = {.file = file,
        .resources = options->resources,
        .vm_bytes_max = options->lua_memory_max,
        .key_bytes_max = options->key_bytes_max,
        .value_bytes_max = options->value_bytes_max,
        .shards = options->shards,
        .testing = true};
    struct script_app *app = NULL;
    struct buf error;
    buf_init(&error, 64u << 10);
    printf("%s\n", file);
    if (session->engine->app_open(&script, &app, &error) != ST_OK) {
        printf("FAIL the file cannot be loaded\n     %.*s\n", (int)error.len,
            error.data ? error.data : "");
        session->failed++;
        buf_free(&error);
        return;
    }
    struct script_test_info info;
    unsigned count = 0;
    for (; session->engine->tester->test_at(app, count, &info); count++)
        if (is_wanted(session, info.name))
            run_and_tell(session, app, count, info.name);
    if (count == 0)
        printf("     it has no tests: test(\"name\", function() ... end)\n");
    session->engine->app_close(app);
    buf_free(&error);
}

int tool_test(const struct options *options, const struct script_engine *engine) {
    struct session session = {.options = options, .engine = engine};
    uint64_t started_ns = clock_monotonic_ns();
    for (unsigned i = 0; i < options->file_count; i++)
        run_file(&session, options->files[i]);
    double ms = (double)(clock_monotonic_ns() - started_ns) / (double)NS_PER_MS;
    printf("%u passed, %u failed in %.0f ms\n", session.passed, session.failed, ms);
    if (session.passed + session.failed > 0)
        return session.failed == 0 ? EXIT_FINE : EXIT_BAD;
    fprintf(stderr, "concave: no test %s\n", options->filter ? "has such a name" : "was found");
    return EXIT_BAD;
}
