/* What `concave check` finds in an application that loads: globals that nobody defines.
 *
 * Threads: the VM's. Errors: enum status. */
#ifndef CONCAVE_LUA_CHECK_H
#define CONCAVE_LUA_CHECK_H

#include "lua/vm.h"

/* Notes in app->problems, in the order of files and lines,
 * - each read of a global that the application's files do not assign while they are loaded and that
 *   is not one of Lua's or ours, and
 * - each function that assigns a global which is not there after the load: it would fail, as the
 *   globals are sealed by then.
 * The VM has just loaded the application. ST_OK; ST_NOMEM. */
MUST_USE enum status script_check_globals(struct script_vm *vm);

#endif
