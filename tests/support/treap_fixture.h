/* The fixture of the treap's unit tests: an empty treap for each. */
#ifndef CONCAVE_TESTS_SUPPORT_TREAP_FIXTURE_H
#define CONCAVE_TESTS_SUPPORT_TREAP_FIXTURE_H

#include "shard/treap.h"

static int setup(void **state) {
    struct treap *treap;
    assert_int_equal(treap_create(42, &treap), ST_OK);
    *state = treap;
    return 0;
}

static int teardown(void **state) {
    treap_destroy(*state);
    return 0;
}

#endif
