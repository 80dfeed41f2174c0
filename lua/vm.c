#include "lua/vm.h"

#include <assert.h>
#include <setjmp.h>
#include <stdlib.h>

#include "core/clock.h"
#include "core/diag.h"
#include "lua/doom.h"
#include "lua/fault.h"
#include "lua/load.h"
#include "lua/test_lib.h"

/* Well below the time after which a shard's thread counts as stuck: a VM at its cap is replaced
 * there. */
#define LOAD_NS_MAX (5 * NS_PER_S)
#define HURRY_BYTES ((size_t)1 << 20)

/* Lua's allocator. Memory handed out is work that the count hook does not see (a concatenation is
 * one instruction), so each MiB brings the next hook forward. */
static void *allocate(void *ctx, void *block, size_t old_bytes, size_t bytes) {
    struct script_vm *vm = ctx;
    vm->handed_out += bytes;
    if (vm->handed_out >= HURRY_BYTES) {
        vm->handed_out = 0;
        script_hook_hurry(vm);
    }
    return heap_resize(&vm->heap, block, old_bytes, bytes); /* old_bytes of a new one is its kind */
}

/* An error outside of every protected call: a bug of ours. */
static int panic(lua_State *L) {
    const char *text = lua_tostring(L, -1);
    diag(DIAG_ERROR, "unprotected Lua error: %s", text ? text : "?");
    abort();
}

/* Loads the application into vm->lua, which is fresh. */
static enum status boot(struct script_vm *vm, struct buf *error) {
    struct attempt *loading = &vm->loading;
    *loading = (struct attempt){.vm = vm, .deadline_ns = clock_monotonic_ns() + LOAD_NS_MAX};
    buf_init(&loading->names, SIZE_MAX);
    vm->current = loading;
    vm->running = vm->lua;
    lua_pushcfunction(vm->lua, script_tell_place);
    lua_pushcfunction(vm->lua, script_load);
    int result = lua_pcall(vm->lua, 0, 0, 1);
    buf_free(&loading->names);
    vm->current = NULL;
    vm->running = NULL;
    lua_remove(vm->lua, 1);
    if (result == LUA_OK)
        return ST_OK;
    enum status status = ST_INVALID;
    if (loading->doom == DOOM_TIMEOUT) {
        bool stopped = clock_monotonic_ns() < loading->deadline_ns;
        buf_printf(error, "%s: loading %s", vm->app->name,
            stopped ? "was stopped" : "takes longer than 5 s");
        status = stopped ? ST_CLOSED : ST_INVALID;
    } else if (result == LUA_ERRMEM || loading->doom == DOOM_MEMORY) {
        buf_printf(error, "%s: loading needs more than the %zu bytes of --lua-memory-max",
            vm->app->name, vm->heap.bytes_max);
        status = ST_NOMEM;
    } else {
        const char *text = lua_tostring(vm->lua, -1);
        buf_append_text(error, text ? text : "?");
    }
    return status;
}

/* Throws the state away with all that is in it. Nothing in it owns anything outside of its heap,
 * so there is nothing for lua_close to do, which would walk over every object. */
static void close_state(struct script_vm *vm) {
    vm->running = NULL;
    vm->lua = NULL;
    vm->pool_count = 0;
    heap_close(&vm->heap);
}

static enum status open_state(struct script_vm *vm, struct buf *error) {
    assert(!vm->lua && vm->heap.bytes == 0);
    vm->generation++;
    vm->tuned_bytes = 0;
    vm->handler_count = 0;
    for (unsigned i = 0; i < vm->app->routes.count; i++)
        vm->handlers[i] = LUA_NOREF;
    vm->first_run = vm->start = LUA_NOREF;
    vm->sealed = false;
    vm->lua = lua_newstate(allocate, vm);
    if (!vm->lua) {
        buf_append_text(error, "not enough memory for a Lua state");
        return ST_NOMEM;
    }
    *(struct script_vm **)lua_getextraspace(vm->lua) = vm;
    lua_atpanic(vm->lua, panic);
    script_hook_install(vm->lua);
    enum status status = boot(vm, error);
    if (status != ST_OK)
        close_state(vm);
    return status;
}

/* A machine without a state, to be opened; NULL if memory ran out. */
static struct script_vm *make(struct script_app *app, unsigned shard, struct buf *error) {
    struct script_vm *vm = calloc(1, sizeof *vm);
    int *handlers = calloc(app->routes.count + 1, sizeof *handlers);
    if (!vm || !handlers) {
        free(vm);
        free(handlers);
        buf_append_text(error, "out of memory");
        return NULL;
    }
    vm->app = app;
    vm->shard = shard;
    vm->handlers = handlers;
    vm->test_function = LUA_NOREF;
    heap_init(&vm->heap, app->vm_bytes_max);
    buf_init(&vm->scratch, SIZE_MAX);
    buf_init(&vm->members, SIZE_MAX);
    buf_init(&vm->sorting, SIZE_MAX);
    return vm;
}

static enum status open_fresh(struct script_vm *vm, struct script_vm **vm_out, struct buf *error) {
    if (!vm)
        return ST_NOMEM;
    vm->creating = true;
    enum status status = open_state(vm, error);
    vm->creating = false;
    if (status != ST_OK) {
        script_vm_destroy(vm);
        return status;
    }
    *vm_out = vm;
    return ST_OK;
}

enum status script_vm_create(
    struct script_app *app, unsigned shard, struct script_vm **vm, struct buf *error) {
    return open_fresh(make(app, shard, error), vm, error);
}

enum status script_vm_create_for_test(struct script_app *app, unsigned index,
    struct script_test *test, struct script_vm **vm_out, struct buf *error) {
    struct script_vm *vm = make(app, SCRIPT_VM_OF_TEST, error);
    if (vm) {
        vm->test = test;
        vm->test_index = index;
    }
    return open_fresh(vm, vm_out, error);
}

void script_vm_destroy(struct script_vm *vm) {
    if (!vm)
        return;
    close_state(vm);
    while (vm->free_attempts) {
        struct attempt *attempt = vm->free_attempts;
        vm->free_attempts = attempt->next_free;
        buf_free(&attempt->names);
        buf_free(&attempt->log);
        free(attempt);
    }
    buf_free(&vm->scratch);
    buf_free(&vm->members);
    buf_free(&vm->sorting);
    free(vm->handlers);
    free(vm);
}

void script_vm_replace(struct script_vm *vm) {
    close_state(vm);
    struct buf error;
    buf_init(&error, DIAG_LINE_BYTES_MAX);
    enum status status = open_state(vm, &error);
    if (status == ST_OK)
        diag(DIAG_WARN, "shard %u: the Lua VM was at its memory cap and has been replaced",
            vm->shard);
    else
        diag(DIAG_ERROR, "shard %u: no Lua VM: %.*s", vm->shard, (int)error.len, error.data);
    buf_free(&error);
}

/* ---- coroutines ---- */

static int make_thread(lua_State *L) {
    struct script_thread *thread = lua_touserdata(L, 1);
    thread->state = lua_newthread(L);
    thread->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

bool script_thread_get(struct script_vm *vm, struct script_thread *thread) {
    if (vm->pool_count) {
        *thread = vm->pool[--vm->pool_count];
        return true;
    }
    lua_pushcfunction(vm->lua, make_thread);
    lua_pushlightuserdata(vm->lua, thread);
    bool made = lua_pcall(vm->lua, 1, 0, 0) == LUA_OK;
    if (!made)
        lua_settop(vm->lua, 0);
    return made;
}

void script_thread_put(struct script_vm *vm, struct script_thread thread, bool clean) {
    if (clean && vm->pool_count < SCRIPT_POOL_MAX) {
        assert(lua_gettop(thread.state) == 0);
        vm->pool[vm->pool_count++] = thread;
        return;
    }
    luaL_unref(vm->lua, LUA_REGISTRYINDEX, thread.ref); /* changes existing fields: no allocation */
}

/* ---- attempts ---- */

struct attempt *script_attempt_get(struct script_vm *vm) {
    struct attempt *attempt = vm->free_attempts;
    if (attempt) {
        vm->free_attempts = attempt->next_free;
    } else {
        attempt = calloc(1, sizeof *attempt);
        if (!attempt)
            return NULL;
        buf_init(&attempt->log, SCRIPT_LOG_BYTES_MAX + SCRIPT_LOG_RESERVE);
        buf_init(&attempt->names, SIZE_MAX);
    }
    struct buf log = attempt->log, names = attempt->names;
    *attempt = (struct attempt){.vm = vm, .serial = ++vm->serial, .generation = vm->generation};
    attempt->log = log;
    attempt->names = names;
    return attempt;
}

void script_attempt_put(struct attempt *attempt) {
    struct script_vm *vm = attempt->vm;
    buf_reset(&attempt->log, 4096);
    buf_reset(&attempt->names, SCRIPT_SCRATCH_KEEP);
    attempt->next_free = vm->free_attempts;
    vm->free_attempts = attempt;
}

#ifdef __SANITIZE_THREAD__
/* Debian's liblua throws by way of glibc's __longjmp_chk, which gcc 12's ThreadSanitizer does not
 * know: each Lua error would leave the C functions it left on the sanitizer's own stack for good,
 * until that is full (65,535 frames, then "CHECK failed: sanitizer_stackdepot.cpp"). longjmp it
 * knows. */
__attribute__((visibility("default"))) _Noreturn void __longjmp_chk(jmp_buf target, int value);
void __longjmp_chk(jmp_buf target, int value) {
    longjmp(target, value);
}
#endif
