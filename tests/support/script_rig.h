/* A rig for tests of lua/: an application given as text, one VM, and calls run to their end the way
 * a coordinator would. A header with definitions; see tests/support/fake_txn.h. */
#ifndef CONCAVE_TESTS_SCRIPT_RIG_H
#define CONCAVE_TESTS_SCRIPT_RIG_H

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/clock.h"
#include "lua/script.h"
#include "tests/support/fake_txn.h"

struct rig {
    char folder[64];
    struct script_app *app;
    struct script_vm *vm;
    struct fake_set store;
    struct txn txn;
    struct buf error;
    size_t vm_bytes_max;
    uint64_t budget_ns;
    uint64_t version; /* of the newest commit */
    bool remote;      /* every first access waits */

    /* ---- of the last request ---- */
    struct call call;
    enum verdict verdict;
    unsigned waits, turns, reruns, replacements;
    char *status_and_body; /* "200 {...}", or "FAIL handler error" */
    struct buf scratch, allow;
};

static inline void rig_write_file(struct rig *rig, const char *name, const char *text) {
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", rig->folder, name);
    FILE *file = fopen(path, "w");
    assert(file);
    fputs(text, file);
    fclose(file);
}

static inline void rig_init(struct rig *rig) {
    memset(rig, 0, sizeof *rig);
    strcpy(rig->folder, "/tmp/concave-lua-XXXXXX");
    char *made = mkdtemp(rig->folder);
    assert(made);
    rig->vm_bytes_max = (size_t)64 << 20;
    rig->budget_ns = 20 * NS_PER_S;
    rig->txn.store = &rig->store;
    buf_init(&rig->error, 65536);
    buf_init(&rig->scratch, SIZE_MAX);
    buf_init(&rig->allow, SIZE_MAX);
    buf_init(&rig->call.reply.headers, SIZE_MAX);
    buf_init(&rig->call.reply.body, SIZE_MAX);
}

/* Opens app.lua of the rig's folder; the text of the error, or NULL. */
static inline const char *rig_open(struct rig *rig) {
    char path[128];
    (void)snprintf(path, sizeof path, "%s/app.lua", rig->folder);
    struct script_options options = {.file = path,
        .vm_bytes_max = rig->vm_bytes_max,
        .key_bytes_max = 1024,
        .value_bytes_max = 65536,
        .shards = 1};
    buf_reset(&rig->error, 65536);
    enum status status = lua_script_engine.app_open(&options, &rig->app, &rig->error);
    if (status == ST_OK) {
        status = lua_script_engine.vm_open(rig->app, 0, &rig->vm, &rig->error);
        if (status != ST_OK) {
            lua_script_engine.app_close(rig->app);
            rig->app = NULL;
        }
    }
    if (status == ST_OK)
        return NULL;
    buf_append_byte(&rig->error, '\0');
    return rig->error.data;
}

static inline const char *rig_load(struct rig *rig, const char *source) {
    rig_write_file(rig, "app.lua", source);
    return rig_open(rig);
}

static inline void rig_close(struct rig *rig) {
    if (rig->vm)
        lua_script_engine.vm_close(rig->vm);
    if (rig->app)
        lua_script_engine.app_close(rig->app);
    rig->vm = NULL;
    rig->app = NULL;
}

static inline void rig_free(struct rig *rig) {
    rig_close(rig);
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf %s", rig->folder);
    int failed = system(command);
    assert(!failed);
    fake_txn_reset(&rig->txn);
    fake_clear(&rig->store);
    buf_free(&rig->error);
    buf_free(&rig->scratch);
    buf_free(&rig->allow);
    buf_free(&rig->call.reply.headers);
    buf_free(&rig->call.reply.body);
    free(rig->status_and_body);
}

/* Runs rig->call, which has its procedure and request, until it ends. */
static inline const char *rig_run_call(struct rig *rig) {
    struct call *call = &rig->call;
    const struct procedure *procedure = call->procedure;
    call->deadline_ns = clock_monotonic_ns() + rig->budget_ns;
    if (!call->wall_ns)
        call->wall_ns = UINT64_C(1700000000) * NS_PER_S;
    if (!call->seed)
        call->seed = 42;
    call->replaced = 0;
    buf_reset(&call->reply.headers, SIZE_MAX);
    buf_reset(&call->reply.body, SIZE_MAX);
    rig->waits = rig->turns = rig->reruns = rig->replacements = 0;
    rig->txn.remote = rig->remote;
    rig->txn.calls = 0;
    enum verdict verdict = procedure->start(call, &rig->txn, rig->vm);
    for (;;) {
        if (verdict == PROC_WAIT || verdict == PROC_AGAIN) {
            rig->waits += verdict == PROC_WAIT;
            rig->turns += verdict == PROC_AGAIN;
            verdict = procedure->resume(call, &rig->txn);
        } else if (verdict == PROC_RERUN || verdict == PROC_REPLACED) {
            rig->reruns += verdict == PROC_RERUN;
            rig->replacements += verdict == PROC_REPLACED;
            procedure->drop(call);
            fake_clear(&rig->txn.writes); /* the values asked for stay at hand */
            rig->txn.range_count = rig->txn.ranges_open = 0;
            if (verdict == PROC_RERUN)
                rig->txn.remote = false;
            verdict = procedure->start(call, &rig->txn, rig->vm);
        } else {
            break;
        }
    }
    rig->verdict = verdict;
    if (verdict == PROC_COMMIT)
        fake_commit(&rig->txn, ++rig->version);
    if (verdict == PROC_UNWOUND)
        procedure->drop(call);
    else
        procedure->finish(call, rig->version);
    fake_txn_reset(&rig->txn);
    free(rig->status_and_body);
    int len;
    if (verdict == PROC_UNWOUND)
        len = asprintf(&rig->status_and_body, "UNWOUND");
    else if (verdict == PROC_FAIL)
        len = asprintf(&rig->status_and_body, "FAIL %s", status_text(call->outcome));
    else
        len = asprintf(&rig->status_and_body, "%d %.*s", call->reply.status,
            (int)call->reply.body.len, call->reply.body.data ? call->reply.body.data : "");
    assert(len > 0);
    return rig->status_and_body;
}

/* One request; target is "user/7?x=1". The answer as "200 body", "404", "405 GET" or "FAIL why". */
static inline const char *rig_request(struct rig *rig, const char *method, const char *target,
    const char *content_type, struct slice body) {
    struct request *request = &rig->call.request;
    struct slice path = slice_of(target, strcspn(target, "?"));
    struct request_header headers[] = {
        {SLICE("host"), SLICE("localhost")},
        {SLICE("cookie"), SLICE("a=1; b=two")},
        {SLICE("content-type"), slice_of(content_type, strlen(content_type))},
    };
    static struct request_header kept[3];
    memcpy(kept, headers, sizeof kept);
    *request = (struct request){.method = slice_of(method, strlen(method)),
        .path = path,
        .body = body,
        .remote = SLICE("127.0.0.1:5000"),
        .id = SLICE("req-1"),
        .headers = kept,
        .header_count = content_type[0] ? 3 : 2};
    if (target[path.len] == '?')
        request->query = slice_of(target + path.len + 1, strlen(target) - path.len - 1);
    buf_reset(&rig->scratch, SIZE_MAX);
    buf_reset(&rig->allow, SIZE_MAX);
    enum route_match found = lua_script_engine.match(
        rig->app, request->method, path, request, &rig->scratch, &rig->allow);
    free(rig->status_and_body);
    rig->status_and_body = NULL;
    if (found == ROUTE_UNKNOWN)
        return "404";
    if (found == ROUTE_BAD_METHOD) {
        int len = asprintf(&rig->status_and_body, "405 %.*s", (int)rig->allow.len, rig->allow.data);
        assert(len > 0);
        return rig->status_and_body;
    }
    rig->call.procedure = lua_script_engine.handler;
    return rig_run_call(rig);
}

static inline const char *rig_get(struct rig *rig, const char *target) {
    return rig_request(rig, "GET", target, "", slice_of("", 0));
}

static inline const char *rig_post(struct rig *rig, const char *target, const char *json) {
    return rig_request(rig, "POST", target, "application/json", slice_of(json, strlen(json)));
}

static inline const char *rig_first_run(struct rig *rig) {
    rig->call.request = (struct request){0};
    rig->call.procedure = lua_script_engine.first_run;
    return rig_run_call(rig);
}

#endif
