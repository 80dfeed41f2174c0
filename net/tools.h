/* The commands that need no server: verify, dump and load work on a data directory, test on an
 * application.
 *
 * verify and dump only read, and may do so beside a running server: files that vanish, come or get
 * another name meanwhile are looked for again, and what the server is just writing at the log's end
 * is no damage. load builds a directory of its own and holds its lock meanwhile.
 *
 * Ownership: the options are the caller's. Threads: main.
 * Errors: an exit code of api.md section 1, after a line on stderr. */
#ifndef CONCAVE_NET_TOOLS_H
#define CONCAVE_NET_TOOLS_H

#include "net/options.h"
#include "shard/script.h"

/* `concave verify DIR`: checks every checksum; what is wrong goes to stderr, a line each, a summary
 * to stdout. */
int tool_verify(const struct options *options);

/* `concave dump DIR [--log]`: the live state, or every record of the log, as lines of JSON on
 * stdout (net/tool_line.h). */
int tool_dump(const struct options *options);

/* `concave load DIR`: a new data directory from a dump on stdin, or from lines like those of one.
 */
int tool_load(const struct options *options);

/* `concave test FILE...`: runs the tests of applications and prints what came of them. */
int tool_test(const struct options *options, const struct script_engine *engine);

#endif
