/* The tests of an application as `concave test` sees them: test() blocks, run one step at a time.
 *
 * A test function runs in a machine of its own, outside of every transaction. When it calls a route
 * or the store it stops, and whoever steps it makes the request and hands in the reply:
 *
 *     open -> step(NULL) -> (SCRIPT_TEST_REQUEST -> step(reply))* -> PASSED | FAILED -> close
 *
 * Ownership: a request's slices are the test's until the next step; a reply is the caller's.
 * Threads: one. Errors: as said; a test that fails says why in a struct fault. */
#ifndef CONCAVE_SHARD_SCRIPT_TEST_H
#define CONCAVE_SHARD_SCRIPT_TEST_H

#include "shard/script.h"

struct script_test;

struct script_test_info {
    struct slice name;
    struct slice file;
    unsigned line;
};

struct script_test_request {
    struct slice method;  /* "POST" */
    struct slice target;  /* "/fn/user/7?x=1" or "/v1/get?key=k" */
    struct slice headers; /* "Name: value\r\n" each */
    struct slice body;
};

enum script_test_step { SCRIPT_TEST_REQUEST, SCRIPT_TEST_PASSED, SCRIPT_TEST_FAILED };

struct script_tester {
    /* The tests of an application that was opened with script_options.testing; false past the last.
     */
    bool (*test_at)(const struct script_app *app, unsigned index, struct script_test_info *info);
    /* A machine for this test. Errors as script_engine.vm_open. */
    enum status (*open)(
        struct script_app *app, unsigned index, struct script_test **test, struct buf *error);
    /* Begins (reply NULL) or goes on; SCRIPT_TEST_REQUEST fills *request. */
    enum script_test_step (*step)(
        struct script_test *test, const struct reply *reply, struct script_test_request *request);
    /* Why it failed. Lives until close. */
    const struct fault *(*fault)(const struct script_test *test);
    void (*close)(struct script_test *test);
};

#endif
