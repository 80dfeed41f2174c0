/* Rendering a compiled template with a Lua value as its data, into a buffer, with pauses.
 *
 * A render is a loop over operations with a stack of its own (struct render), never a recursion in
 * C: so it can stop anywhere, let the shard's loop turn, and go on (lua_yieldk). Data are read raw:
 * no metamethod runs, so nothing of the application's does. The values that are open, one for each
 * section, lie on the Lua stack; the output is a userdata, so both count as the VM's memory and go
 * with the coroutine if the request is dropped while it waits.
 *
 * Ownership: the struct render is a userdata of the VM; the templates outlive it. Threads: the
 * VM's. Errors: Lua errors, with the template's file:line:column. */
#ifndef CONCAVE_LUA_TEMPLATE_RENDER_H
#define CONCAVE_LUA_TEMPLATE_RENDER_H

#include "lua/doom.h"
#include "lua/template_set.h"

#define RENDER_BYTES_MAX ((size_t)8 << 20) /* of output */
#define RENDER_DEPTH_MAX 200u              /* sections and partials inside each other */
#define RENDER_INDENT_MAX 1024u            /* bytes */

/* The stack of the C function that renders: slots from 1. Of a section, two: the list, or the value
 * again, and the current item. */
enum { RENDER_STATE = 1, RENDER_NAMES, RENDER_DATA, RENDER_FIRST };

/* A section or partial that is open. */
struct render_frame {
    uint32_t template; /* of a partial's tag, to return to; TEMPLATE_NONE: a section */
    uint32_t op;       /* the section; or what follows the partial */
    uint32_t indent_from, indent_len; /* of a partial: what they were outside */
    lua_Integer index, count;         /* of the list's items; 0 of 0: no list */
};

struct render {
    const struct template_set *set;
    const void *array_mark, *object_mark; /* the VM's */
    const void *req;   /* the attempt's req, whose fields appear when asked for */
    uint32_t template; /* where it is: in this one, */
    uint32_t op;       /* before this operation */
    uint32_t contexts; /* open sections */
    uint32_t depth;    /* open frames */
    int fuel;          /* work until the next look at the clock */
    char *out;         /* user value 1 of this userdata */
    size_t out_len, out_cap;
    char indent[RENDER_INDENT_MAX]; /* what lines begin with: [indent_from, indent_len) */
    uint32_t indent_from, indent_len;
    struct render_frame frames[RENDER_DEPTH_MAX];
};

/* Starts with template `index` of the set. */
void template_render_start(lua_State *L, struct render *render, uint32_t index);
/* Runs to the end, from the beginning or after a pause; it pauses by a yield that is continued in
 * go_on, which calls this again. At the start the struct render is at RENDER_STATE, the table of
 * names at RENDER_NAMES, the data at RENDER_DATA, and nothing above. At the end the text, a Lua
 * string, is on top of the stack and the result is 1. */
int template_render_run(lua_State *L, lua_KFunction go_on);

#endif
