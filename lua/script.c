#include "lua/script.h"

#include <assert.h>

#include "lua/check.h"
#include "lua/run.h"
#include "lua/test_run.h"
#include "lua/vm.h"

static enum status app_open(
    const struct script_options *options, struct script_app **app_out, struct buf *error) {
    struct script_app *app = script_app_create(options);
    if (!app) {
        buf_append_text(error, "out of memory");
        return ST_NOMEM;
    }
    struct script_vm *vm = NULL;
    app->learning = true;
    enum status status = script_vm_create(app, 0, &vm, error);
    app->learning = false;
    if (status == ST_OK && options->checking)
        status = script_check_globals(vm);
    script_vm_destroy(vm);
    if (status != ST_OK) {
        script_app_destroy(app);
        return status;
    }
    *app_out = app;
    return ST_OK;
}

static enum status vm_open(
    struct script_app *app, unsigned shard, struct script_vm **vm, struct buf *error) {
    return script_vm_create(app, shard, vm, error);
}

static size_t vm_bytes(const struct script_vm *vm) {
    return vm->heap.bytes;
}

static enum route_match match(const struct script_app *app, struct slice method, struct slice path,
    struct request *request, struct buf *scratch, struct buf *allow) {
    return route_find(&app->routes, method, path, request, scratch, allow);
}

static struct slice slice_of_text(const char *text) {
    return slice_of(text, strlen(text));
}

static bool route_at(const struct script_app *app, unsigned index, struct script_route_info *info) {
    if (index >= app->routes.count)
        return false;
    const struct script_route *route = app->routes.routes[index];
    *info = (struct script_route_info){.pattern = slice_of_text(route->pattern),
        .kind = slice_of_text(route_kind_name(route->kind)),
        .methods = slice_of_text(route->methods),
        .file = slice_of_text(route->file),
        .line = route->line};
    return true;
}

static bool problem_at(const struct script_app *app, unsigned index, struct slice *text) {
    const struct template_set *set = app->templates;
    for (uint32_t i = 0; i < set->count; i++)
        if (!set->entries[i].template && index-- == 0) {
            *text = slice_of_text(set->entries[i].error);
            return true;
        }
    const char *at = app->problems.data, *end = at + app->problems.len;
    for (; at < end; at += strlen(at) + 1)
        if (index-- == 0) {
            *text = slice_of_text(at);
            return true;
        }
    return false;
}

static unsigned route_index(const struct script_route *route) {
    return route->index;
}

const struct script_engine lua_script_engine = {.app_open = app_open,
    .app_close = script_app_destroy,
    .vm_open = vm_open,
    .vm_close = script_vm_destroy,
    .vm_bytes = vm_bytes,
    .match = match,
    .route_at = route_at,
    .problem_at = problem_at,
    .route_index = route_index,
    .handler = &script_handler,
    .first_run = &script_first_run,
    .on_start = &script_on_start,
    .tester = &script_tester};
