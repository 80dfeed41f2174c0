/* Log lines of an attempt: kept until it is known to stand, then written.
 *
 * An attempt that lost a conflict never happened, so its lines are dropped with it. They are
 * bounded by SCRIPT_LOG_BYTES_MAX; further ones are counted. For the error that ends the attempt
 * room is kept besides. Threads: the VM's. Errors: none; lines that find no room are counted. */
#ifndef CONCAVE_LUA_LOG_H
#define CONCAVE_LUA_LOG_H

#include "core/diag.h"
#include "lua/vm.h"

/* fields: a JSON object, or empty. */
void script_log(
    struct attempt *attempt, enum diag_level level, struct slice message, struct slice fields);
/* The error that ends the attempt, which is not to be missing however much it has logged. */
void script_log_error(struct attempt *attempt, struct slice message, struct slice fields);
/* Writes the lines, with the request's id, and forgets them. */
void script_log_write(struct attempt *attempt, struct slice id);

#endif
