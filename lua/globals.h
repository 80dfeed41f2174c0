/* Names that a compiled file uses as globals, with their lines.
 *
 * They are read from the function's own bytecode: the compiler knows best what is local. The format
 * is that of Lua 5.4's lua_dump, which has no specification but its source (ldump.c, lopcodes.h of
 * 5.4); its header is checked, and every length.
 *
 * Ownership: names point into the dump. Threads: none of its own. Errors: enum status. */
#ifndef CONCAVE_LUA_GLOBALS_H
#define CONCAVE_LUA_GLOBALS_H

#include "core/buf.h"
#include "core/status.h"

struct global_use {
    struct slice name;
    unsigned line;
    bool writes;
    bool top_level; /* outside of all functions: runs once, while the file is loaded */
};

/* Calls visit for each use, function by function. ST_OK; ST_INVALID if it is not such a dump;
 * ST_NOMEM; a status other than ST_OK of visit's ends it. */
MUST_USE enum status globals_read(
    struct slice dump, enum status (*visit)(void *ctx, const struct global_use *use), void *ctx);

#endif
