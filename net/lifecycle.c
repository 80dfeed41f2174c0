#include "net/lifecycle.h"

#include <semaphore.h>
#include <time.h>

#include "core/clock.h"
#include "net/worker.h"

/* The budget of each: they may fill a whole data set in one transaction. */
#define LIFECYCLE_BUDGET_NS (120 * NS_PER_S)
/* Between two looks at whether it is to be stopped. */
#define LOOK_NS (20 * NS_PER_MS)

struct running {
    struct worker_job job;
    sem_t done;
    atomic_bool abandoned;
    _Atomic enum status status;
};

static void ended(void *ctx, struct exchange *exchange) {
    struct running *running = ctx;
    atomic_store(&running->status, exchange->call.outcome);
    sem_post(&running->done);
}

static void begin(struct worker *worker, void *ctx) {
    struct running *running = ctx;
    enum status status = worker_run(worker, &running->job);
    if (status == ST_OK)
        return;
    atomic_store(&running->status, status);
    sem_post(&running->done);
}

/* True once it has ended; false after LOOK_NS. */
static bool wait_for_end(struct running *running) {
    struct timespec until;
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += (long)LOOK_NS;
    until.tv_sec += until.tv_nsec / (long)NS_PER_S;
    until.tv_nsec %= (long)NS_PER_S;
    return sem_clockwait(&running->done, CLOCK_MONOTONIC, &until) == 0;
}

static enum status run(struct server *server, struct running *running, const char *name,
    bool (*stopped)(void *ctx), void *ctx, struct buf *error) {
    running->job.budget_ns = LIFECYCLE_BUDGET_NS;
    running->job.done = ended;
    running->job.ctx = running;
    running->job.abandoned = &running->abandoned;
    sem_init(&running->done, 0, 0);
    worker_call(server->workers[0], begin, running);
    while (!wait_for_end(running))
        if (stopped(ctx))
            atomic_store(&running->abandoned, true);
    sem_destroy(&running->done);
    enum status status = atomic_load(&running->status);
    if (status == ST_OK)
        return ST_OK;
    if (atomic_load(&running->abandoned)) {
        buf_printf(error, "%s: on(\"%s\") was stopped", server->options->app, name);
        return ST_CLOSED;
    }
    buf_printf(error, "%s: on(\"%s\") failed: %s (the lines above say where)", server->options->app,
        name, status_text(status));
    return status;
}

enum status lifecycle_run(struct server *server, struct generation *generation,
    bool (*stopped)(void *ctx), void *ctx, struct buf *error) {
    enum status status = ST_OK;
    if (!server->first_run_done && shard_peers_first_run(server->peers) == 0) {
        struct running first_run = {.job = {.procedure = server->engine->first_run,
                                        .label = LABEL_FIRST_RUN,
                                        .generation = generation}};
        status = run(server, &first_run, "first_run", stopped, ctx, error);
    }
    if (status == ST_OK) {
        struct running start = {.job = {.procedure = server->engine->on_start,
                                    .label = LABEL_START,
                                    .generation = generation}};
        status = run(server, &start, "start", stopped, ctx, error);
    }
    return status;
}
