/* Arena: pieces are zeroed, aligned and bounded, and a reset gives the memory back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/arena.h"

static void pieces_are_zeroed_aligned_and_apart(void **state) {
    (void)state;
    struct arena arena;
    arena_init(&arena, SIZE_MAX / 2);
    for (int round = 0; round < 2; round++) {
        char *before = NULL;
        for (size_t bytes = 1; bytes < 3000; bytes += 7) {
            char *piece = arena_alloc(&arena, bytes);
            assert_non_null(piece);
            assert_int_equal((uintptr_t)piece % _Alignof(max_align_t), 0);
            for (size_t i = 0; i < bytes; i++)
                assert_int_equal(piece[i], 0);
            memset(piece, 'x', bytes);
            assert_ptr_not_equal(piece, before);
            before = piece;
        }
        arena_reset(&arena); /* the kept chunk is dirty: the second round must not see it */
    }
    arena_free(&arena);
}

static void the_bound_is_held(void **state) {
    (void)state;
    struct arena arena;
    arena_init(&arena, 10000);
    assert_non_null(arena_alloc(&arena, 9000));
    assert_null(arena_alloc(&arena, 2000));
    assert_true(arena.total <= 10000);
    arena_free(&arena);
    assert_null(arena_alloc(&arena, SIZE_MAX));
    arena_free(&arena);
}

static void a_reset_keeps_one_small_chunk(void **state) {
    (void)state;
    struct arena arena;
    arena_init(&arena, SIZE_MAX / 2);
    assert_non_null(arena_alloc(&arena, 10));
    assert_non_null(arena_alloc(&arena, 1000000));
    arena_reset(&arena);
    assert_true(arena.total <= 4096);
    arena_free(&arena);
    assert_int_equal(arena.total, 0);
}

static void copies_are_copies(void **state) {
    (void)state;
    struct arena arena;
    char text[] = "text";
    arena_init(&arena, SIZE_MAX / 2);
    struct slice copy = arena_copy(&arena, slice_of(text, 4));
    text[0] = 'n';
    assert_true(slice_equal(copy, SLICE("text")));
    assert_non_null(arena_copy(&arena, slice_of(NULL, 0)).data);
    arena_free(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_zeroed_aligned_and_apart),
        cmocka_unit_test(the_bound_is_held),
        cmocka_unit_test(a_reset_keeps_one_small_chunk),
        cmocka_unit_test(copies_are_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
