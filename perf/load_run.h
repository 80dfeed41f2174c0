/* The load itself: connections that each keep a bounded number of requests under way.
 *
 * It is a closed loop: a connection sends its next request when a reply came in, so a server that
 * stalls is asked less while it stalls. Latency is from handing a request to the socket to its
 * whole reply.
 *
 * Ownership: run_load owns its threads and connections; none is left when it returns.
 * Threads: `threads` of them, each with its own event loop and its share of the connections.
 * Errors: false and a text if the load cannot start; what goes wrong during it is counted. */
#ifndef CONCAVE_PERF_LOAD_RUN_H
#define CONCAVE_PERF_LOAD_RUN_H

#include <sys/types.h>

#include "perf/load_hist.h"
#include "perf/load_work.h"

#define STATUS_MAX 600

struct run_options {
    unsigned connections;
    unsigned pipeline; /* requests under way on a connection */
    unsigned threads;
    double warmup_s;
    double seconds;    /* measured after the warm-up; unused if requests is not 0 */
    uint64_t requests; /* if not 0: stop after that many, measuring all */
    pid_t server_pid;  /* 0: do not look at its CPU time */
};

struct run_counts {
    /* Of the whole run, warm-up and end included: what the books are compared with. */
    uint64_t done;
    uint64_t refused;
    uint64_t conflicts;
    uint64_t errors;      /* replies that were none of the above */
    uint64_t malformed;   /* connections given up because of a reply that is no HTTP/1.1 */
    uint64_t disconnects; /* connections that broke */
    uint64_t unknown;     /* requests sent whose reply never came */
    uint64_t by_status[STATUS_MAX];
    char first_error[200]; /* the first reply judged wrong, for people */
    /* Of the measured stretch only. */
    uint64_t measured; /* replies of any kind */
    struct hist latency;
};

struct run_result {
    struct run_counts counts;
    double measured_s;
    double server_cpu_s; /* in the measured stretch; negative if unknown */
};

bool run_load(const struct run_options *options, const struct work_context *context,
    struct run_result *result, struct buf *error);

#endif
