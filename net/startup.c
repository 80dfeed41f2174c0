#include "net/startup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "net/admin.h"
#include "net/files.h"
#include "net/watch.h"
#include "net/worker.h"

/* Descriptors besides connections: the log, standard streams, connections that are only told that
 * there are too many (LISTENER_REFUSED_MAX); and for each shard its loop and listeners. */
#define OTHER_DESCRIPTORS (32u + LISTENER_REFUSED_MAX)
#define DESCRIPTORS_PER_SHARD 6u
/* Static files get at most this part of the descriptors. */
#define FILES_SHARE 8u

/* ---- application ---- */

static enum status load_app(struct server *server, struct buf *error) {
    const struct options *options = server->options;
    if (!options->app) {
        if (options->watch)
            diag(DIAG_WARN, "--watch: there is no --app to watch");
        return ST_OK;
    }
    if (options->dev)
        diag(DIAG_WARN, "--dev: clients are shown handlers' errors with source lines; it is for "
                        "development only");
    server->watch = options->watch ? watch_create(options->resources) : NULL;
    if (options->watch && !server->watch) {
        buf_append_text(error, "out of memory");
        return ST_NOMEM;
    }
    return generation_open(server, 1, server_told_to_stop, server, &server->generation, error);
}

/* ---- data directory ---- */

/* Makes the directory with the parents that are missing. */
static enum status make_dirs(const char *dir, struct buf *error) {
    char path[DISK_PATH_BYTES_MAX];
    size_t len = strlen(dir);
    if (len >= sizeof(path)) {
        buf_append_text(error, "the path of the data directory is too long");
        return ST_INVALID;
    }
    memcpy(path, dir, len + 1);
    enum status status = ST_OK;
    for (size_t i = 1; i <= len && status == ST_OK; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        char end = path[i];
        path[i] = '\0';
        status = disk_make_dir(path);
        path[i] = end;
    }
    if (status != ST_OK)
        buf_printf(error, "cannot make the data directory %s: %s", dir, strerror(errno));
    return status;
}

enum status startup_lock_dir(const char *dir, struct disk_file **lock, struct buf *error) {
    enum status status = make_dirs(dir, error);
    if (status != ST_OK)
        return status;
    char path[DISK_PATH_BYTES_MAX];
    int len = snprintf(path, sizeof(path), "%s/LOCK", dir);
    if (len < 0 || (size_t)len >= sizeof(path)) {
        buf_append_text(error, "the path of the data directory is too long");
        return ST_INVALID;
    }
    status = disk_lock(path, lock);
    if (status == ST_LOCKED)
        buf_printf(error, "the data directory %s is in use by another process", dir);
    else if (status != ST_OK)
        buf_printf(error, "cannot lock %s: %s", path, strerror(errno));
    return status;
}

/* ---- metrics ---- */

static enum status make_metrics(struct server *server, struct buf *error) {
    enum status status = labels_create(&server->labels);
    server->stats =
        stats_create(server->shards + 2); /* and the log's thread, and the checkpoints' */
    if (status == ST_OK && server->stats)
        server->peers = shard_peers_create(
            server->shards, server->stats, server->labels.names, server->labels.count);
    if (!server->peers) {
        buf_append_text(error, "out of memory");
        return ST_NOMEM;
    }
    admin_register(server);
    status = labels_register(&server->labels, server->stats);
    if (status == ST_OK && server->generation)
        status = generation_label(server, server->generation);
    if (status != ST_OK)
        buf_append_text(error, "out of memory");
    return status;
}

/* ---- workers ---- */

static enum status make_workers(struct server *server, struct buf *error) {
    server->workers = calloc(server->shards, sizeof(struct worker *));
    for (unsigned i = 0; server->workers && i < server->shards; i++) {
        server->workers[i] = worker_create(server, i);
        if (!server->workers[i])
            break;
    }
    if (!server->workers || !server->workers[server->shards - 1]) {
        buf_append_text(error, "out of memory or descriptors for the shards' threads");
        return ST_NOMEM;
    }
    return ST_OK;
}

static struct listen_address address_of(const struct options_address *option) {
    struct listen_address address = {.len = option->sock_len};
    memcpy(&address.address, &option->sock, option->sock_len);
    return address;
}

/* A listener for each worker on the main address, and one for the first on the admin address. */
static enum status bind_listeners(struct server *server, struct listen_address *main_address,
    struct listen_address *admin_address, struct buf *error) {
    enum status status = listen_probe(main_address, error);
    for (unsigned i = 0; status == ST_OK && i < server->shards; i++) {
        int fd;
        status = listen_socket(main_address, &fd, error);
        if (status == ST_OK)
            listener_init(&server->workers[i]->listener, server->workers[i], fd, false);
    }
    if (status != ST_OK || admin_address->len == 0)
        return status;
    status = listen_probe(admin_address, error);
    int fd;
    if (status == ST_OK)
        status = listen_socket(admin_address, &fd, error);
    if (status == ST_OK)
        listener_init(&server->workers[0]->admin_listener, server->workers[0], fd, true);
    return status;
}

static enum status start_threads(struct startup *startup, struct buf *error) {
    struct server *server = startup->server;
    for (unsigned i = 0; i < server->shards; i++) {
        struct worker *worker = server->workers[i];
        if (listener_start(&worker->listener) != ST_OK ||
            listener_start(&worker->admin_listener) != ST_OK ||
            worker_start_thread(worker) != ST_OK) {
            buf_printf(error, "no memory or no thread for shard %u", i);
            return ST_NOMEM;
        }
        startup->threads++;
    }
    return ST_OK;
}

static void print_address(const char *what, const struct listen_address *address) {
    char text[512]; /* whoever started the server waits for this line: it must not fail */
    struct buf line = {.data = text, .cap = sizeof text, .max = sizeof text};
    buf_append_text(&line, what);
    listen_print(address, &line);
    buf_append_byte(&line, '\n');
    fwrite(line.data, 1, line.len, stdout);
    fflush(stdout);
}

/* Takes as many descriptors as the system gives, and fewer connections if those do not suffice:
 * connections must never leave the log without a descriptor for its next segment. */
static void share_descriptors(struct server *server) {
    uint64_t wanted = server->options->connections_max;
    uint64_t others = OTHER_DESCRIPTORS + DESCRIPTORS_PER_SHARD * server->shards;
    struct rlimit limit;
    server->connections_max = (unsigned)wanted;
    server->files_open_max = FILES_OPEN_MAX;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    if (server->options->resources) {
        if (server->files_open_max > limit.rlim_cur / FILES_SHARE)
            server->files_open_max = (unsigned)(limit.rlim_cur / FILES_SHARE);
        others += server->files_open_max + FILES_DESCRIPTORS_EXTRA;
    }
    if (limit.rlim_cur >= wanted + others)
        return;
    server->connections_max = limit.rlim_cur > others ? (unsigned)(limit.rlim_cur - others) : 1;
    diag(DIAG_WARN,
        "--connections-max is lowered to %u: the limit of open files is %" PRIu64 " (ulimit -n)",
        server->connections_max, (uint64_t)limit.rlim_cur);
}

enum status startup_run(struct startup *startup, struct buf *error) {
    struct server *server = startup->server;
    const struct options *options = server->options;
    struct listen_address main_address = address_of(&options->addr);
    struct listen_address admin_address = address_of(&options->admin_addr);
    share_descriptors(server);
    slots_init(&server->slots, server->shards);
    server->http_limits = (struct http_limits){
        .header_bytes_max = options->header_bytes_max,
        .body_bytes_max = options->body_bytes_max,
    };
    enum status status = load_app(server, error);
    if (status == ST_OK)
        status = startup_lock_dir(options->data, &startup->lock, error);
    if (status == ST_OK)
        status = make_metrics(server, error);
    if (status == ST_OK)
        status = make_workers(server, error);
    if (status == ST_OK)
        status = bind_listeners(server, &main_address, &admin_address, error);
    if (status == ST_OK)
        status = start_threads(startup, error);
    if (status != ST_OK)
        return status;
    print_address("listening on ", &main_address);
    if (admin_address.len > 0)
        print_address("admin on ", &admin_address);
    return ST_OK;
}

void startup_undo(struct startup *startup) {
    struct server *server = startup->server;
    for (unsigned i = 0; i < startup->threads; i++)
        worker_join(server->workers[i]);
    for (unsigned i = 0; server->workers && i < server->shards; i++)
        if (server->workers[i])
            worker_destroy(server->workers[i]);
    free(server->workers);
    if (server->peers)
        shard_peers_destroy(server->peers);
    if (server->stats)
        stats_destroy(server->stats);
    free(server->gauges);
    labels_destroy(&server->labels);
    generation_close(server, server->previous);
    generation_close(server, server->generation);
    watch_destroy(server->watch);
    if (startup->lock)
        disk_close(startup->lock);
}
