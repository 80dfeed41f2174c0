/* A new data directory from a dump.
 *
 * At no time does it hold what serve would take for a whole one but is not:
 *
 *   1. the log's first segment, empty; its header says that LSN last_lsn is before it. Alone it is
 *      refused: what is before it is missing.
 *   2. the snapshot of last_lsn, under its temporary name
 *   3. the snapshot gets its name, and with that the directory is whole
 *
 * What fails takes back 2 and 1, in this order. An empty database that has seen no transaction at
 * all has no snapshot, and is whole with 1. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/snapshot.h"
#include "core/wal_format.h"
#include "net/server.h"
#include "net/startup.h"
#include "net/tool_line.h"
#include "net/tool_progress.h"
#include "net/tools.h"

#define INPUT_BYTES ((size_t)256 << 10)
/* A byte of a record can become six of text ("\\u0001"), a record is half a segment at most, and
 * a line has more than a record in it. */
#define TEXT_PER_BYTE 4u

struct load {
    const char *dir;
    size_t record_bytes_max;
    struct buf error;
    struct tool_progress progress;
    struct disk_file *lock;
    /* input */
    struct buf input;
    size_t input_at;
    uint64_t line_number;
    struct tool_line_reader lines;
    struct buf last_key;
    /* output */
    struct tool_head head;
    uint64_t salt;
    char segment_path[DISK_PATH_BYTES_MAX];
    struct snapshot_writer *snapshot;
};

/* ---- input ---- */

/* Reads more behind what is there; what is used up makes room. */
static enum status fill_input(struct load *load) {
    struct buf *input = &load->input;
    if (load->input_at > 0)
        memmove(input->data, input->data + load->input_at, input->len - load->input_at);
    input->len -= load->input_at;
    load->input_at = 0;
    if (input->max - input->len < INPUT_BYTES) {
        buf_printf(&load->error, "line %" PRIu64 ": too long (--wal-segment-bytes)",
            load->line_number + 1);
        return ST_INVALID;
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

/* Names the line in which something is wrong. */
static enum status refuse_line(struct load *load, const struct buf *reason) {
    buf_printf(&load->error, "line %" PRIu64 ": %.*s", load->line_number, (int)reason->len,
        reason->data ? reason->data : "");
    return ST_INVALID;
}

static enum status read_head(struct load *load) {
    struct slice line;
    struct buf reason;
    enum status status = next_line(load, &line);
    if (status == ST_END) {
        buf_append_text(&load->error, "line 1: nothing on standard input where a dump should be");
        return ST_INVALID;
    }
    if (status != ST_OK)
        return status;
    buf_init(&reason, 1024);
    buf_append_text(&reason, "this is not the first line of a dump: ");
    status = tool_line_read_head(&load->lines, line, &load->head, &reason);
    if (status == ST_INVALID)
        status = refuse_line(load, &reason);
    buf_free(&reason);
    return status;
}

static enum status check_item(struct load *load, const struct tool_item *item, struct buf *reason) {
    if (wal_record_bytes(1, item->key.len + item->value.len) > load->record_bytes_max) {
        buf_printf(reason,
            "key and value are larger than a record of the log may be, %zu bytes "
            "(--wal-segment-bytes)",
            load->record_bytes_max);
        return ST_INVALID;
    }
    if (item->version > load->head.last_lsn) {
        buf_printf(reason, "version %" PRIu64 " is higher than the last LSN, %" PRIu64,
            item->version, load->head.last_lsn);
        return ST_INVALID;
    }
    if (load->last_key.len > 0 && slice_compare(buf_slice(&load->last_key), item->key) >= 0) {
        buf_append_text(reason, "its key is not behind the one of the line before");
        return ST_INVALID;
    }
    buf_reset(&load->last_key, SIZE_MAX);
    buf_append_slice(&load->last_key, item->key);
    return buf_ok(&load->last_key) ? ST_OK : ST_NOMEM;
}

/* ---- output ---- */

static enum status make_segment(struct load *load) {
    char name[WAL_NAME_BYTES];
    wal_segment_name(load->head.last_lsn + 1, name);
    (void)snprintf(load->segment_path, sizeof(load->segment_path), "%.4000s/%s", load->dir, name);
    return wal_create_behind(load->dir, load->salt, load->head.last_lsn, &load->error);
}

static enum status copy_items(struct load *load) {
    struct slice line;
    struct tool_item item;
    struct buf reason;
    enum status status;
    uint64_t keys = 0;
    buf_init(&reason, 1024);
    while ((status = next_line(load, &line)) == ST_OK) {
        status = tool_line_read_item(&load->lines, line, &item, &reason);
        if (status == ST_OK && ++keys > load->head.keys) {
            buf_printf(
                &reason, "one key more than the %" PRIu64 " of the first line", load->head.keys);
            status = ST_INVALID;
        }
        if (status == ST_OK)
            status = check_item(load, &item, &reason);
        if (status == ST_INVALID)
            status = refuse_line(load, &reason);
        if (status == ST_OK)
            status = snapshot_writer_add(load->snapshot, item.key, item.version, item.value);
        if (status != ST_OK)
            break;
        tool_progress_tell(&load->progress, keys, load->head.keys, "keys read");
    }
    buf_free(&reason);
    if (status != ST_END)
        return status;
    if (keys == load->head.keys)
        return ST_OK;
    buf_printf(&load->error,
        "line %" PRIu64 ": the dump is cut off: it ends after %" PRIu64 " of %" PRIu64 " keys",
        load->line_number, keys, load->head.keys);
    return ST_INVALID;
}

static enum status make_snapshot(struct load *load) {
    enum status status = snapshot_writer_open(load->dir, load->salt, load->head.last_lsn,
        load->head.first_run, &load->snapshot, &load->error);
    if (status != ST_OK)
        return status;
    status = copy_items(load);
    if (status == ST_OK)
        status = snapshot_writer_finish(load->snapshot, load->head.last_lsn);
    if (status != ST_OK)
        return status;
    struct snapshot_writer *writer = load->snapshot;
    load->snapshot = NULL; /* gone, however this ends */
    return snapshot_writer_publish(writer);
}

/* Without a transaction there is no state to write down; but the dump may go on all the same. */
static enum status expect_end(struct load *load) {
    struct slice line;
    enum status status = next_line(load, &line);
    if (status != ST_OK)
        return status == ST_END ? ST_OK : status;
    buf_printf(&load->error, "line %" PRIu64 ": one key more than the 0 of the first line",
        load->line_number);
    return ST_INVALID;
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
        status = read_head(load);
    if (status == ST_OK)
        status = take_dir(load);
    if (status != ST_OK)
        return status;
    status = make_segment(load);
    if (status == ST_OK)
        status = load->head.last_lsn > 0 ? make_snapshot(load) : expect_end(load);
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
    buf_init(&load->input, (size_t)options->wal_segment_bytes * TEXT_PER_BYTE);
    buf_init(&load->last_key, SIZE_MAX);
    tool_line_reader_init(&load->lines);
    tool_progress_begin(&load->progress, "load");
    enum status status = run_load(load);
    tool_progress_clear(&load->progress);
    buf_append_byte(&load->error, '\0');
    if (status == ST_OK)
        printf("%s: loaded: %" PRIu64 " keys, last LSN %" PRIu64 "\n", load->dir, load->head.keys,
            load->head.last_lsn);
    else
        fprintf(
            stderr, "concave: %s\n", load->error.len > 1 ? load->error.data : status_text(status));
    if (load->lock)
        disk_close(load->lock);
    tool_line_reader_free(&load->lines);
    buf_free(&load->last_key);
    buf_free(&load->input);
    buf_free(&load->error);
    free(load);
    return status == ST_OK ? EXIT_FINE : status == ST_IO ? EXIT_DISK : EXIT_BAD;
}
