/* Lua's string patterns (Lua 5.4 manual, 6.4.1), matched within bounds.
 *
 * The library's matcher backtracks without a look at the clock: "^%s*(.-)%s*$" on a megabyte of
 * blanks takes hours, and nothing could stop it. This one counts its steps, and a match that takes
 * much more of them than its text is long ends with the stretch's error (lua/doom.h). What it
 * matches is the same.
 *
 * Ownership: text and pattern are the caller's and stay where they are. Threads: the VM's.
 * Errors: Lua errors for malformed patterns; dooms the attempt when a match takes too long. */
#ifndef CONCAVE_LUA_PATTERN_H
#define CONCAVE_LUA_PATTERN_H

#include <lua.h>

#include "core/buf.h"
#include "lua/doom.h"

#define PATTERN_CAPTURES_MAX 32

struct pattern_capture {
    const char *start;
    ptrdiff_t len; /* or one of the two below */
};
#define PATTERN_OPEN ((ptrdiff_t)-1)     /* its ')' has not been met */
#define PATTERN_POSITION ((ptrdiff_t)-2) /* "()" */

struct pattern {
    lua_State *L;
    int caller; /* the level on the stack whose place errors tell: 1, who called the C function */
    const char *text, *text_end;
    const char *at, *end; /* of the pattern, without '^' */
    bool anchored;
    unsigned depth;
    int capture_count;
    struct pattern_capture captures[PATTERN_CAPTURES_MAX];
    uint32_t steps; /* until the next look at the clock */
    bool tired;     /* the last look said that it is time for others */
};

void pattern_init(struct pattern *pattern, lua_State *L, struct slice text, struct slice source);
/* Matches at `from` exactly: where the match ends, or NULL. */
const char *pattern_match_at(struct pattern *pattern, const char *from);
/* Finds the first match at or behind *from (at it only if anchored), and moves *from to its start.
 * NULL and pattern->tired: none before *from; the search may rest and go on there. */
const char *pattern_find(struct pattern *pattern, const char **from);
/* After the last match of a call: what was much work lets the hook look soon. */
void pattern_done(struct pattern *pattern);

/* Pushes a capture of the last match, [start, end): the whole match for index 0 if there are none.
 */
void pattern_push_capture(struct pattern *pattern, int index, const char *start, const char *end);
/* Pushes all captures, or the whole match if there are none (and `whole`); returns how many. */
int pattern_push_captures(struct pattern *pattern, const char *start, const char *end, bool whole);

/* True if the source has no special characters, so that it matches only itself. */
bool pattern_is_plain(struct slice source);

#endif
