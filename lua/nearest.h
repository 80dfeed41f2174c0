/* "Did you mean ...?": the known name that is most like one that is not known.
 *
 * Likeness is the edit distance (Levenshtein 1966) with swapped neighbours counting once
 * (Damerau 1964). Threads: none of its own. Errors: none. */
#ifndef CONCAVE_LUA_NEAREST_H
#define CONCAVE_LUA_NEAREST_H

#include "core/buf.h"

#define NEAREST_BYTES_MAX 64u /* longer names are like no other */

struct nearest {
    struct slice name; /* the unknown one */
    struct slice best; /* the most like it so far; data NULL: none is like it */
    unsigned distance;
};

static inline struct nearest nearest_to(struct slice name) {
    return (struct nearest){.name = name};
}
/* Looks at one more known name, which must outlive the struct. Of equally good ones the first
 * counts in byte order. */
void nearest_try(struct nearest *nearest, struct slice known);

#endif
