/* test, call and expect: the tests of an application, and what they see of it.
 *
 * Every VM knows the three names; test does nothing, and the others say that they work only in a
 * test. In the machine of a test (SCRIPT_VM_OF_TEST) they work, and get, set, delete, incr, range
 * and prefix are transactions of their own. All that is written in Lua over one function,
 * `exchange`, which stops the test until its request is answered.
 *
 * Threads: the VM's. Errors: Lua errors. */
#ifndef CONCAVE_LUA_TEST_LIB_H
#define CONCAVE_LUA_TEST_LIB_H

#include "lua/vm.h"
#include "shard/script_test.h"

/* The shard number of a machine in which a test runs. */
#define SCRIPT_VM_OF_TEST UINT_MAX

#define SCRIPT_TESTS_MAX 4096u

/* A test of the application, as learned at the first load. */
struct script_app_test {
    char *name;
    char *file;
    unsigned line;
};

struct script_test {
    struct script_vm *vm;
    struct attempt *attempt;
    struct fault fault;
    struct script_test_request request; /* what it waits for; into its stack */
    const struct reply *reply;          /* the answer */
};

/* Adds test, call and expect to the table of globals on top of the stack. */
void script_open_tests(lua_State *L);
/* In a test's machine, before the application is loaded: makes them work. */
void script_enable_tests(lua_State *L);

#endif
