#include "net/tool_progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "core/clock.h"

#define TELL_NS (200 * NS_PER_MS)
#define ERASE_LINE "\r\x1b[K"

void tool_progress_begin(struct tool_progress *progress, const char *command) {
    *progress = (struct tool_progress){
        .command = command,
        .shown = isatty(STDERR_FILENO) && !isatty(STDOUT_FILENO),
        .told_ns = clock_monotonic_ns(),
    };
}

void tool_progress_tell(
    struct tool_progress *progress, uint64_t done, uint64_t total, const char *what) {
    if (!progress->shown)
        return;
    uint64_t now_ns = clock_monotonic_ns();
    if (now_ns - progress->told_ns < TELL_NS)
        return;
    progress->told_ns = now_ns;
    progress->dirty = true;
    if (total > 0)
        fprintf(stderr, ERASE_LINE "%s: %" PRIu64 " of %" PRIu64 " %s", progress->command, done,
            total, what);
    else
        fprintf(stderr, ERASE_LINE "%s: %" PRIu64 " %s", progress->command, done, what);
    fflush(stderr);
}

void tool_progress_clear(struct tool_progress *progress) {
    if (!progress->dirty)
        return;
    progress->dirty = false;
    fputs(ERASE_LINE, stderr);
    fflush(stderr);
}
