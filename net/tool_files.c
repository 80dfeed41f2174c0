#include "net/tool_files.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/wal_reader.h"

/* ---- listing ---- */

enum status tool_files_list(
    struct tool_files *files, const char *dir, bool report_strays, struct buf *problems) {
    struct tool_lsns *segments = &files->segments, *snapshots = &files->snapshots;
    *files = (struct tool_files){.dir = dir};
    if (strlen(dir) + 1 + SNAPSHOT_NAME_BYTES > DISK_PATH_BYTES_MAX) {
        buf_printf(problems, "%s: the path is too long\n", dir);
        return ST_IO;
    }
    /* In this order: the log behind a snapshot is there before the snapshot has its name. */
    enum status status = snapshot_list(dir, &snapshots->list, &snapshots->count, problems);
    if (status == ST_OK)
        status = wal_list_segments(dir, report_strays, &segments->list, &segments->count, problems);
    if (status != ST_OK) {
        buf_append_byte(problems, '\n');
        tool_files_free(files);
    }
    return status;
}

void tool_files_free(struct tool_files *files) {
    free(files->segments.list);
    free(files->snapshots.list);
    files->segments = files->snapshots = (struct tool_lsns){0};
}

static bool same_lsns(const struct tool_lsns *a, const struct tool_lsns *b) {
    return a->count == b->count &&
           (a->count == 0 || memcmp(a->list, b->list, a->count * sizeof(*a->list)) == 0);
}

bool tool_files_changed(const struct tool_files *files, enum status status, struct buf *problems) {
    struct tool_files now;
    if (status != ST_NOT_FOUND && status != ST_CORRUPT && status != ST_INVALID)
        return false;
    if (tool_files_list(&now, files->dir, false, problems) != ST_OK)
        return false;
    bool same =
        same_lsns(&files->segments, &now.segments) && same_lsns(&files->snapshots, &now.snapshots);
    tool_files_free(&now);
    return !same;
}

void tool_files_tell(const struct buf *problems, struct tool_progress *progress) {
    tool_progress_clear(progress);
    const char *at = problems->data, *end = at + problems->len;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t len = (size_t)((newline ? newline : end) - at);
        fprintf(stderr, "concave: %.*s\n", (int)len, at);
        at += len + 1;
    }
    if (problems->len == 0 && !buf_ok(problems))
        fputs("concave: out of memory\n", stderr);
}

/* ---- one segment ---- */

/* The segment at hand. */
struct segment {
    struct tool_log *log;
    struct wal_reader reader;
    char path[DISK_PATH_BYTES_MAX];
    uint64_t name_lsn; /* the first LSN, as its name says */
    uint64_t next_lsn; /* that of the segment behind it; 0: it is the last */
    bool last;
};

static void segment_path(struct segment *segment) {
    char name[WAL_NAME_BYTES];
    wal_segment_name(segment->name_lsn, name);
    /* Its length was looked at when the directory was listed. */
    (void)snprintf(
        segment->path, sizeof(segment->path), "%.4000s/%s", segment->log->files->dir, name);
}

static enum status cannot_read(struct segment *segment, enum status status, uint64_t offset) {
    buf_printf(segment->log->problems, "%s: offset %" PRIu64 ": cannot be read: %s\n",
        segment->path, offset, status == ST_NOMEM ? "out of memory" : strerror(errno));
    return status == ST_NOMEM ? ST_NOMEM : ST_IO;
}

static enum status open_segment(struct segment *segment) {
    struct buf *problems = segment->log->problems;
    enum status status = wal_reader_open(&segment->reader, segment->path);
    switch (status) {
    case ST_OK:
        if (segment->reader.header.first_lsn == segment->name_lsn)
            return ST_OK;
        buf_printf(problems,
            "%s: offset 0: damaged: its header is of the segment of LSN %" PRIu64 "\n",
            segment->path, segment->reader.header.first_lsn);
        wal_reader_close(&segment->reader);
        return ST_CORRUPT;
    case ST_INVALID:
        buf_printf(problems,
            "%s: format version %u is unknown to this concave, which knows version %u\n",
            segment->path, (unsigned)segment->reader.header.version, WAL_FORMAT_VERSION);
        return status;
    case ST_CORRUPT:
        buf_printf(problems,
            "%s: offset 0: damaged: the header is unreadable, LSN %" PRIu64 " is lost\n",
            segment->path, segment->name_lsn);
        return status;
    case ST_NOT_FOUND:
        if (!segment->log->keep_going)
            buf_printf(problems, "%s: was there and is gone\n", segment->path);
        return status;
    default:
        return cannot_read(segment, status, 0);
    }
}

/* The segment must go on where the one before it has ended. */
static enum status check_joint(struct segment *segment, bool first, bool before_is_known) {
    const struct tool_log *log = segment->log;
    const struct wal_segment_header *header = &segment->reader.header;
    if (!first && header->salt != log->salt) {
        buf_printf(log->problems,
            "%s: offset 0: LSN %" PRIu64 ": it belongs to another data directory\n", segment->path,
            header->first_lsn);
        return ST_CORRUPT;
    }
    bool joins = first ? log->any_beginning || header->before_lsn <= log->after_lsn
                       : header->before_lsn == log->joins_lsn || !before_is_known;
    if (joins)
        return ST_OK;
    buf_printf(log->problems,
        "%s: offset 0: damaged: it goes on after LSN %" PRIu64
        ", but what is before it ends with LSN %" PRIu64 "\n",
        segment->path, header->before_lsn, first ? log->after_lsn : log->joins_lsn);
    return ST_CORRUPT;
}

static enum status check_operations(
    const struct segment *segment, const struct wal_record_head *head, struct slice operations) {
    struct slice key, value;
    int op;
    enum status status;
    while ((status = wal_op_decode(&operations, &op, &key, &value)) == ST_OK)
        ;
    if (status == ST_END)
        return ST_OK;
    buf_printf(segment->log->problems,
        "%s: offset %" PRIu64 ": damaged: LSN %" PRIu64 " holds no valid operations\n",
        segment->path, segment->reader.offset - head->bytes, head->lsn);
    return ST_CORRUPT;
}

/* The next record. A server that starts may shorten the file under our hands. */
static enum status next_record(
    struct wal_reader *reader, struct wal_record_head *head, const unsigned char **record) {
    uint64_t size = reader->size;
    enum status status = wal_reader_next(reader, head, record);
    if (status == ST_IO && wal_reader_refresh(reader) == ST_OK && reader->size != size)
        status = wal_reader_next(reader, head, record);
    return status;
}

/* All records that are readable in order. */
static enum status read_records(struct segment *segment) {
    struct tool_log *log = segment->log;
    struct wal_reader *reader = &segment->reader;
    struct wal_record_head head;
    const unsigned char *record;
    enum status status;
    while ((status = next_record(reader, &head, &record)) == ST_OK) {
        struct slice operations = slice_of(
            (const char *)record + WAL_RECORD_HEADER_BYTES, head.bytes - WAL_RECORD_HEADER_BYTES);
        status = check_operations(segment, &head, operations);
        if (status == ST_OK && log->visit && head.lsn > log->after_lsn)
            status = log->visit(log->ctx, head.lsn, operations);
        if (status != ST_OK)
            return status;
        log->records++;
        tool_progress_tell(
            log->progress, (log->bytes + reader->offset) >> 20, 0, "MiB of the log read");
    }
    return status == ST_END ? ST_OK : cannot_read(segment, status, reader->offset);
}

/* Bytes behind the last readable record of the log's end: being written, torn, or damage? What says
 * that it is damage (see core/wal_open.c) also says that the unreadable LSN was on disk before; so
 * if a server was only just writing it, it is whole at the second look. */
static enum status judge_end(struct segment *segment, uint64_t dirty, bool *goes_on) {
    struct tool_log *log = segment->log;
    struct wal_reader *reader = &segment->reader;
    struct wal_record_head behind;
    uint64_t offset, lsn = reader->next_lsn;
    *goes_on = false;
    enum status evidence = wal_reader_find_durable(reader, lsn, &behind, &offset);
    if (evidence != ST_OK && evidence != ST_NOT_FOUND)
        return cannot_read(segment, evidence, reader->offset);
    enum status status = wal_reader_refresh(reader);
    if (status == ST_OK)
        status = read_records(segment);
    if (status != ST_OK)
        return status;
    if (reader->next_lsn > lsn) {
        *goes_on = true;
        return ST_OK;
    }
    if (evidence == ST_OK) {
        buf_printf(log->problems,
            "%s: offset %" PRIu64 ": damaged: LSN %" PRIu64
            " is unreadable, but the record behind it of LSN %" PRIu64
            " shows that it was on disk\n",
            segment->path, reader->offset, lsn, behind.lsn);
        return ST_CORRUPT;
    }
    buf_printf(log->notes,
        "%s: offset %" PRIu64 ": the log ends torn: LSN %" PRIu64
        " was never acknowledged (or a server is writing it)\n",
        segment->path, dirty, lsn);
    return ST_OK;
}

/* Bytes behind the last readable record of a segment that is not the last one. */
static enum status judge_rest(struct segment *segment, uint64_t dirty) {
    const struct wal_reader *reader = &segment->reader;
    struct tool_log *log = segment->log;
    if (reader->next_lsn != segment->next_lsn) {
        buf_printf(log->problems,
            "%s: offset %" PRIu64 ": damaged: LSN %" PRIu64
            " is unreadable, but the segment after it shows that it was on disk\n",
            segment->path, reader->offset, reader->next_lsn);
        return ST_CORRUPT;
    }
    /* No record is missing: only who looks for all damage minds. */
    if (!log->keep_going)
        return ST_OK;
    buf_printf(log->problems,
        "%s: offset %" PRIu64 ": damaged: behind the last record, LSN %" PRIu64
        ", are bytes that are none\n",
        segment->path, dirty, reader->next_lsn - 1);
    return ST_CORRUPT;
}

static enum status check_end(struct segment *segment) {
    struct wal_reader *reader = &segment->reader;
    bool goes_on = true;
    enum status status = ST_OK;
    while (status == ST_OK && goes_on) { /* each round has read a record more */
        uint64_t dirty;
        status = wal_reader_find_nonzero(reader, reader->offset, &dirty);
        if (status != ST_OK)
            return cannot_read(segment, status, reader->offset);
        if (dirty >= reader->size)
            return ST_OK;
        if (!segment->last)
            return judge_rest(segment, dirty);
        status = judge_end(segment, dirty, &goes_on);
    }
    return status;
}

/* ---- the log ---- */

static enum status read_segment(struct segment *segment, bool first, bool before_is_known) {
    struct tool_log *log = segment->log;
    segment_path(segment);
    enum status status = open_segment(segment);
    if (status != ST_OK)
        return status;
    if (first) {
        log->salt = segment->reader.header.salt;
        log->first_lsn = segment->reader.header.first_lsn;
        if (log->any_beginning && log->visit && log->after_lsn > 0 &&
            segment->reader.header.before_lsn > log->after_lsn)
            buf_printf(log->notes,
                "%s: the records between LSN %" PRIu64 " and this segment were removed meanwhile\n",
                segment->path, log->after_lsn);
    }
    status = check_joint(segment, first, before_is_known);
    if (status == ST_OK || log->keep_going) {
        enum status more = read_records(segment);
        if (more == ST_OK)
            more = check_end(segment);
        log->last_lsn = segment->reader.next_lsn - 1;
        log->joins_lsn = segment->reader.next_lsn > segment->reader.header.first_lsn
                             ? log->last_lsn
                             : segment->reader.header.before_lsn;
        status = status == ST_OK ? more : status;
    }
    log->bytes += segment->reader.size;
    wal_reader_close(&segment->reader);
    return status;
}

/* What comes back if a segment ended with this status and others are to be read all the same. */
static enum status pass_over(struct tool_log *log, enum status status, enum status worst) {
    if (status != ST_NOT_FOUND)
        return status;
    log->gone++;
    log->any_beginning = true; /* the oldest ones go first */
    return worst;
}

enum status tool_log_read(struct tool_log *log) {
    const struct tool_lsns *segments = &log->files->segments;
    enum status worst = ST_OK;
    bool first = true, before_is_known = true;
    for (size_t i = 0; i < segments->count; i++) {
        bool last = i + 1 == segments->count;
        bool covered = !last && segments->list[i + 1] <= log->after_lsn + 1;
        if (covered && !log->keep_going)
            continue;
        struct segment segment = {.log = log,
            .name_lsn = segments->list[i],
            .next_lsn = last ? 0 : segments->list[i + 1],
            .last = last};
        enum status status = read_segment(&segment, first, before_is_known);
        bool goes_on =
            status == ST_OK || (log->keep_going && (status == ST_CORRUPT || status == ST_INVALID ||
                                                       status == ST_NOT_FOUND));
        if (!goes_on)
            return status;
        if (status != ST_OK)
            worst = pass_over(log, status, worst);
        before_is_known = status == ST_OK;
        first = first && status == ST_NOT_FOUND;
    }
    return worst;
}

enum status tool_log_check_snapshot(const struct tool_log *log, const struct snapshot_info *info) {
    const char *dir = log->files->dir;
    if (log->files->segments.count == 0) {
        buf_printf(log->problems,
            "%s: damaged: no log segment is there, but the snapshot of LSN %" PRIu64
            " goes on in one\n",
            dir, info->lsn);
        return ST_CORRUPT;
    }
    if (log->salt != info->salt) {
        buf_printf(log->problems,
            "%s: the log and the snapshot of LSN %" PRIu64
            " belong to different data directories\n",
            dir, info->lsn);
        return ST_CORRUPT;
    }
    if (log->last_lsn >= info->applied_lsn)
        return ST_OK;
    buf_printf(log->problems,
        "%s: damaged: the log ends with LSN %" PRIu64 ", but the snapshot of LSN %" PRIu64
        " shows that LSN %" PRIu64 " was on disk\n",
        dir, log->last_lsn, info->lsn, info->applied_lsn);
    return ST_CORRUPT;
}
