/* Prints what a run found, as text for people or as one JSON object.
 *
 * Ownership: plain data, borrowed. Threads: the main thread.
 * Errors: false if stdout cannot be written. */
#ifndef CONCAVE_PERF_LOAD_REPORT_H
#define CONCAVE_PERF_LOAD_REPORT_H

#include "perf/load_books.h"

struct report {
    const struct run_options *options;
    const struct work_context *context;
    const struct run_result *result;
    const struct books_before *before;
    const struct books_after *after; /* NULL: the server went away, the books stay open */
    const char *url;
    const char *durability; /* "" if nobody said */
    const char *shards;
};

bool report_text(const struct report *report);
bool report_json(const struct report *report);

#endif
