/* What verify and dump see of a data directory: its files, and the log read in order without
 * changing anything.
 *
 * A server may run beside them. Then the log's end is being written, so what looks unfinished there
 * is looked at twice; segments and snapshots come and go, so a file that is missing, or a log that
 * does not join, is only believed if a second listing shows the same files (tool_files_changed).
 *
 * Ownership: tool_files_free frees a listing; keys, values and records are valid during the call
 * that hands them out.
 * Threads: main.
 * Errors: ST_NOT_FOUND for a file that was listed and is gone; ST_CORRUPT, ST_INVALID (unknown
 * format version), ST_IO, ST_NOMEM; a line for each problem goes to `problems`. */
#ifndef CONCAVE_NET_TOOL_FILES_H
#define CONCAVE_NET_TOOL_FILES_H

#include "core/snapshot.h"
#include "core/wal.h"
#include "net/tool_progress.h"

/* How often a directory that changes under our hands is listed again. */
#define TOOL_LISTINGS_MAX 20

/* Of the text about problems. */
#define TOOL_PROBLEM_BYTES_MAX ((size_t)1 << 20)

/* The LSNs that file names tell. */
struct tool_lsns {
    uint64_t *list;
    size_t count;
};

struct tool_files {
    const char *dir;
    struct tool_lsns segments;  /* oldest first */
    struct tool_lsns snapshots; /* newest first */
};

/* Stray files are reported (diag) if so asked. ST_OK; ST_NOMEM, ST_IO. */
MUST_USE enum status tool_files_list(
    struct tool_files *files, const char *dir, bool report_strays, struct buf *problems);
void tool_files_free(struct tool_files *files);
/* After reading them has ended with this status: true if that may be because a server has changed
 * the directory meanwhile, so that all is to be done again with a new listing. */
bool tool_files_changed(const struct tool_files *files, enum status status, struct buf *problems);
/* The lines of `problems` to stderr, each with the program's name before it; if there was no memory
 * for any, that. */
void tool_files_tell(const struct buf *problems, struct tool_progress *progress);

/* Gets each record behind after_lsn, its operations all in order; a status other than ST_OK ends
 * the reading with it. */
typedef enum status tool_visit(void *ctx, uint64_t lsn, struct slice operations);

struct tool_log {
    const struct tool_files *files;
    struct buf *problems;
    struct tool_progress *progress;
    bool keep_going;    /* past damage, to find all of it, and past segments that are gone */
    bool any_beginning; /* the oldest segment need not follow after_lsn */
    uint64_t after_lsn; /* what a snapshot holds; 0: nothing */
    tool_visit *visit;  /* NULL: none */
    void *ctx;

    /* what was found */
    uint64_t salt; /* of the oldest segment read */
    uint64_t records, bytes;
    uint64_t first_lsn; /* of the oldest segment read */
    uint64_t last_lsn;  /* the next record will have a higher one */
    uint64_t joins_lsn; /* what the next segment's header must say is before it: a gap that a
                           segment without records declares is behind this */
    uint64_t gone;      /* segments that were not there any more */
    struct buf *notes;  /* a line about a torn end */
};

/* Reads the segments in order; of those that after_lsn covers only if keep_going. */
MUST_USE enum status tool_log_read(struct tool_log *log);
/* What was read must reach as far as this snapshot says. ST_OK, ST_CORRUPT. */
MUST_USE enum status tool_log_check_snapshot(
    const struct tool_log *log, const struct snapshot_info *info);

#endif
