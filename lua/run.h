/* Running handlers: the three procedures that scripts offer the shards (shard/procedure.h).
 *
 *      start -> resume* -> (finish | drop)
 *
 * An attempt runs in a coroutine whose first function is ours: it makes args and req, calls the
 * handler, and checks what that returned, so all of it is protected and may yield. An attempt ends
 * well (its verdict is in the attempt), doomed (the doom decides), or with an error of the
 * handler's. Threads: the shard's. Errors: verdicts; see struct procedure. */
#ifndef CONCAVE_LUA_RUN_H
#define CONCAVE_LUA_RUN_H

#include "shard/procedure.h"

extern const struct procedure script_handler;
extern const struct procedure script_first_run;
extern const struct procedure script_on_start;

#endif
