/* What concave-load can ask of a server: each workload builds requests and judges their replies.
 *
 * Ownership: the connection state belongs to the caller, one for each connection.
 * Threads: a connection's functions on one thread at a time; the context is read only.
 * Errors: a verdict for each reply; buffers fail as core/buf.h says. */
#ifndef CONCAVE_PERF_LOAD_WORK_H
#define CONCAVE_PERF_LOAD_WORK_H

#include "perf/load_http.h"

#define ACCOUNT_BALANCE_START 1000 /* cents in each account before the load */

/* What one run has in common. */
struct work_context {
    const struct workload *work;
    const struct target *target;
    uint64_t accounts; /* keys acc:1 to acc:<accounts> */
    unsigned batch;    /* objects of a put or execute request */
    unsigned limit;    /* items of a range request */
    const char *path;  /* for the workload `path` */
    uint64_t seed;
    char run_tag[17];     /* tells this run's new keys from those of others */
    uint64_t cas_version; /* of cas:hot before the load */
};

struct work_conn {
    uint64_t random; /* SplitMix64 state */
    uint64_t id;
    uint64_t requests;
    uint64_t version; /* cas: that of the last reply */
    struct buf body;
};

enum verdict {
    VERDICT_DONE,     /* acknowledged */
    VERDICT_REFUSED,  /* the application said no, as it may: insufficient funds */
    VERDICT_CONFLICT, /* another client's version came first */
    VERDICT_ERROR,
};

/* How what was acknowledged is found again when the load is over. */
enum books {
    BOOKS_NONE,
    BOOKS_BANK,    /* the sum of all accounts has not changed */
    BOOKS_COUNTER, /* a number grew by one for each acknowledged request */
    BOOKS_KEYS,    /* `batch` keys under the run's prefix for each acknowledged request */
};

struct workload {
    const char *name;
    const char *about;
    bool needs_accounts;
    bool one_at_a_time; /* the next request depends on the last reply: no pipelining */
    unsigned batch;     /* default objects a request */
    enum books books;
    const char *books_key; /* the counter, or the first part of the keys' prefix */
    /* Appends a whole request to out; *mark is handed to judge with its reply. */
    void (*build)(const struct work_context *context, struct work_conn *conn, uint64_t *mark,
        struct buf *out);
    enum verdict (*judge)(const struct work_context *context, struct work_conn *conn, uint64_t mark,
        const struct reply *reply);
};

/* By name; NULL if there is none. */
const struct workload *work_find(const char *name);
/* In the order to be listed; NULL past the last. */
const struct workload *work_at(unsigned index);

void work_conn_init(struct work_conn *conn, const struct work_context *context, uint64_t id);
void work_conn_free(struct work_conn *conn);

/* A number below bound (1 to 2^32) of the connection's own sequence. */
uint64_t work_random(struct work_conn *conn, uint64_t bound);

#endif
