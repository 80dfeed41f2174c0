/* memory_look tells the end of an overload, once, and nothing else from it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/memory.h"

static void the_end_of_an_overload_is_told_once(void **state) {
    (void)state;
    uint64_t most = 0;
    assert_false(memory_look(MEMORY_OVERLOAD_BYTES * 2, &most));
    assert_false(memory_look(MEMORY_OVERLOAD_BYTES, &most));
    assert_false(memory_look(MEMORY_OVERLOAD_BYTES / 2, &most)); /* still a quarter */
    assert_true(memory_look(MEMORY_OVERLOAD_BYTES / 2 - 1, &most));
    assert_false(memory_look(0, &most));
    assert_false(memory_look(MEMORY_OVERLOAD_BYTES, &most));
    assert_true(memory_look(0, &most));
    assert_false(memory_look(0, &most));
}

static void ordinary_traffic_is_left_alone(void **state) {
    (void)state;
    uint64_t most = 0;
    for (unsigned i = 0; i < 100; i++)
        assert_false(memory_look(i % 2 ? MEMORY_OVERLOAD_BYTES - 1 : 0, &most));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_end_of_an_overload_is_told_once),
        cmocka_unit_test(ordinary_traffic_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
