/* One worker is one thread: an event base, its connections, its counts. Workers share nothing that
 * changes but the number of them still running; run_load adds their counts up after joining them.
 *
 * A connection:  fill (build requests up to the pipeline's depth) -> write -> read -> judge each
 * whole reply -> fill ...  until the worker stops it; then it only reads what is still under way.
 */
#include "perf/load_run.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "core/clock.h"

#define READ_BYTES (64u << 10)
#define OUT_BYTES_MAX (64u << 20)
#define TICK_US 20000                  /* how late a worker may notice that time is up */
#define DRAIN_NS (10 * NS_PER_S)       /* for replies still under way when time is up */
#define SILENCE_NS_MAX (30 * NS_PER_S) /* without any reply the run is given up */
#define DESCRIPTORS_SPARE 64

struct pending {
    uint64_t sent_ns;
    uint64_t mark;
};

struct conn {
    struct worker *worker;
    int fd; /* -1: closed */
    struct event *readable;
    struct event *writable;
    struct buf in;
    struct buf out;
    size_t out_at;
    struct pending *ring; /* pipeline entries, oldest at `first` */
    unsigned first;
    unsigned under_way;
    struct work_conn work;
};

struct worker {
    const struct run_options *options;
    const struct work_context *context;
    struct event_base *base;
    struct event *tick;
    struct conn *conns;
    unsigned conn_count;
    unsigned open_count;
    uint64_t quota; /* requests left to send, if options->requests */
    uint64_t under_way;
    bool stopping;
    uint64_t measure_from_ns;
    uint64_t stop_ns; /* 0: no time limit */
    uint64_t last_reply_ns;
    _Atomic unsigned *running;
    struct run_counts counts;
};

/* ---- connections ---- */

static void conn_close(struct conn *conn) {
    struct worker *worker = conn->worker;
    if (conn->fd < 0)
        return;
    if (conn->readable)
        event_free(conn->readable);
    if (conn->writable)
        event_free(conn->writable);
    conn->readable = conn->writable = NULL;
    close(conn->fd);
    conn->fd = -1;
    worker->open_count--;
    worker->under_way -= conn->under_way;
    worker->counts.unknown += conn->under_way;
    conn->under_way = 0;
    buf_reset(&conn->in, SIZE_MAX);
    buf_reset(&conn->out, SIZE_MAX);
    conn->out_at = 0;
}

static void conn_broke(struct conn *conn) {
    conn->worker->counts.disconnects++;
    conn_close(conn);
}

static void conn_flush(struct conn *conn) {
    while (conn->out_at < conn->out.len) {
        ssize_t sent = send(
            conn->fd, conn->out.data + conn->out_at, conn->out.len - conn->out_at, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            if (event_add(conn->writable, NULL) != 0)
                conn_broke(conn);
            return;
        }
        if (sent <= 0) {
            conn_broke(conn);
            return;
        }
        conn->out_at += (size_t)sent;
    }
    buf_reset(&conn->out, SIZE_MAX);
    conn->out_at = 0;
}

static bool may_send(const struct worker *worker) {
    return !worker->stopping && (worker->options->requests == 0 || worker->quota > 0);
}

static void conn_fill(struct conn *conn) {
    struct worker *worker = conn->worker;
    if (conn->fd < 0)
        return;
    unsigned depth = worker->options->pipeline;
    while (conn->under_way < depth && may_send(worker)) {
        struct pending *pending = &conn->ring[(conn->first + conn->under_way) % depth];
        worker->context->work->build(worker->context, &conn->work, &pending->mark, &conn->out);
        if (!buf_ok(&conn->out) || !buf_ok(&conn->work.body)) {
            conn_broke(conn);
            return;
        }
        pending->sent_ns = clock_monotonic_ns();
        conn->under_way++;
        worker->under_way++;
        if (worker->options->requests)
            worker->quota--;
    }
    conn_flush(conn);
}

static void keep_first_error(struct run_counts *counts, const struct reply *reply) {
    if (counts->first_error[0] != '\0')
        return;
    int shown = reply->body.len < 150 ? (int)reply->body.len : 150;
    (void)snprintf(counts->first_error, sizeof counts->first_error, "%u %.*s", reply->status, shown,
        reply->body.data);
    counts->first_error[strcspn(counts->first_error, "\n")] = '\0';
}

static void conn_count(struct conn *conn, const struct reply *reply, uint64_t now_ns) {
    struct worker *worker = conn->worker;
    struct run_counts *counts = &worker->counts;
    struct pending pending = conn->ring[conn->first];
    conn->first = (conn->first + 1) % worker->options->pipeline;
    conn->under_way--;
    worker->under_way--;
    worker->last_reply_ns = now_ns;

    assert(reply->status < STATUS_MAX);
    counts->by_status[reply->status]++;
    switch (worker->context->work->judge(worker->context, &conn->work, pending.mark, reply)) {
    case VERDICT_DONE:
        counts->done++;
        break;
    case VERDICT_REFUSED:
        counts->refused++;
        break;
    case VERDICT_CONFLICT:
        counts->conflicts++;
        break;
    case VERDICT_ERROR:
        counts->errors++;
        keep_first_error(counts, reply);
        break;
    }
    if (now_ns >= worker->measure_from_ns && (worker->stop_ns == 0 || now_ns < worker->stop_ns)) {
        counts->measured++;
        hist_add(&counts->latency, now_ns - pending.sent_ns);
    }
}

static void conn_reopen(struct conn *conn);

/* Judges every whole reply in the buffer; what is left of it moves to the front. */
static void conn_consume(struct conn *conn) {
    uint64_t now_ns = clock_monotonic_ns();
    size_t at = 0;
    bool closes = false;
    while (at < conn->in.len && !closes) {
        struct reply reply;
        enum reply_state state =
            reply_parse(slice_of(conn->in.data + at, conn->in.len - at), &reply);
        if (state == REPLY_MORE)
            break;
        if (state == REPLY_BAD || conn->under_way == 0) { /* or an answer to nothing */
            conn->worker->counts.malformed++;
            conn_close(conn);
            return;
        }
        conn_count(conn, &reply, now_ns);
        at += reply.len;
        closes = reply.closes;
    }
    if (closes) {
        conn_reopen(conn);
        return;
    }
    memmove(conn->in.data, conn->in.data + at, conn->in.len - at);
    conn->in.len -= at;
}

static void on_readable(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what;
    struct conn *conn = arg;
    char *room = buf_reserve(&conn->in, READ_BYTES);
    if (!room) {
        conn_broke(conn);
        return;
    }
    ssize_t got = recv(conn->fd, room, READ_BYTES, 0);
    if (got < 0 && (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK))
        return;
    if (got <= 0) {
        conn_broke(conn);
        return;
    }
    conn->in.len += (size_t)got;
    conn_consume(conn);
    conn_fill(conn);
}

static void on_writable(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what;
    conn_flush(arg);
}

static bool conn_open(struct conn *conn) {
    struct worker *worker = conn->worker;
    conn->fd = target_connect(worker->context->target);
    if (conn->fd < 0)
        return false;
    worker->open_count++;
    conn->readable = event_new(worker->base, conn->fd, EV_READ | EV_PERSIST, on_readable, conn);
    conn->writable = event_new(worker->base, conn->fd, EV_WRITE, on_writable, conn);
    if (evutil_make_socket_nonblocking(conn->fd) == 0 && conn->readable && conn->writable &&
        event_add(conn->readable, NULL) == 0)
        return true;
    conn_close(conn);
    return false;
}

/* The server said that it would close: what it has not answered by then, it will not. */
static void conn_reopen(struct conn *conn) {
    struct worker *worker = conn->worker;
    conn_close(conn);
    if (may_send(worker) && !conn_open(conn))
        worker->counts.disconnects++;
}

/* ---- workers ---- */

static void on_tick(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what;
    struct worker *worker = arg;
    uint64_t now_ns = clock_monotonic_ns();
    if (worker->stop_ns && now_ns >= worker->stop_ns)
        worker->stopping = true;
    bool idle = worker->under_way == 0 && !may_send(worker);
    bool late = worker->stop_ns && now_ns >= worker->stop_ns + DRAIN_NS;
    bool silent = now_ns >= worker->last_reply_ns + SILENCE_NS_MAX;
    if (idle || late || silent || worker->open_count == 0)
        (void)event_base_loopbreak(worker->base);
}

static bool worker_open(struct worker *worker, uint64_t first_id) {
    struct event_config *config = event_config_new();
    worker->base = config ? event_base_new_with_config(config) : NULL;
    if (config)
        event_config_free(config);
    if (!worker->base)
        return false;
    worker->tick = event_new(worker->base, -1, EV_PERSIST, on_tick, worker);
    worker->conns = calloc(worker->conn_count, sizeof *worker->conns);
    if (!worker->tick || !worker->conns)
        return false;
    for (unsigned i = 0; i < worker->conn_count; i++) {
        struct conn *conn = &worker->conns[i];
        conn->worker = worker;
        conn->fd = -1;
        buf_init(&conn->in, REPLY_BYTES_MAX);
        buf_init(&conn->out, OUT_BYTES_MAX);
        work_conn_init(&conn->work, worker->context, first_id + i);
        conn->ring = calloc(worker->options->pipeline, sizeof *conn->ring);
        if (!conn->ring || !conn_open(conn))
            return false;
    }
    return true;
}

static void worker_close(struct worker *worker) {
    for (unsigned i = 0; worker->conns && i < worker->conn_count; i++) {
        struct conn *conn = &worker->conns[i];
        if (!conn->worker)
            break; /* not reached by worker_open */
        conn_close(conn);
        work_conn_free(&conn->work);
        buf_free(&conn->in);
        buf_free(&conn->out);
        free(conn->ring);
    }
    free(worker->conns);
    if (worker->tick)
        event_free(worker->tick);
    if (worker->base)
        event_base_free(worker->base);
}

static void *worker_main(void *arg) {
    struct worker *worker = arg;
    const struct timeval tick = {.tv_usec = TICK_US};
    bool started = event_add(worker->tick, &tick) == 0;
    assert(started);
    worker->last_reply_ns = clock_monotonic_ns();
    for (unsigned i = 0; i < worker->conn_count; i++)
        conn_fill(&worker->conns[i]);
    int failed = event_base_dispatch(worker->base);
    assert(failed >= 0);
    /* Relaxed: main only polls it to stop waiting; it reads the counts after joining. */
    atomic_fetch_sub_explicit(worker->running, 1, memory_order_relaxed);
    return NULL;
}

/* ---- the run ---- */

/* User and system time of all threads of a process, dead ones included (proc(5): fields 14 and 15
 * of stat); negative if it cannot be read. */
static double cpu_seconds(pid_t pid) {
    char path[64], line[1024];
    if (pid == 0)
        return -1;
    (void)snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return -1;
    char *got = fgets(line, sizeof line, file);
    (void)fclose(file);
    char *at = got ? strrchr(line, ')') : NULL; /* the name before it may hold anything */
    for (int field = 2; at && field < 14; field++) {
        at = strchr(at, ' ');
        at = at ? at + 1 : NULL;
    }
    if (!at)
        return -1;
    char *end;
    unsigned long long user = strtoull(at, &end, 10);
    unsigned long long kernel = strtoull(end, NULL, 10);
    return (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
}

/* Waits until the time or until no worker runs any more. */
static void wait_until(uint64_t until_ns, _Atomic unsigned *running) {
    const struct timespec nap = {.tv_nsec = (long)(5 * NS_PER_MS)};
    while (
        clock_monotonic_ns() < until_ns && atomic_load_explicit(running, memory_order_relaxed) > 0)
        (void)nanosleep(&nap, NULL);
}

static void raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* if it fails, connecting says why */
    }
}

static void counts_merge(struct run_counts *into, const struct run_counts *from) {
    into->done += from->done;
    into->refused += from->refused;
    into->conflicts += from->conflicts;
    into->errors += from->errors;
    into->malformed += from->malformed;
    into->disconnects += from->disconnects;
    into->unknown += from->unknown;
    into->measured += from->measured;
    for (unsigned i = 0; i < STATUS_MAX; i++)
        into->by_status[i] += from->by_status[i];
    if (into->first_error[0] == '\0')
        memcpy(into->first_error, from->first_error, sizeof into->first_error);
    hist_merge(&into->latency, &from->latency);
}

/* Shares of a whole that differ by at most one. */
static uint64_t share(uint64_t whole, unsigned parts, unsigned index) {
    return whole / parts + (index < whole % parts);
}

static bool workers_open(struct worker *workers, const struct run_options *options,
    const struct work_context *context, _Atomic unsigned *running, struct buf *error) {
    uint64_t first_id = 0;
    for (unsigned i = 0; i < options->threads; i++) {
        struct worker *worker = &workers[i];
        worker->options = options;
        worker->context = context;
        worker->running = running;
        worker->conn_count = (unsigned)share(options->connections, options->threads, i);
        worker->quota = share(options->requests, options->threads, i);
        if (!worker_open(worker, first_id)) {
            buf_printf(
                error, "cannot open %u connections: %s", options->connections, strerror(errno));
            return false;
        }
        first_id += worker->conn_count;
    }
    return true;
}

/* Starts the threads, samples the server's CPU time around the measured stretch, joins. */
static bool workers_run(struct worker *workers, const struct run_options *options,
    _Atomic unsigned *running, struct run_result *result, struct buf *error) {
    pthread_t *threads = calloc(options->threads, sizeof *threads);
    if (!threads) {
        buf_append_text(error, "out of memory");
        return false;
    }
    uint64_t start_ns = clock_monotonic_ns();
    uint64_t from_ns = start_ns + (uint64_t)(options->warmup_s * (double)NS_PER_S);
    uint64_t stop_ns = from_ns + (uint64_t)(options->seconds * (double)NS_PER_S);
    bool limited = options->requests != 0;
    atomic_store_explicit(running, options->threads, memory_order_relaxed);
    unsigned started = 0;
    for (; started < options->threads; started++) {
        workers[started].measure_from_ns = limited ? 0 : from_ns;
        workers[started].stop_ns = limited ? 0 : stop_ns;
        int failed = pthread_create(&threads[started], NULL, worker_main, &workers[started]);
        assert(!failed);
    }
    if (!limited)
        wait_until(from_ns, running);
    double cpu_before = cpu_seconds(options->server_pid);
    wait_until(limited ? UINT64_MAX : stop_ns, running);
    double cpu_after = cpu_seconds(options->server_pid);
    uint64_t last_reply_ns = start_ns;
    for (unsigned i = 0; i < started; i++) {
        (void)pthread_join(threads[i], NULL);
        if (workers[i].last_reply_ns > last_reply_ns)
            last_reply_ns = workers[i].last_reply_ns;
    }
    free(threads);
    /* A server that died early is measured up to its last reply. */
    uint64_t end_ns = limited || last_reply_ns < stop_ns ? last_reply_ns : stop_ns;
    uint64_t begin_ns = limited ? start_ns : from_ns;
    result->measured_s = end_ns > begin_ns ? (double)(end_ns - begin_ns) / (double)NS_PER_S : 0;
    result->server_cpu_s = cpu_before >= 0 && cpu_after >= 0 ? cpu_after - cpu_before : -1;
    return true;
}

bool run_load(const struct run_options *options, const struct work_context *context,
    struct run_result *result, struct buf *error) {
    assert(options->threads >= 1 && options->threads <= options->connections);
    *result = (struct run_result){0};
    raise_descriptor_limit();
    _Atomic unsigned running = 0;
    struct worker *workers = calloc(options->threads, sizeof *workers);
    bool ran = workers && workers_open(workers, options, context, &running, error) &&
               workers_run(workers, options, &running, result, error);
    for (unsigned i = 0; workers && i < options->threads; i++) {
        worker_close(&workers[i]); /* requests still under way become unknown here */
        counts_merge(&result->counts, &workers[i].counts);
    }
    free(workers);
    return ran;
}
