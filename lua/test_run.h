/* Runs the tests of an application, step by step: struct script_tester (shard/script_test.h). */
#ifndef CONCAVE_LUA_TEST_RUN_H
#define CONCAVE_LUA_TEST_RUN_H

#include "shard/script_test.h"

extern const struct script_tester script_tester;

#endif
