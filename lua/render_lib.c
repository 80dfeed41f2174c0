/* render(name, data): the text of a Mustache template (see lua/template_render.h).
 *
 * Each VM keeps one struct render with its buffer, so that a render of usual size allocates
 * nothing; one that starts while another is paused makes its own. */
#include "lua/sandbox.h"
#include "lua/template_render.h"

#define KEEP_BYTES ((size_t)256 << 10) /* what a kept buffer may hold on to */
#define NAMES_AT_ONCE 1024u

/* In the registry: the struct render that is free, or false; and the table of names. */
static const char free_key, names_key;

static struct render *push_state(lua_State *L) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &free_key);
    struct render *render = lua_touserdata(L, -1);
    if (render) {
        lua_pushboolean(L, 0);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &free_key);
        return render;
    }
    lua_pop(L, 1);
    render = lua_newuserdatauv(L, sizeof *render, 1);
    render->out = NULL;
    render->out_cap = 0;
    return render;
}

static void keep_state(lua_State *L) {
    const struct render *render = lua_touserdata(L, RENDER_STATE);
    if (render->out_cap > KEEP_BYTES)
        return;
    lua_pushvalue(L, RENDER_STATE);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &free_key);
}

static int end_render(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    int results = template_render_run(L, end_render);
    keep_state(L);
    return results;
}

static uint32_t find_template(lua_State *L) {
    const struct template_set *set = script_vm_of(L)->app->templates;
    struct slice name;
    luaL_checktype(L, 1, LUA_TSTRING);
    name.data = lua_tolstring(L, 1, &name.len);
    if (!template_name_valid(name))
        luaL_error(L, "render: bad name '%s': it has parts between '/', none of them '..' or empty",
            name.data);
    uint32_t index = template_set_find(set, name);
    if (index == TEMPLATE_NONE && set->trouble)
        luaL_error(L, "render: no template '%s' (not all was read: %s)", name.data, set->trouble);
    if (index == TEMPLATE_NONE)
        luaL_error(L,
            "render: no template '%s': there was no %s.mustache in the resources folder "
            "when the application was loaded",
            name.data, name.data);
    if (!set->entries[index].template)
        luaL_error(L, "%s", set->entries[index].error);
    return index;
}

/* render(name[, data]) */
static int lib_render(lua_State *L) {
    script_check_doom(L);
    uint32_t index = find_template(L);
    lua_settop(L, 2);
    struct render *render = push_state(L);
    lua_replace(L, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &names_key);
    lua_insert(L, 2); /* as RENDER_STATE, RENDER_NAMES, RENDER_DATA want it */
    template_render_start(L, render, index);
    return end_render(L, LUA_OK, 0);
}

void script_open_render(lua_State *L) {
    static const luaL_Reg functions[] = {{"render", lib_render}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
    uint32_t names = script_vm_of(L)->app->templates->name_count;
    lua_createtable(L, names < NAMES_AT_ONCE ? (int)names : (int)NAMES_AT_ONCE, 0);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &names_key);
    lua_pushboolean(L, 0);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &free_key);
}
