/* A new data directory from a dump.
 *
 * The first line of a whole dump says what the directory's files must say of themselves before the
 * first key, so the others are copied as they come. Lines without that (written by hand, filtered
 * by another program) may come in any order: they are all read into a treap first, which sorts
 * them, and the rest follows from them.
 *
 * At no time does it hold what serve would take for a whole one but is not:
 *
 *   1. the log's first segment, empty; its header says that LSN last_lsn is before it. Alone it is
 *      refused: what is before it is missing.
 *   2. the snapshot of last_lsn, under its temporary name
 *   3. the snapshot gets its name, and with that the directory is whole
 *
 * What fails takes back 2 and 1, in this order. An empty database that has seen no transaction at
 * all, which is what no lines at all make, has no snapshot, and is whole with 1. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "core/clock.h"
#include "core/hash.h"
#include "core/snapshot.h"
#include "core/wal_format.h"
#include "net/server.h"
#include "net/startup.h"
#include "net/tool_line.h"
#include "net/tool_progress.h"
#include "net/tools.h"
#include "shard/treap.h"

#define INPUT_BYTES ((size_t)256 << 10)
/* A byte of a record can become six of text ("\\u0001"), a record is half a segment at most, and
 * a line has more than a record in it. */
#define TEXT_PER_BYTE 4u

struct load {
    const char *dir;
    size_t record_bytes_max;
    struct buf error;
    struct buf reason; /* why the line of line_number is refused */
    struct tool_progress progress;
    struct disk_file *lock;
    /* input */
    struct buf input;
    size_t input_at;
    uint64_t line_number;
    struct tool_line_reader lines;
    struct tool_line first;  /* holds nothing if there is none */
    struct treap *unordered; /* of lines without a head; else NULL */
    uint64_t hash_seed;
    /* output */
    struct tool_head head;
    uint64_t keys; /* written */
    struct buf last_key;
    uint64_t salt;
    char segment_path[DISK_PATH_BYTES_MAX];
    struct snapshot_writer *snapshot;
};

/* ---- input ---- */

static enum status refuse(struct load *load, const char *reason) {
    buf_append_text(&load->reason, reason);
    return ST_INVALID;
}

/* Reads more behind what is there; what is used up makes room. */
static enum status fill_input(struct load *load) {
    struct buf *input = &load->input;
    if (load->input_at > 0)
        memmove(input->data, input->data + load->input_at, input->len - load->input_at);
    input->len -= load->input_at;
    load->input_at = 0;
    if (input->max - input->len < INPUT_BYTES) {
        load->line_number++;
        return refuse(load, "too long (--wal-segment-bytes)");
    }
    char *room = buf_reserve(input, INPUT_BYTES);
    if (!room)
        return ST_NOMEM;
    input->len += fread(room, 1, INPUT_BYTES, stdin);
    if (!ferror(stdin))
        return ST_OK;
    buf_printf(&load->error, "standard input: %s", strerror(errno));
    return ST_IO;
}

/* The next line, without its end. ST_OK; ST_END; ST_INVALID (too long), ST_IO, ST_NOMEM. */
static enum status next_line(struct load *load, struct slice *line) {
    struct buf *input = &load->input;
    size_t searched = 0; /* bytes without a newline */
    for (;;) {
        size_t rest = input->len - load->input_at;
        const char *start = input->data + load->input_at, *newline = NULL;
        if (searched < rest)
            newline = memchr(start + searched, '\n', rest - searched);
        if (newline || (feof(stdin) && rest > 0)) {
            size_t len = newline ? (size_t)(newline - start) : rest;
            *line = slice_of(start, len);
            load->input_at += newline ? len + 1 : len;
            load->line_number++;
            return ST_OK;
        }
        if (feof(stdin))
            return ST_END;
        searched = rest;
        enum status status = fill_input(load);
        if (status != ST_OK)
            return status;
    }
}

/* The next line, read. ST_OK; ST_END; ST_INVALID, ST_IO, ST_NOMEM. */
static enum status read_line(struct load *load, struct tool_line *line) {
    struct slice text;
    enum status status = next_line(load, &text);
    if (status == ST_OK)
        status = tool_line_read(&load->lines, text, line, &load->reason);
    if (status != ST_OK || !line->has_item)
        return status;
    if (wal_record_bytes(1, line->item.key.len + line->item.value.len) > load->record_bytes_max) {
        buf_printf(&load->reason,
            "key and value are larger than a record of the log may be, %zu bytes "
            "(--wal-segment-bytes)",
            load->record_bytes_max);
        return ST_INVALID;
    }
    return ST_OK;
}

/* There may be none. */
static enum status read_first(struct load *load) {
    enum status status = read_line(load, &load->first);
    load->head = load->first.head;
    return status == ST_END ? ST_OK : status;
}

/* The item of a line behind the first. */
static enum status read_item(struct load *load, struct tool_item *item) {
    struct tool_line line;
    enum status status = read_line(load, &line);
    if (status == ST_OK && line.has_head)
        return refuse(load, "last_lsn, first_run and keys can only be in the first line");
    if (status == ST_OK)
        *item = line.item;
    return status;
}

/* ---- lines without a head ---- */

static enum status sort_in(struct load *load, const struct tool_item *item) {
    struct treap_staged staged;
    uint64_t hash = hash_key(item->key, load->hash_seed);
    if (treap_find(load->unordered, item->key, hash))
        return refuse(load, "its key was in a line before");
    enum status status = treap_stage_put(load->unordered, item->key, hash, item->value, &staged);
    if (status != ST_OK)
        return status;
    treap_install_put(load->unordered, &staged, item->version);
    load->head.keys++;
    if (load->head.last_lsn < item->version)
        load->head.last_lsn = item->version;
    tool_progress_tell(&load->progress, load->head.keys, 0, "keys read");
    return ST_OK;
}

/* All lines, and what a head would have said. */
static enum status sort_lines(struct load *load) {
    struct tool_item item = load->first.item;
    /* Keys may have been chosen by anybody: the treap's shape must not be known to them. */
    load->hash_seed = clock_monotonic_ns();
    (void)!getrandom(&load->hash_seed, sizeof(load->hash_seed), 0);
    enum status status = treap_create(load->hash_seed, &load->unordered);
    while (status == ST_OK) {
        status = sort_in(load, &item);
        if (status == ST_OK)
            status = read_item(load, &item);
    }
    return status == ST_END ? ST_OK : status;
}

/* ---- output ---- */

static enum status make_segment(struct load *load) {
    char name[WAL_NAME_BYTES];
    wal_segment_name(load->head.last_lsn + 1, name);
    (void)snprintf(load->segment_path, sizeof(load->segment_path), "%.4000s/%s", load->dir, name);
    return wal_create_behind(load->dir, load->salt, load->head.last_lsn, &load->error);
}

static enum status add_item(struct load *load, const struct tool_item *item) {
    enum status status = snapshot_writer_add(load->snapshot, item->key, item->version, item->value);
    tool_progress_tell(&load->progress, ++load->keys, load->head.keys, "keys written");
    return status;
}

static enum status check_item(struct load *load, const struct tool_item *item) {
    if (load->keys == load->head.keys) {
        buf_printf(&load->reason, "one key more than the %" PRIu64 " that the first line tells of",
            load->head.keys);
        return ST_INVALID;
    }
    if (item->version > load->head.last_lsn) {
        buf_printf(&load->reason, "version %" PRIu64 " is higher than the last LSN, %" PRIu64,
            item->version, load->head.last_lsn);
        return ST_INVALID;
    }
    if (load->last_key.len > 0 && slice_compare(buf_slice(&load->last_key), item->key) >= 0)
        return refuse(load, "its key is not behind the one of the line before");
    buf_reset(&load->last_key, SIZE_MAX);
    buf_append_slice(&load->last_key, item->key);
    return buf_ok(&load->last_key) ? ST_OK : ST_NOMEM;
}

/* Behind a head: as they come. */
static enum status copy_lines(struct load *load) {
    struct tool_item item = load->first.item;
    enum status status = load->first.has_item ? ST_OK : read_item(load, &item);
    while (status == ST_OK) {
        status = check_item(load, &item);
        if (status == ST_OK)
            status = add_item(load, &item);
        if (status == ST_OK)
            status = read_item(load, &item);
    }
    if (status != ST_END)
        return status;
    if (load->keys == load->head.keys)
        return ST_OK;
    buf_printf(&load->reason, "the dump is cut off: it ends after %" PRIu64 " of %" PRIu64 " keys",
        load->keys, load->head.keys);
    return ST_INVALID;
}

struct copy {
    struct load *load;
    enum status status;
};

static bool copy_node(void *ctx, const struct treap_node *node) {
    struct copy *copy = ctx;
    struct tool_item item = {
        .key = treap_key(node), .value = treap_value(node), .version = treap_version(node)};
    copy->status = add_item(copy->load, &item);
    return copy->status == ST_OK;
}

static enum status copy_sorted(struct load *load) {
    struct copy copy = {.load = load, .status = ST_OK};
    struct slice all = SLICE("");
    (void)treap_walk(load->unordered, all, all, false, false, SIZE_MAX, copy_node, &copy);
    return copy.status;
}

static enum status make_snapshot(struct load *load) {
    enum status status = snapshot_writer_open(load->dir, load->salt, load->head.last_lsn,
        load->head.first_run, &load->snapshot, &load->error);
    if (status != ST_OK)
        return status;
    status = load->unordered ? copy_sorted(load) : copy_lines(load);
    if (status == ST_OK)
        status = snapshot_writer_finish(load->snapshot, load->head.last_lsn);
    if (status != ST_OK)
        return status;
    struct snapshot_writer *writer = load->snapshot;
    load->snapshot = NULL; /* gone, however this ends */
    return snapshot_writer_publish(writer);
}

/* ---- the directory ---- */

static enum status note_name(void *ctx, const char *name) {
    (void)ctx;
    return strcmp(name, "LOCK") == 0 ? ST_OK : ST_EXISTS;
}

/* A lock file alone, which stays behind wherever a server or a load has tried, is nothing. */
static enum status check_empty(struct load *load) {
    enum status status = disk_list(load->dir, note_name, NULL);
    if (status == ST_OK || status == ST_NOT_FOUND)
        return ST_OK;
    if (status == ST_EXISTS)
        buf_printf(&load->error, "%s: is not empty; a dump is loaded into a new directory only",
            load->dir);
    else
        buf_printf(&load->error, "%s: cannot be read: %s", load->dir, strerror(errno));
    return ST_EXISTS;
}

static enum status take_dir(struct load *load) {
    enum status status = startup_lock_dir(load->dir, &load->lock, &load->error);
    if (status != ST_OK)
        return ST_EXISTS;
    status = check_empty(load);
    return status == ST_OK ? wal_read_salt(load->dir, &load->salt, &load->error) : status;
}

static void remove_file(struct load *load, const char *path) {
    enum status status = disk_unlink(path);
    if (status == ST_OK)
        status = disk_sync_dir(load->dir);
    if (status != ST_OK && status != ST_NOT_FOUND)
        fprintf(stderr, "concave: %s: cannot be removed: %s\n", path, strerror(errno));
}

static void take_back(struct load *load) {
    char next[DISK_PATH_BYTES_MAX];
    snapshot_writer_abort(load->snapshot);
    load->snapshot = NULL;
    remove_file(load, load->segment_path);
    (void)snprintf(next, sizeof(next), "%.4000s/%s", load->dir, WAL_NEXT_NAME);
    remove_file(load, next);
}

static enum status run_load(struct load *load) {
    if (strlen(load->dir) + 1 + SNAPSHOT_NAME_BYTES > DISK_PATH_BYTES_MAX) {
        buf_printf(&load->error, "%s: the path is too long", load->dir);
        return ST_INVALID;
    }
    enum status status = check_empty(load);
    if (status == ST_OK)
        status = read_first(load);
    if (status == ST_OK)
        status = take_dir(load);
    if (status == ST_OK && load->first.has_item && !load->first.has_head)
        status = sort_lines(load);
    if (status != ST_OK)
        return status;
    status = make_segment(load);
    if (status == ST_OK && load->head.last_lsn > 0)
        status = make_snapshot(load);
    if (status != ST_OK)
        take_back(load);
    return status;
}

int tool_load(const struct options *options) {
    struct load *load = calloc(1, sizeof(*load));
    if (!load) {
        fprintf(stderr, "concave: out of memory\n");
        return EXIT_BAD;
    }
    load->dir = options->dir;
    load->record_bytes_max = (size_t)options->wal_segment_bytes / 2;
    diag_configure(options->log_level, options->log_format);
    buf_init(&load->error, 64u << 10);
    buf_init(&load->reason, 1024);
    buf_init(&load->input, (size_t)options->wal_segment_bytes * TEXT_PER_BYTE);
    buf_init(&load->last_key, SIZE_MAX);
    tool_line_reader_init(&load->lines);
    tool_progress_begin(&load->progress, "load");
    enum status status = run_load(load);
    tool_progress_clear(&load->progress);
    if (load->reason.len > 0)
        buf_printf(&load->error, "line %" PRIu64 ": %.*s", load->line_number, (int)load->reason.len,
            load->reason.data);
    buf_append_byte(&load->error, '\0');
    if (status == ST_OK)
        printf("%s: loaded: %" PRIu64 " keys, last LSN %" PRIu64 "\n", load->dir, load->head.keys,
            load->head.last_lsn);
    else
        fprintf(
            stderr, "concave: %s\n", load->error.len > 1 ? load->error.data : status_text(status));
    if (load->lock)
        disk_close(load->lock);
    treap_destroy(load->unordered);
    tool_line_reader_free(&load->lines);
    buf_free(&load->last_key);
    buf_free(&load->input);
    buf_free(&load->reason);
    buf_free(&load->error);
    free(load);
    return status == ST_OK ? EXIT_FINE : status == ST_IO ? EXIT_DISK : EXIT_BAD;
}
