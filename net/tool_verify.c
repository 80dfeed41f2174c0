#include <inttypes.h>
#include <stdio.h>

#include "net/server.h"
#include "net/tool_files.h"
#include "net/tools.h"

struct verify {
    const char *dir;
    struct buf problems, notes;
    struct tool_progress progress;
    /* what was read */
    size_t segments, snapshots;
    uint64_t records, keys, bytes;
    uint64_t first_lsn, last_lsn;
    uint64_t gone; /* files that were listed and were not there any more */
};

/* ---- snapshots ---- */

static enum status read_snapshot(struct verify *verify, uint64_t lsn, struct snapshot_info *info) {
    struct snapshot_reader *reader;
    struct snapshot_item item;
    size_t problems_len = verify->problems.len;
    enum status status = snapshot_reader_open(verify->dir, lsn, &reader, &verify->problems);
    if (status == ST_NOT_FOUND) {
        verify->gone++;
        verify->problems.len = problems_len; /* it is none */
        return status;
    }
    if (status != ST_OK) {
        buf_append_byte(&verify->problems, '\n');
        return status;
    }
    *info = *snapshot_reader_info(reader);
    while ((status = snapshot_reader_next(reader, &item, &verify->problems)) == ST_OK)
        tool_progress_tell(&verify->progress, snapshot_reader_bytes(reader) >> 20,
            info->bytes >> 20, "MiB of a snapshot read");
    snapshot_reader_close(reader);
    if (status != ST_END) {
        buf_append_byte(&verify->problems, '\n');
        return status;
    }
    verify->snapshots++;
    verify->keys += info->keys;
    verify->bytes += info->bytes;
    return ST_OK;
}

/* All of them, and which is the newest that is whole (its lsn is 0 if there is none). */
static enum status read_snapshots(
    struct verify *verify, const struct tool_files *files, struct snapshot_info *newest) {
    enum status worst = ST_OK;
    *newest = (struct snapshot_info){0};
    verify->snapshots = 0;
    verify->keys = verify->bytes = verify->gone = 0;
    for (size_t i = 0; i < files->snapshots.count; i++) {
        struct snapshot_info info;
        enum status status = read_snapshot(verify, files->snapshots.list[i], &info);
        if (status == ST_OK && newest->lsn == 0)
            *newest = info;
        else if (status != ST_OK && status != ST_NOT_FOUND)
            worst = status;
    }
    return worst;
}

/* ---- the log ---- */

static enum status read_log(struct verify *verify, const struct tool_files *files,
    const struct snapshot_info *newest, bool snapshots_are_whole) {
    struct tool_log log = {
        .files = files,
        .problems = &verify->problems,
        .notes = &verify->notes,
        .progress = &verify->progress,
        .keep_going = true,
        /* Where it ought to begin is known only if the snapshots are. */
        .any_beginning = newest->lsn == 0 && (!snapshots_are_whole || verify->gone > 0),
        .after_lsn = newest->lsn,
        .last_lsn = newest->lsn,
    };
    enum status status = tool_log_read(&log);
    if (status == ST_OK && newest->lsn > 0)
        status = tool_log_check_snapshot(&log, newest);
    verify->gone += log.gone;
    verify->segments = files->segments.count - (size_t)log.gone;
    verify->records = log.records;
    verify->bytes += log.bytes;
    verify->first_lsn = log.first_lsn;
    verify->last_lsn = log.last_lsn;
    return status;
}

/* ---- the whole ---- */

static enum status verify_files(struct verify *verify, const struct tool_files *files) {
    struct snapshot_info newest;
    enum status snapshots = read_snapshots(verify, files, &newest);
    enum status log = read_log(verify, files, &newest, snapshots == ST_OK);
    return log == ST_OK ? snapshots : log;
}

/* A server removes files that it does not need any more; anything else that can be listed but not
 * opened is a problem. */
static enum status judge_gone(struct verify *verify, const struct tool_files *files) {
    if (verify->gone == 0 || tool_files_changed(files, ST_NOT_FOUND, &verify->problems))
        return ST_OK;
    buf_printf(
        &verify->problems, "%s: %" PRIu64 " files cannot be opened\n", verify->dir, verify->gone);
    return ST_IO;
}

static enum status verify_dir(struct verify *verify) {
    enum status status = ST_OK;
    for (unsigned i = 0; i < TOOL_LISTINGS_MAX; i++) {
        struct tool_files files;
        buf_reset(&verify->problems, SIZE_MAX);
        buf_reset(&verify->notes, SIZE_MAX);
        status = tool_files_list(&files, verify->dir, i == 0, &verify->problems);
        if (status != ST_OK)
            return status;
        status = verify_files(verify, &files);
        if (status == ST_OK)
            status = judge_gone(verify, &files);
        bool changed = tool_files_changed(&files, status, &verify->problems);
        tool_files_free(&files);
        if (!changed)
            break;
    }
    return status;
}

static void print_summary(const struct verify *verify, bool fine) {
    printf("%s: %s: %zu segments with %" PRIu64 " records", verify->dir, fine ? "fine" : "not fine",
        verify->segments, verify->records);
    if (verify->records > 0)
        printf(", LSN %" PRIu64 " to %" PRIu64, verify->first_lsn, verify->last_lsn);
    else
        printf(", last LSN %" PRIu64, verify->last_lsn);
    printf("; %zu snapshots with %" PRIu64 " keys; %" PRIu64 " bytes\n", verify->snapshots,
        verify->keys, verify->bytes);
}

int tool_verify(const struct options *options) {
    struct verify verify = {.dir = options->dir};
    diag_configure(options->log_level, options->log_format);
    buf_init(&verify.problems, TOOL_PROBLEM_BYTES_MAX);
    buf_init(&verify.notes, TOOL_PROBLEM_BYTES_MAX);
    tool_progress_begin(&verify.progress, "verify");
    enum status status = verify_dir(&verify);
    if (status == ST_NOMEM)
        buf_append_text(&verify.problems, "out of memory\n");
    tool_files_tell(&verify.problems, &verify.progress);
    tool_files_tell(&verify.notes, &verify.progress);
    print_summary(&verify, status == ST_OK);
    bool printed = fflush(stdout) == 0;
    buf_free(&verify.problems);
    buf_free(&verify.notes);
    return status == ST_OK && printed ? EXIT_FINE : EXIT_BAD;
}
