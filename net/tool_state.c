#include "net/tool_state.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/random.h>

#include "core/clock.h"
#include "core/hash.h"
#include "core/snapshot.h"
#include "core/wal_format.h"
#include "shard/treap.h"

struct tool_state {
    const char *dir;
    struct tool_progress *progress;
    struct tool_head head;
    struct snapshot_reader *counting, *printing; /* NULL: there is no snapshot */
    struct treap *changes; /* since the snapshot; a key that is gone has an empty value */
    uint64_t hash_seed;
    uint64_t salt;    /* of the log; 0: there is none */
    uint64_t reached; /* what the snapshots tried say was on disk, damaged ones too */
};

const struct tool_head *tool_state_head(const struct tool_state *state) {
    return &state->head;
}

/* ---- the log ---- */

static enum status apply(
    struct tool_state *state, uint64_t lsn, int op, struct slice key, struct slice value) {
    if (op == WAL_FIRST_RUN) {
        state->head.first_run = true;
        return ST_OK;
    }
    if (op != WAL_PUT && op != WAL_DELETE)
        return ST_OK;
    uint64_t hash = hash_key(key, state->hash_seed);
    const struct treap_node *node = treap_find(state->changes, key, hash);
    if (node && treap_version(node) >= lsn)
        return ST_OK;
    if (op == WAL_DELETE && !state->printing) {
        (void)treap_delete(state->changes, key, hash, lsn);
        return ST_OK;
    }
    struct treap_staged staged;
    enum status status =
        treap_stage_put(state->changes, key, hash, op == WAL_PUT ? value : SLICE(""), &staged);
    if (status == ST_OK)
        treap_install_put(state->changes, &staged, lsn);
    return status;
}

static enum status apply_record(void *ctx, uint64_t lsn, struct slice operations) {
    struct slice key, value;
    int op;
    enum status status = ST_OK;
    while (status == ST_OK && wal_op_decode(&operations, &op, &key, &value) == ST_OK)
        status = apply(ctx, lsn, op, key, value);
    return status;
}

/* ---- snapshot and changes, merged ---- */

struct merge {
    struct tool_state *state;
    struct snapshot_reader *reader; /* NULL: none */
    struct snapshot_item item;      /* its next */
    bool has_item;
    tool_item_visit *visit;
    void *ctx;
    uint64_t keys;
    enum status status;
    struct buf *problems;
};

static bool pull(struct merge *merge) {
    merge->has_item = false;
    if (merge->status != ST_OK || !merge->reader)
        return merge->status == ST_OK;
    enum status status = snapshot_reader_next(merge->reader, &merge->item, merge->problems);
    merge->has_item = status == ST_OK;
    if (status != ST_OK && status != ST_END) {
        buf_append_byte(merge->problems, '\n');
        merge->status = status;
    }
    return merge->status == ST_OK;
}

static bool emit(struct merge *merge, struct slice key, struct slice value, uint64_t version) {
    struct tool_item item = {.key = key, .value = value, .version = version};
    merge->keys++;
    if (merge->visit)
        merge->status = merge->visit(merge->ctx, &item);
    tool_progress_tell(merge->state->progress, merge->keys, merge->state->head.keys,
        merge->visit ? "keys written" : "keys read");
    return merge->status == ST_OK;
}

static bool emit_item(struct merge *merge) {
    return emit(merge, merge->item.key, merge->item.value, merge->item.version) && pull(merge);
}

static bool merge_node(void *ctx, const struct treap_node *node) {
    struct merge *merge = ctx;
    struct slice key = treap_key(node);
    while (merge->has_item && slice_compare(merge->item.key, key) < 0)
        if (!emit_item(merge))
            return false;
    if (merge->has_item && slice_equal(merge->item.key, key)) {
        if (merge->item.version > treap_version(node))
            return emit_item(merge);
        if (!pull(merge))
            return false;
    }
    struct slice value = treap_value(node);
    return value.len == 0 || emit(merge, key, value, treap_version(node));
}

static enum status run_merge(struct merge *merge) {
    struct slice all = SLICE("");
    if (pull(merge))
        (void)treap_walk(
            merge->state->changes, all, all, false, false, SIZE_MAX, merge_node, merge);
    while (merge->status == ST_OK && merge->has_item)
        (void)emit_item(merge);
    return merge->status;
}

enum status tool_state_walk(
    struct tool_state *state, tool_item_visit *visit, void *ctx, struct buf *problems) {
    struct merge merge = {
        .state = state,
        .reader = state->printing,
        .visit = visit,
        .ctx = ctx,
        .problems = problems,
    };
    return run_merge(&merge);
}

static enum status count_keys(struct tool_state *state, struct buf *problems) {
    struct merge merge = {.state = state, .reader = state->counting, .problems = problems};
    enum status status = run_merge(&merge);
    state->head.keys = merge.keys;
    return status;
}

/* ---- opening ---- */

static void drop(struct tool_state *state) {
    if (state->counting)
        snapshot_reader_close(state->counting);
    if (state->printing)
        snapshot_reader_close(state->printing);
    treap_destroy(state->changes);
    state->counting = state->printing = NULL;
    state->changes = NULL;
    state->head = (struct tool_head){0};
}

/* Notes what a snapshot shows to have been on disk; of one without a header that is its name. */
static void note_reached(struct tool_state *state, uint64_t lsn) {
    if (lsn > state->reached)
        state->reached = lsn;
}

static enum status open_snapshot(struct tool_state *state, uint64_t lsn, struct buf *problems) {
    enum status status = snapshot_reader_open(state->dir, lsn, &state->counting, problems);
    if (status == ST_CORRUPT)
        note_reached(state, lsn);
    if (status == ST_OK)
        status = snapshot_reader_open(state->dir, lsn, &state->printing, problems);
    if (status == ST_OK) {
        const struct snapshot_info *info = snapshot_reader_info(state->printing);
        note_reached(state, info->applied_lsn);
        state->head.first_run = info->first_run;
        if (state->salt == 0 || state->salt == info->salt)
            return ST_OK;
        buf_printf(problems,
            "%s: the snapshot of LSN %" PRIu64 " belongs to another data directory", state->dir,
            lsn);
        status = ST_CORRUPT;
    }
    buf_append_byte(problems, '\n');
    return status;
}

static enum status read_log(struct tool_state *state, const struct tool_files *files,
    uint64_t snapshot_lsn, struct buf *problems) {
    struct tool_log log = {
        .files = files,
        .problems = problems,
        .notes = problems,
        .progress = state->progress,
        .after_lsn = snapshot_lsn,
        .last_lsn = snapshot_lsn,
        .visit = apply_record,
        .ctx = state,
    };
    enum status status = tool_log_read(&log);
    if (status != ST_OK)
        return status;
    state->head.last_lsn = log.last_lsn;
    if (state->printing)
        status = tool_log_check_snapshot(&log, snapshot_reader_info(state->printing));
    if (status != ST_OK || log.last_lsn >= state->reached)
        return status;
    buf_printf(problems,
        "%s: damaged: the log ends with LSN %" PRIu64
        ", but a snapshot that was passed over shows that LSN %" PRIu64 " was on disk\n",
        state->dir, log.last_lsn, state->reached);
    return ST_CORRUPT;
}

/* The state from this snapshot (0: from none) and the log behind it. */
static enum status build(struct tool_state *state, const struct tool_files *files,
    uint64_t snapshot_lsn, bool *snapshot_is_damaged, struct buf *problems) {
    *snapshot_is_damaged = false;
    enum status status = treap_create(state->hash_seed, &state->changes);
    if (status != ST_OK)
        return status;
    if (snapshot_lsn > 0)
        status = open_snapshot(state, snapshot_lsn, problems);
    *snapshot_is_damaged = status == ST_CORRUPT;
    if (status == ST_OK)
        status = read_log(state, files, snapshot_lsn, problems);
    if (status != ST_OK)
        return status;
    status = count_keys(state, problems);
    *snapshot_is_damaged = status == ST_CORRUPT;
    return status;
}

/* From the newest snapshot that is whole; without any, from a log that begins with LSN 1. */
static enum status build_newest(
    struct tool_state *state, const struct tool_files *files, struct buf *problems) {
    const struct tool_lsns *snapshots = &files->snapshots;
    enum status status = ST_OK;
    bool damaged = true;
    state->salt = state->reached = 0;
    if (snapshots->count > 0 && files->segments.count > 0)
        status = wal_read_salt(state->dir, &state->salt, problems);
    if (status != ST_OK) {
        buf_append_byte(problems, '\n');
        return status;
    }
    for (size_t i = 0; i <= snapshots->count && damaged; i++) {
        drop(state);
        uint64_t lsn = i < snapshots->count ? snapshots->list[i] : 0;
        status = build(state, files, lsn, &damaged, problems);
    }
    return status;
}

static enum status open_state(struct tool_state *state, struct buf *problems) {
    enum status status = ST_OK;
    for (unsigned i = 0; i < TOOL_LISTINGS_MAX; i++) {
        struct tool_files files;
        buf_reset(problems, SIZE_MAX);
        status = tool_files_list(&files, state->dir, i == 0, problems);
        if (status != ST_OK)
            return status;
        status = build_newest(state, &files, problems);
        bool changed = tool_files_changed(&files, status, problems);
        tool_files_free(&files);
        if (!changed)
            break;
    }
    return status;
}

enum status tool_state_open(const char *dir, struct tool_progress *progress,
    struct tool_state **out, struct buf *problems) {
    struct tool_state *state = calloc(1, sizeof(*state));
    if (!state)
        return ST_NOMEM;
    *state =
        (struct tool_state){.dir = dir, .progress = progress, .hash_seed = clock_monotonic_ns()};
    /* Keys may have been chosen by anybody: the treap's shape must not be known to them. */
    (void)!getrandom(&state->hash_seed, sizeof(state->hash_seed), 0);
    enum status status = open_state(state, problems);
    if (status == ST_OK) {
        *out = state;
        return ST_OK;
    }
    tool_state_close(state);
    return status;
}

void tool_state_close(struct tool_state *state) {
    drop(state);
    free(state);
}
