#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>

struct slice fuzz_copy(const void *data, size_t len) {
    char *copy = malloc(len ? len : 1);
    FUZZ_CHECK(copy != NULL);
    if (len)
        memcpy(copy, data, len);
    return slice_of(copy, len);
}

void fuzz_drop(struct slice copy) {
    free((void *)(uintptr_t)copy.data);
}

struct slice fuzz_take(struct slice *rest, size_t len) {
    struct slice taken = slice_of(rest->data, len < rest->len ? len : rest->len);
    if (taken.len) {
        rest->data += taken.len;
        rest->len -= taken.len;
    }
    return taken;
}

unsigned fuzz_take_byte(struct slice *rest) {
    struct slice byte = fuzz_take(rest, 1);
    return byte.len ? (unsigned char)byte.data[0] : 0;
}

struct slice fuzz_take_field(struct slice *rest) {
    const char *zero = rest->len ? memchr(rest->data, 0, rest->len) : NULL;
    struct slice field = fuzz_take(rest, zero ? (size_t)(zero - rest->data) : rest->len);
    (void)fuzz_take(rest, 1);
    return field;
}

void fuzz_check(bool condition, const char *text, const char *file, int line) {
    if (condition)
        return;
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, text);
    abort();
}

void fuzz_check_equal(struct slice a, struct slice b, const char *what) {
    if (slice_equal(a, b))
        return;
    fprintf(stderr, "%s differs:\n  %.*s\n  %.*s\n", what, (int)a.len, a.len ? a.data : "",
        (int)b.len, b.len ? b.data : "");
    abort();
}
