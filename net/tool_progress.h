/* One line of progress on stderr, rewritten in place, if somebody is looking: a terminal.
 *
 * Threads: main. Errors: none. */
#ifndef CONCAVE_NET_TOOL_PROGRESS_H
#define CONCAVE_NET_TOOL_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct tool_progress {
    const char *command;
    bool shown; /* stderr is a terminal, and stdout is not the same one */
    bool dirty; /* a line stands there */
    uint64_t told_ns;
};

void tool_progress_begin(struct tool_progress *progress, const char *command);
/* Says how far it is: `done` of `total` (0: unknown) of what; some times a second at most. */
void tool_progress_tell(
    struct tool_progress *progress, uint64_t done, uint64_t total, const char *what);
/* Takes the line away, before anything else is printed. */
void tool_progress_clear(struct tool_progress *progress);

#endif
