/* The program: commands, and the one place that knows the script engine. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/diag.h"
#include "lua/script.h"
#include "net/memory.h"
#include "net/options.h"
#include "net/server.h"
#include "net/tools.h"

extern char **environ;

/* Main waits for these; every thread is started with them blocked. */
static void block_signals(void) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static int complain(const char *text) {
    fprintf(stderr, "concave: %s\n", text);
    return EXIT_USAGE;
}

static void list_routes(const struct script_app *app) {
    struct script_route_info info;
    for (unsigned i = 0; lua_script_engine.route_at(app, i, &info); i++) {
        struct slice methods = info.methods.len > 0 ? info.methods : SLICE("any method");
        printf("%.*s /fn/%.*s %.*s %.*s:%u\n", (int)methods.len, methods.data,
            (int)info.pattern.len, info.pattern.data, (int)info.kind.len, info.kind.data,
            (int)info.file.len, info.file.data, info.line);
    }
}

/* What `check` finds in an application that could be opened; true if there is nothing. */
static bool list_problems(const struct script_app *app) {
    struct slice text;
    unsigned count = 0;
    for (; lua_script_engine.problem_at(app, count, &text); count++)
        fprintf(stderr, "%.*s\n", (int)text.len, text.data);
    return count == 0;
}

static int check(const struct options *options) {
    if (!options->app)
        return complain("check: --app FILE is needed");
    struct script_options script = {
        .file = options->app,
        .resources = options->resources,
        .vm_bytes_max = options->lua_memory_max,
        .key_bytes_max = options->key_bytes_max,
        .value_bytes_max = options->value_bytes_max,
        .shards = 1,
        .checking = true,
    };
    struct script_app *app = NULL;
    struct buf error;
    buf_init(&error, 64u << 10);
    enum status status = lua_script_engine.app_open(&script, &app, &error);
    if (status == ST_OK) {
        list_routes(app);
        if (!list_problems(app))
            status = ST_INVALID;
        lua_script_engine.app_close(app);
    } else {
        struct slice text = error.len ? buf_slice(&error) : SLICE("out of memory");
        fprintf(stderr, "%.*s\n", (int)text.len, text.data);
    }
    buf_free(&error);
    return status == ST_OK ? EXIT_FINE : EXIT_BAD;
}

static int help(const struct options *options) {
    struct buf text;
    buf_init(&text, 1u << 20);
    options_help(options, &text);
    fwrite(text.data, 1, text.len, stdout);
    buf_free(&text);
    return EXIT_FINE;
}

static int run(const struct options *options) {
    switch (options->command) {
    case COMMAND_SERVE:
        memory_configure();
        diag_configure(options->log_level, options->log_format);
        block_signals();
        return server_run(options, &lua_script_engine);
    case COMMAND_CHECK:
        diag_configure(options->log_level, options->log_format);
        return check(options);
    case COMMAND_TEST:
        diag_configure(options->log_level, options->log_format);
        return tool_test(options, &lua_script_engine);
    case COMMAND_VERIFY:
        return tool_verify(options);
    case COMMAND_DUMP:
        return tool_dump(options);
    case COMMAND_LOAD:
        return tool_load(options);
    case COMMAND_VERSION:
        printf("concave %s\n", CONCAVE_VERSION);
        return EXIT_FINE;
    case COMMAND_HELP:
        return help(options);
    }
    return EXIT_USAGE;
}

int main(int argc, char **argv) {
    struct options options;
    struct buf error;
    buf_init(&error, 64u << 10);
    int code;
    enum status status = options_parse(&options, argc, argv, environ, &error);
    if (status == ST_OK) {
        code = run(&options);
    } else {
        struct slice text = error.len ? buf_slice(&error) : SLICE("out of memory");
        fprintf(stderr, "concave: %.*s\n", (int)text.len, text.data);
        code = status == ST_NOMEM ? EXIT_BAD : EXIT_USAGE;
    }
    options_free(&options);
    buf_free(&error);
    return code;
}
