/* The live state of a data directory at its newest LSN, read without changing anything: the newest
 * snapshot that is whole, and over it what the log says since.
 *
 * Only what the log says since the snapshot is kept in memory; the snapshot's keys are merged in as
 * they stream by, once to count the keys and check all of it, once to hand them out. (Its file is
 * open from the beginning: a running server may remove it meanwhile.)
 *
 * Ownership: a state is closed; items are valid during the call that hands them out.
 * Threads: main.
 * Errors: as net/tool_files.h, with a line for each problem. */
#ifndef CONCAVE_NET_TOOL_STATE_H
#define CONCAVE_NET_TOOL_STATE_H

#include "net/tool_files.h"
#include "net/tool_line.h"

struct tool_state;

/* After ST_OK, `problems` may hold a damaged snapshot that was passed over, and a torn end. */
MUST_USE enum status tool_state_open(const char *dir, struct tool_progress *progress,
    struct tool_state **state, struct buf *problems);
void tool_state_close(struct tool_state *state);

/* What a dump says of the whole; all 0 if there has been no transaction. */
const struct tool_head *tool_state_head(const struct tool_state *state);

/* A status other than ST_OK ends the walk with it. */
typedef enum status tool_item_visit(void *ctx, const struct tool_item *item);

/* All keys in byte order; once for each state. */
MUST_USE enum status tool_state_walk(
    struct tool_state *state, tool_item_visit *visit, void *ctx, struct buf *problems);

#endif
