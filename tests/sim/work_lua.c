/* Work of Lua handlers. */
#include "tests/sim/world.h"

void work_lua_open(struct world *world) {
    (void)world;
}
void work_lua_close(struct world *world) {
    (void)world;
}
