/* A Lua machine for the fuzz targets of lua/, made once and used for all inputs: C functions are
 * called in it as they are under a request, but on its main coroutine, where nothing can yield.
 *
 * A header with definitions; include it in one file of a program. Ownership: the machine lives as
 * long as the process. Threads: one. Errors: checks. */
#ifndef CONCAVE_TESTS_FUZZ_VM_H
#define CONCAVE_TESTS_FUZZ_VM_H

#include "lua/vm.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/script_rig.h"

static struct rig fuzz_rig;
static struct attempt fuzz_attempt;

/* The machine; at the first call it is made. */
static inline struct script_vm *fuzz_vm(void) {
    if (fuzz_rig.vm)
        return fuzz_rig.vm;
    rig_init(&fuzz_rig);
    const char *error = rig_load(&fuzz_rig, "");
    if (error)
        fprintf(stderr, "%s\n", error);
    FUZZ_CHECK(error == NULL);
    char path[128];
    (void)snprintf(path, sizeof path, "%s/app.lua", fuzz_rig.folder);
    FUZZ_CHECK(unlink(path) == 0 && rmdir(fuzz_rig.folder) == 0);
    buf_init(&fuzz_attempt.names, SIZE_MAX);
    buf_init(&fuzz_attempt.log, SIZE_MAX);
    return fuzz_rig.vm;
}

/* Calls a function that lies on the stack below its arguments, in an attempt of its own with this
 * budget: LUA_OK with the results, or an error with its object. */
static inline int fuzz_vm_call(lua_State *L, int args, int results, uint64_t budget_ns) {
    struct script_vm *vm = script_vm_of(L);
    struct buf names = fuzz_attempt.names, log = fuzz_attempt.log;
    fuzz_attempt = (struct attempt){.vm = vm,
        .generation = vm->generation,
        .deadline_ns = clock_monotonic_ns() + budget_ns,
        .names = names,
        .log = log};
    vm->current = &fuzz_attempt;
    vm->running = L;
    int result = lua_pcall(L, args, results, 0);
    vm->current = NULL;
    vm->running = NULL;
    FUZZ_CHECK(fuzz_attempt.doom == DOOM_NONE || fuzz_attempt.doom == DOOM_TIMEOUT);
    return result;
}

#endif
