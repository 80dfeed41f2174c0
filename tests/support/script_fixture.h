/* The fixture of the tests of Lua applications: one rig (script_rig.h), fresh for each test. */
#ifndef CONCAVE_TESTS_SUPPORT_SCRIPT_FIXTURE_H
#define CONCAVE_TESTS_SUPPORT_SCRIPT_FIXTURE_H

#include "tests/support/script_rig.h"

static struct rig rig;

static int setup(void **state) {
    (void)state;
    rig_init(&rig);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    rig_free(&rig);
    return 0;
}

#endif
