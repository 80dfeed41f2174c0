/* The memory of a Lua state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lua/heap.h"
#include "lua/random.h"

#define BLOCKS 300
#define ROUNDS 60000
#define SEED 7

struct owned {
    unsigned char *data;
    size_t bytes;
    unsigned char mark;
};

static void check_owned(const struct owned *owned) {
    for (size_t i = 0; i < owned->bytes; i++)
        assert_int_equal(owned->data[i], owned->mark);
}

/* Blocks keep their bytes through every resize, never overlap, and all memory comes back. */
static void blocks_keep_their_bytes(void **state) {
    (void)state;
    static struct owned owned[BLOCKS];
    struct heap heap;
    struct random dice;
    heap_init(&heap, SIZE_MAX);
    random_seed(&dice, SEED);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct owned *one = &owned[random_between(&dice, 0, BLOCKS - 1)];
        size_t bytes = (size_t)random_between(&dice, 0, 9) ? (size_t)random_between(&dice, 0, 700)
                                                           : (size_t)random_between(&dice, 0, 5000);
        check_owned(one);
        unsigned char *data = heap_resize(&heap, one->data, one->bytes, bytes);
        assert_int_equal(data == NULL, bytes == 0);
        for (size_t i = 0; i < bytes && i < one->bytes; i++)
            assert_int_equal(data[i], one->mark);
        *one = (struct owned){.data = data, .bytes = bytes, .mark = (unsigned char)round};
        if (bytes)
            memset(data, one->mark, bytes);
    }
    for (unsigned i = 0; i < BLOCKS; i++) {
        check_owned(&owned[i]);
        if (i % 2) /* the others go with the heap */
            (void)heap_resize(&heap, owned[i].data, owned[i].bytes, 0);
    }
    heap_close(&heap);
    assert_int_equal(heap.bytes, 0);
}

/* Past the cap there is nothing, but making a block smaller always works. */
static void the_cap_holds(void **state) {
    (void)state;
    struct heap heap;
    heap_init(&heap, 100000);
    void *large = heap_resize(&heap, NULL, 0, 60000);
    assert_non_null(large);
    assert_null(heap_resize(&heap, NULL, 0, 60000));
    assert_null(heap_resize(&heap, large, 60000, 120000));
    static void *small[10000];
    unsigned count = 0;
    while (count < 10000 && (small[count] = heap_resize(&heap, NULL, 0, 64)) != NULL)
        count++;
    assert_in_range(count, 400, 625);
    assert_true(heap.bytes <= 100000);
    for (unsigned i = 0; i < count; i++) {
        void *smaller = heap_resize(&heap, small[i], 64, 20);
        assert_non_null(smaller);
        (void)heap_resize(&heap, smaller, 20, 0);
    }
    void *less = heap_resize(&heap, large, 60000, 1000);
    assert_non_null(less);
    (void)heap_resize(&heap, less, 1000, 0);
    heap_close(&heap);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_keep_their_bytes),
        cmocka_unit_test(the_cap_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
