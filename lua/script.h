/* The script engine that net/main.c hands to the shards: Lua 5.4 (see shard/script.h). */
#ifndef CONCAVE_LUA_SCRIPT_H
#define CONCAVE_LUA_SCRIPT_H

#include "shard/script.h"

extern const struct script_engine lua_script_engine;

#endif
