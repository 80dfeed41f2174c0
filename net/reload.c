/* One reload, step by step:
 *
 * 1. Read the files, learn the routes, make a machine for every shard: all on this thread.
 * 2. Give the routes their labels.
 * 3. Tell every shard's thread that there is another generation (its memory counts from now on).
 * 4. Run first_run, if it has not run, and start in it. Nobody else is there yet.
 * 5. Let every thread begin its requests there.
 * 6. Wait until the calls that began in the old one have ended. A thread begins no more of them
 *    after step 5, so once one round over all of them finds none, there are none.
 * 7. Tell every thread to forget the old one, and close it, on this thread.
 *
 * Up to step 4 a failure or the end of the server leaves everything as it was. */
#include "net/reload.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"
#include "net/lifecycle.h"
#include "net/watch.h"
#include "net/worker.h"

/* After a change, so long without another; and how long to wait for that at most. */
#define SETTLE_MS 100
#define SETTLE_NS_MAX NS_PER_S
/* Between two looks at whether the old generation's calls have ended. */
#define LOOK_NS (5 * NS_PER_MS)

struct reloader {
    struct server *server;
    pthread_t thread;
    int wake; /* an eventfd */

    /* ---- any thread ---- */
    atomic_bool stop, asked;
    pthread_mutex_t lock; /* of the report, held for a copy of it */
    struct reload_report report;
};

static bool stopped(void *ctx) {
    const struct reloader *reloader = ctx;
    return atomic_load_explicit(&reloader->stop, memory_order_relaxed);
}

/* ---- what the shards' threads do ---- */

static void meet(struct worker *worker, void *ctx) {
    worker->other = ctx;
}

static void promote(struct worker *worker, void *ctx) {
    worker->other = worker->generation;
    worker->generation = ctx;
}

struct census {
    unsigned place;
    uint64_t calls;
};

static void count(struct worker *worker, void *ctx) {
    struct census *census = ctx;
    census->calls += worker->script_calls[census->place];
}

static void for_each_worker(
    struct server *server, void (*fn)(struct worker *worker, void *ctx), void *ctx) {
    for (unsigned i = 0; i < server->shards; i++)
        worker_call(server->workers[i], fn, ctx);
}

/* ---- outcomes ---- */

static void report_success(struct reloader *reloader, uint64_t started_ns) {
    const struct server *server = reloader->server;
    struct script_route_info info;
    unsigned routes = 0;
    while (server->engine->route_at(server->generation->app, routes, &info))
        routes++;
    /* First the line: whoever finds the outcome in the status finds it in the log too. */
    diag(DIAG_INFO, "reloaded %s: generation %" PRIu64 ", %u routes, in %" PRIu64 " ms",
        server->options->app, server->generation->number, routes,
        (clock_monotonic_ns() - started_ns) / NS_PER_MS);
    pthread_mutex_lock(&reloader->lock);
    reloader->report.generation = server->generation->number;
    reloader->report.succeeded++;
    reloader->report.error[0] = '\0';
    pthread_mutex_unlock(&reloader->lock);
}

/* Copies as much of a text as fits, no character cut in two. */
static void copy_text(char to[static RELOAD_ERROR_BYTES_MAX], struct slice text) {
    size_t len = text.len < RELOAD_ERROR_BYTES_MAX ? text.len : RELOAD_ERROR_BYTES_MAX - 1;
    while (len < text.len && len > 0 && ((unsigned char)text.data[len] & 0xC0) == 0x80)
        len--;
    if (len)
        memcpy(to, text.data, len);
    to[len] = '\0';
}

static void report_failure(struct reloader *reloader, struct slice error) {
    diag(DIAG_ERROR, "reload failed, generation %" PRIu64 " goes on: %.*s",
        reloader->server->generation->number, (int)error.len, error.data);
    pthread_mutex_lock(&reloader->lock);
    reloader->report.failed++;
    copy_text(reloader->report.error, error);
    pthread_mutex_unlock(&reloader->lock);
}

void reloader_report(struct reloader *reloader, struct reload_report *report) {
    pthread_mutex_lock(&reloader->lock);
    *report = reloader->report;
    pthread_mutex_unlock(&reloader->lock);
}

/* ---- a reload ---- */

/* A generation that is ready to take requests. */
static enum status prepare(
    struct reloader *reloader, struct generation **generation, struct buf *error) {
    struct server *server = reloader->server;
    uint64_t number = server->generation->number + 1;
    enum status status = generation_open(server, number, stopped, reloader, generation, error);
    if (status != ST_OK)
        return status;
    status = generation_label(server, *generation);
    if (status != ST_OK) {
        buf_append_text(error, "out of memory");
    } else {
        for_each_worker(server, meet, *generation);
        status = lifecycle_run(server, *generation, stopped, reloader, error);
        if (status != ST_OK)
            for_each_worker(server, meet, NULL);
    }
    if (status != ST_OK)
        generation_close(server, *generation);
    return status;
}

/* Closes the previous generation when its last call has ended. */
static void retire(struct reloader *reloader) {
    struct server *server = reloader->server;
    struct census census = {.place = generation_place(server->previous)};
    for (;;) {
        census.calls = 0;
        for_each_worker(server, count, &census);
        if (census.calls == 0)
            break;
        if (stopped(reloader))
            return; /* the drain waits for them, and it is closed at the end */
        nanosleep(&(struct timespec){.tv_nsec = (long)LOOK_NS}, NULL);
    }
    for_each_worker(server, meet, NULL);
    generation_close(server, server->previous);
    server->previous = NULL;
}

static void reload(struct reloader *reloader) {
    struct server *server = reloader->server;
    struct generation *generation = NULL;
    struct buf error;
    uint64_t started_ns = clock_monotonic_ns();
    buf_init(&error, DIAG_LINE_BYTES_MAX);
    enum status status = prepare(reloader, &generation, &error);
    if (status == ST_OK) {
        for_each_worker(server, promote, generation);
        server->previous = server->generation;
        server->generation = generation;
        report_success(reloader, started_ns);
        retire(reloader);
    } else if (!stopped(reloader)) {
        report_failure(reloader, error.len > 0 ? buf_slice(&error) : SLICE("out of memory"));
    }
    buf_free(&error);
}

/* ---- the thread ---- */

/* Waits until it is asked, or something happens to the files. */
static void wait_for_work(struct reloader *reloader) {
    const struct watch *watch = reloader->server->watch;
    struct pollfd waiting[] = {{.fd = reloader->wake, .events = POLLIN},
        {.fd = watch ? watch_descriptor(watch) : -1, .events = POLLIN}};
    uint64_t wakes;
    (void)!poll(waiting, 2, watch ? watch_wait_ms(watch) : -1);
    (void)!read(reloader->wake, &wakes, sizeof(wakes));
}

/* Several files are often written together, and one in several steps: waits for a moment of rest,
 * but not for ever. */
static void let_it_settle(struct reloader *reloader) {
    struct watch *watch = reloader->server->watch;
    uint64_t deadline_ns = clock_monotonic_ns() + SETTLE_NS_MAX;
    struct pollfd waiting = {.fd = watch_descriptor(watch), .events = POLLIN};
    while (poll(&waiting, 1, SETTLE_MS) > 0 && !stopped(reloader) &&
           clock_monotonic_ns() < deadline_ns) {
        (void)watch_changed(watch);
        waiting.fd = watch_descriptor(watch);
    }
}

static bool files_changed(struct reloader *reloader) {
    if (!reloader->server->watch || !watch_changed(reloader->server->watch))
        return false;
    let_it_settle(reloader);
    return true;
}

static void *thread_main(void *argument) {
    struct reloader *reloader = argument;
    while (!stopped(reloader)) {
        bool changed = files_changed(reloader);
        if ((atomic_exchange(&reloader->asked, false) || changed) && !stopped(reloader))
            reload(reloader);
        else
            wait_for_work(reloader);
    }
    return NULL;
}

static void wake(struct reloader *reloader) {
    uint64_t one = 1;
    (void)!write(reloader->wake, &one, sizeof(one)); /* full: it is awake already */
}

void reloader_ask(struct reloader *reloader) {
    atomic_store(&reloader->asked, true);
    wake(reloader);
}

/* ---- life ---- */

static double generation_number(void *ctx) {
    struct reload_report report;
    reloader_report(ctx, &report);
    return (double)report.generation;
}

static double succeeded(void *ctx) {
    struct reload_report report;
    reloader_report(ctx, &report);
    return (double)report.succeeded;
}

static double failed(void *ctx) {
    struct reload_report report;
    reloader_report(ctx, &report);
    return (double)report.failed;
}

static void register_metrics(struct reloader *reloader) {
    struct stats *stats = reloader->server->stats;
    stats_callback(stats, "app_generation", STATS_GAUGE,
        "The version of the application that takes requests: 1, and 1 more with each reload.", NULL,
        generation_number, reloader);
    static const char help[] = "Reloads of the application.";
    stats_callback(
        stats, "app_reloads_total", STATS_COUNTER, help, "result=\"ok\"", succeeded, reloader);
    stats_callback(
        stats, "app_reloads_total", STATS_COUNTER, help, "result=\"failed\"", failed, reloader);
}

struct reloader *reloader_start(struct server *server) {
    struct reloader *reloader = calloc(1, sizeof(*reloader));
    if (!reloader)
        return NULL;
    reloader->server = server;
    reloader->report.generation = server->generation->number;
    pthread_mutex_init(&reloader->lock, NULL);
    reloader->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (reloader->wake < 0 || pthread_create(&reloader->thread, NULL, thread_main, reloader) != 0) {
        reloader_free(reloader);
        return NULL;
    }
    register_metrics(reloader);
    return reloader;
}

void reloader_stop(struct reloader *reloader) {
    atomic_store(&reloader->stop, true);
    wake(reloader);
    pthread_join(reloader->thread, NULL);
}

void reloader_free(struct reloader *reloader) {
    if (!reloader)
        return;
    if (reloader->wake >= 0)
        close(reloader->wake);
    pthread_mutex_destroy(&reloader->lock);
    free(reloader);
}
