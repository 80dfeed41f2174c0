/* Choosing a snapshot is trying them, newest first: each is checked block by block while it is
 * loaded, and forgotten if it turns out damaged. That reads a good one once only.
 *
 *   newest snapshot | what is older                       | verdict
 *   ----------------+-------------------------------------+-----------------------------
 *   good            |                                     | used
 *   unknown version |                                     | refused: it is of a newer concave
 *   damaged         | the same table for the next older   | passed over with a warning
 *   none left       | the log begins with LSN 1           | the log alone is used
 *   none left       | the log begins later                | refused, naming the damage
 *
 * and the log must go on, without a gap, from where the one that was used ends. */
#include "core/restore.h"

#include <stdlib.h>

#include "core/diag.h"

#define PROGRESS_BYTES ((uint64_t)4 << 20)

struct run {
    const char *dir;
    const struct restore *restore;
    struct restored *restored;
    struct buf *error;
    uint64_t salt;
    uint64_t reached;  /* the log must reach this LSN */
    struct buf damage; /* what is wrong with the snapshots that were passed over */
};

static void tell_progress(
    const struct run *run, const struct snapshot_reader *reader, uint64_t *told) {
    uint64_t done = snapshot_reader_bytes(reader);
    if (!run->restore->progress || done - *told < PROGRESS_BYTES)
        return;
    *told = done;
    run->restore->progress(
        run->restore->ctx, "snapshot", done, snapshot_reader_info(reader)->bytes);
}

/* ST_OK: all of it is loaded. ST_CORRUPT: it is damaged, as `what` says. */
static enum status load_items(struct run *run, struct snapshot_reader *reader, struct buf *what) {
    const struct restore *restore = run->restore;
    struct snapshot_item item;
    uint64_t told = 0;
    enum status status =
        restore->begin(restore->ctx, run->salt, snapshot_reader_info(reader)->keys);
    while (status == ST_OK) {
        status = snapshot_reader_next(reader, &item, what);
        if (status == ST_END)
            return restore->loaded(restore->ctx);
        if (status == ST_OK)
            status = restore->load(restore->ctx, &item);
        tell_progress(run, reader, &told);
    }
    return status;
}

static enum status load_snapshot(struct run *run, uint64_t lsn, struct buf *what) {
    struct snapshot_reader *reader;
    enum status status = snapshot_reader_open(run->dir, lsn, &reader, what);
    if (status == ST_CORRUPT && lsn > run->reached)
        run->reached = lsn; /* its name is all that can be said of it */
    if (status != ST_OK)
        return status;
    const struct snapshot_info *info = snapshot_reader_info(reader);
    if (info->applied_lsn > run->reached)
        run->reached = info->applied_lsn;
    if (info->salt == run->salt) {
        status = load_items(run, reader, what);
    } else {
        buf_printf(what, "%s: the snapshot of LSN %llu belongs to another data directory", run->dir,
            (unsigned long long)lsn);
        status = ST_CORRUPT;
    }
    if (status == ST_OK) {
        run->restored->has_snapshot = true;
        run->restored->snapshot = *info;
    }
    snapshot_reader_close(reader);
    return status;
}

static void pass_over(struct run *run, const struct buf *what) {
    diag(DIAG_WARN, "%.*s; this snapshot is passed over", (int)what->len, what->data);
    if (run->damage.len > 0)
        buf_append_text(&run->damage, "; ");
    buf_append_slice(&run->damage, buf_slice(what));
    run->restored->passed_over++;
}

/* Loads the newest snapshot that is good; without one, nothing is loaded. */
static enum status load_newest(struct run *run, const uint64_t *lsns, size_t count) {
    const struct restore *restore = run->restore;
    struct buf what;
    buf_init(&what, (size_t)4 * DISK_PATH_BYTES_MAX);
    enum status status = ST_CORRUPT;
    for (size_t i = 0; i < count && status == ST_CORRUPT; i++) {
        buf_reset(&what, SIZE_MAX);
        status = load_snapshot(run, lsns[i], &what);
        if (status == ST_CORRUPT)
            pass_over(run, &what);
    }
    if (status != ST_OK && status != ST_CORRUPT)
        buf_append_slice(run->error, buf_slice(&what));
    buf_free(&what);
    if (status != ST_CORRUPT)
        return status;
    status = restore->begin(restore->ctx, run->salt, 0);
    return status == ST_OK ? restore->loaded(restore->ctx) : status;
}

static void log_progress(void *ctx, uint64_t bytes_done, uint64_t bytes_total) {
    const struct restore *restore = ctx;
    restore->progress(restore->ctx, "log", bytes_done, bytes_total);
}

static enum status apply(
    void *ctx, uint64_t lsn, enum wal_op op, struct slice key, struct slice value) {
    const struct restore *restore = ctx;
    return restore->apply(restore->ctx, lsn, op, key, value);
}

static enum status open_log(struct run *run, const struct wal_options *options, struct wal **wal) {
    struct wal_options behind = *options;
    behind.salt = run->salt;
    behind.snapshot_lsn = run->restored->snapshot.lsn;
    behind.snapshot_applied = run->reached;
    struct wal_replay replay = {
        .ctx = (void *)run->restore,
        .apply = apply,
        .progress = run->restore->progress ? log_progress : NULL,
    };
    struct buf text;
    buf_init(&text, (size_t)4 * DISK_PATH_BYTES_MAX);
    enum status status = wal_open(&behind, &replay, wal, &text);
    if (status == ST_CORRUPT && run->damage.len > 0) {
        buf_append_slice(run->error, buf_slice(&run->damage));
        buf_append_text(run->error, "; and what is older does not make up for it: ");
    }
    buf_append_slice(run->error, buf_slice(&text));
    buf_free(&text);
    return status;
}

enum status restore_run(const struct wal_options *options, const struct restore *restore,
    struct wal **wal, struct restored *restored, struct buf *error) {
    struct run run = {
        .dir = options->dir, .restore = restore, .restored = restored, .error = error};
    uint64_t *lsns = NULL;
    size_t count = 0;
    *wal = NULL;
    *restored = (struct restored){0};
    buf_init(&run.damage, (size_t)16 * DISK_PATH_BYTES_MAX);
    enum status status = snapshot_remove_unfinished(run.dir, error);
    if (status == ST_OK)
        status = wal_read_salt(run.dir, &run.salt, error);
    if (status == ST_OK)
        status = snapshot_list(run.dir, &lsns, &count, error);
    if (status == ST_OK)
        status = load_newest(&run, lsns, count);
    if (status == ST_OK)
        status = open_log(&run, options, wal);
    free(lsns);
    buf_free(&run.damage);
    return status;
}
