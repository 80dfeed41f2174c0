#include <errno.h>
#include <stdio.h>

#include "net/server.h"
#include "net/tool_state.h"
#include "net/tools.h"

/* Lines are gathered until there are so many bytes. */
#define OUTPUT_BYTES ((size_t)256 << 10)

struct dump {
    struct buf out;
    struct buf problems;
    struct tool_progress progress;
    const struct tool_head *head; /* of the state; NULL once a line says it */
    uint64_t last_lsn;            /* printed, of the log */
};

/* ---- output ---- */

static enum status flush_output(struct dump *dump) {
    bool written = fwrite(dump->out.data, 1, dump->out.len, stdout) == dump->out.len;
    if (!written) {
        buf_printf(&dump->problems, "standard output: %s\n", strerror(errno));
        return ST_IO;
    }
    buf_reset(&dump->out, OUTPUT_BYTES * 2);
    return ST_OK;
}

/* After a line was appended, or was not. */
static enum status line_done(
    struct dump *dump, enum status status, const char *what, uint64_t number) {
    if (status == ST_OK)
        return dump->out.len >= OUTPUT_BYTES ? flush_output(dump) : ST_OK;
    buf_printf(&dump->problems, "%s %llu cannot be shown: %s\n", what, (unsigned long long)number,
        status_text(status));
    return status;
}

static enum status end_output(struct dump *dump) {
    enum status status = dump->out.len > 0 ? flush_output(dump) : ST_OK;
    if (status == ST_OK && fflush(stdout) != 0) {
        buf_printf(&dump->problems, "standard output: %s\n", strerror(errno));
        return ST_IO;
    }
    return status;
}

/* ---- the state ---- */

static enum status print_item(void *ctx, const struct tool_item *item) {
    struct dump *dump = ctx;
    enum status status = tool_line_item(item, dump->head, &dump->out);
    dump->head = NULL;
    return line_done(dump, status, "the value with version", item->version);
}

static enum status dump_state(struct dump *dump, const char *dir) {
    struct tool_state *state;
    enum status status = tool_state_open(dir, &dump->progress, &state, &dump->problems);
    if (status != ST_OK)
        return status;
    dump->head = tool_state_head(state);
    if (dump->head->keys > 0)
        status = tool_state_walk(state, print_item, dump, &dump->problems);
    else if (dump->head->last_lsn > 0)
        status = tool_line_no_items(dump->head, &dump->out);
    tool_state_close(state);
    return status;
}

/* ---- the log ---- */

static enum status print_record(void *ctx, uint64_t lsn, struct slice operations) {
    struct dump *dump = ctx;
    enum status status =
        line_done(dump, tool_line_record(lsn, operations, &dump->out), "the record of LSN", lsn);
    if (status == ST_OK)
        dump->last_lsn = lsn;
    return status;
}

static enum status read_log(struct dump *dump, const struct tool_files *files) {
    struct tool_log log = {
        .files = files,
        .problems = &dump->problems,
        .notes = &dump->problems,
        .progress = &dump->progress,
        .any_beginning = true,
        .after_lsn = dump->last_lsn,
        .visit = print_record,
        .ctx = dump,
    };
    return tool_log_read(&log);
}

/* If segments go or come meanwhile, on from the last record that was printed. */
static enum status dump_log(struct dump *dump, const char *dir) {
    enum status status = ST_OK;
    for (unsigned i = 0; i < TOOL_LISTINGS_MAX; i++) {
        struct tool_files files;
        buf_reset(&dump->problems, SIZE_MAX);
        status = tool_files_list(&files, dir, i == 0, &dump->problems);
        if (status != ST_OK)
            return status;
        status = read_log(dump, &files);
        bool changed = tool_files_changed(&files, status, &dump->problems);
        tool_files_free(&files);
        if (!changed)
            break;
    }
    return status;
}

int tool_dump(const struct options *options) {
    struct dump dump = {0};
    diag_configure(options->log_level, options->log_format);
    buf_init(&dump.out, SIZE_MAX);
    buf_init(&dump.problems, TOOL_PROBLEM_BYTES_MAX);
    tool_progress_begin(&dump.progress, "dump");
    enum status status =
        options->dump_log ? dump_log(&dump, options->dir) : dump_state(&dump, options->dir);
    if (status == ST_NOMEM)
        buf_append_text(&dump.problems, "out of memory\n");
    enum status ended = end_output(&dump);
    tool_files_tell(&dump.problems, &dump.progress);
    buf_free(&dump.out);
    buf_free(&dump.problems);
    return status == ST_OK && ended == ST_OK ? EXIT_FINE : EXIT_BAD;
}
