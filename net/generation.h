/* A generation of the application: its files as they once were, with a machine for each shard.
 *
 *     opened -- started --> current -- a newer one started --> previous -- no call left --> closed
 *
 * Requests begin in the current one. A call keeps the generation in which it began, on whatever
 * shard it runs, so during a reload there are two, and no more: the next reload waits until the
 * previous one is closed.
 *
 * Ownership: whoever opened it, until it is the server's (struct server: generations). Threads:
 * opening and closing on main or, while it runs, the reloader; in between what it holds is fixed,
 * but for the machines, each of which is its shard's. Errors: a status with a sentence for the
 * operator. */
#ifndef CONCAVE_NET_GENERATION_H
#define CONCAVE_NET_GENERATION_H

#include "shard/script.h"

struct server;

#define GENERATIONS_MAX 2u

struct generation {
    uint64_t number; /* from 1; each reload that succeeds gets the next */
    struct script_app *app;
    struct script_vm **vms;   /* by shard */
    const unsigned *of_route; /* label of a route index */
};

/* Loads the application for every shard; with --watch, server->watch notes the files. Labels are
 * not given yet. `stopped` is asked now and then and ends it if true. ST_OK; ST_INVALID, ST_NOMEM;
 * ST_CLOSED if it was stopped. */
MUST_USE enum status generation_open(struct server *server, uint64_t number,
    bool (*stopped)(void *ctx), void *ctx, struct generation **generation, struct buf *error);
/* Gives its routes their labels, before the first call. ST_OK, ST_NOMEM. */
MUST_USE enum status generation_label(struct server *server, struct generation *generation);
/* No call is left in it, and no shard knows it. NULL is fine. */
void generation_close(struct server *server, struct generation *generation);

/* Its place in arrays of GENERATIONS_MAX: those that exist at a time differ. */
static inline unsigned generation_place(const struct generation *generation) {
    return (unsigned)(generation->number % GENERATIONS_MAX);
}

#endif
