/* What the fuzz targets share: the function that each of them defines, inputs in memory of their
 * own size, and checks that end the process with what did not hold.
 *
 * A target is one file, fuzz_<name>.c, with LLVMFuzzerTestOneInput. libFuzzer calls it with inputs
 * that it makes up (preset `fuzz`), tests/fuzz/replay.c with those of the corpus.
 *
 * Ownership: as said at each function. Threads: one. Errors: a check that fails aborts. */
#ifndef CONCAVE_TESTS_FUZZ_H
#define CONCAVE_TESTS_FUZZ_H

#include "core/buf.h"

/* libFuzzer's entry: one input. It keeps nothing that a later call would depend on; always 0. */
__attribute__((visibility("default"))) int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy in memory of exactly this size, so that AddressSanitizer sees a read of the byte behind
 * it; to be given back with fuzz_drop. */
struct slice fuzz_copy(const void *data, size_t len);
void fuzz_drop(struct slice copy);

/* Takes up to len bytes off the front of *rest. */
struct slice fuzz_take(struct slice *rest, size_t len);
/* Takes a byte; 0 if none is left. */
unsigned fuzz_take_byte(struct slice *rest);
/* Takes what is before the next byte 0, and that byte; all if there is none. */
struct slice fuzz_take_field(struct slice *rest);

/* Ends the process, saying what did not hold, unless it holds. */
#define FUZZ_CHECK(condition) fuzz_check((condition), #condition, __FILE__, __LINE__)
void fuzz_check(bool condition, const char *text, const char *file, int line);
/* Ends the process unless the two are equal, printing both. */
void fuzz_check_equal(struct slice a, struct slice b, const char *what);

#endif
