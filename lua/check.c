#include "lua/check.h"

#include <stdlib.h>

#include "lua/globals.h"
#include "lua/nearest.h"

#define USES_MAX 1000000u

/* A use that is worth a look: of a global which is not there after the load. */
struct suspect {
    unsigned file; /* index of the source */
    struct global_use use;
};

struct check {
    struct script_app *app;
    lua_State *L;
    unsigned file;
    struct buf dumps[SCRIPT_FILES_MAX]; /* names point into them */
    struct suspect *suspects;
    size_t count, cap;
    enum status status;
};

/* ---- gathering ---- */

/* True if there is a global of that name. */
static bool is_known(lua_State *L, struct slice name) {
    lua_pushglobaltable(L);
    lua_pushlstring(L, name.data, name.len);
    bool known = lua_gettable(L, -2) != LUA_TNIL;
    lua_pop(L, 2);
    return known;
}

static enum status note_use(void *ctx, const struct global_use *use) {
    struct check *check = ctx;
    if (is_known(check->L, use->name))
        return ST_OK;
    if (check->count == USES_MAX)
        return ST_NOMEM;
    if (check->count == check->cap) {
        size_t cap = check->cap ? 2 * check->cap : 64;
        struct suspect *suspects = realloc(check->suspects, cap * sizeof *suspects);
        if (!suspects)
            return ST_NOMEM;
        check->suspects = suspects;
        check->cap = cap;
    }
    check->suspects[check->count++] = (struct suspect){.file = check->file, .use = *use};
    return ST_OK;
}

static int write_dump(lua_State *L, const void *bytes, size_t len, void *ctx) {
    (void)L;
    buf_append(ctx, bytes, len);
    return !buf_ok(ctx);
}

/* In a protected call: finds the suspects of all files. */
static int gather(lua_State *L) {
    struct check *check = lua_touserdata(L, 1);
    check->L = L;
    for (check->file = 0; check->file < check->app->source_count && check->status == ST_OK;
         check->file++) {
        const struct script_source *source = &check->app->sources[check->file];
        struct buf *dump = &check->dumps[check->file];
        if (luaL_loadbufferx(L, source->text, source->len, source->name, "t") != LUA_OK) {
            lua_settop(L, 1); /* loaded by require in a pcall, perhaps: it was told then */
            continue;
        }
        check->status = lua_dump(L, write_dump, dump, 0) == 0 ? ST_OK : ST_NOMEM;
        if (check->status == ST_OK)
            check->status = globals_read(buf_slice(dump), note_use, check);
        lua_settop(L, 1);
    }
    return 0;
}

/* ---- judging ---- */

/* True if a file assigns the name as it is loaded, though it may be nil in the end. */
static bool is_assigned_at_load(const struct check *check, struct slice name) {
    for (size_t i = 0; i < check->count; i++) {
        const struct global_use *use = &check->suspects[i].use;
        if (use->writes && use->top_level && slice_equal(use->name, name))
            return true;
    }
    return false;
}

/* By file, line and name; a write before a read of the same name. */
static int compare(const void *left, const void *right) {
    const struct suspect *a = left, *b = right;
    if (a->file != b->file)
        return a->file < b->file ? -1 : 1;
    if (a->use.line != b->use.line)
        return a->use.line < b->use.line ? -1 : 1;
    int order = slice_compare(a->use.name, b->use.name);
    return order != 0 ? order : b->use.writes - a->use.writes;
}

static bool same_place(const struct suspect *a, const struct suspect *b) {
    return a->file == b->file && a->use.line == b->use.line &&
           slice_equal(a->use.name, b->use.name);
}

/* Looks through all globals for the one most like the name. The names are the Lua state's, which
 * keeps them while they are globals. */
static struct slice find_nearest(lua_State *L, struct slice name) {
    struct nearest nearest = nearest_to(name);
    lua_pushglobaltable(L);
    luaL_getmetafield(L, -1, "__pairs");
    lua_insert(L, -2);
    lua_call(L, 1, 3); /* the globals are sealed: iterator, nil, nil */
    for (;;) {
        lua_pushvalue(L, -3);
        lua_pushvalue(L, -3);
        lua_pushvalue(L, -3);
        lua_call(L, 2, 2);
        lua_pop(L, 1);
        lua_replace(L, -2);
        if (lua_isnil(L, -1))
            break;
        if (lua_type(L, -1) == LUA_TSTRING) {
            struct slice known;
            known.data = lua_tolstring(L, -1, &known.len);
            nearest_try(&nearest, known);
        }
    }
    lua_pop(L, 3);
    return nearest.best;
}

/* In a protected call: writes the problems, each ended by a zero byte. */
static int judge(lua_State *L) {
    struct check *check = lua_touserdata(L, 1);
    struct buf *out = &check->app->problems;
    if (check->count > 0)
        qsort(check->suspects, check->count, sizeof *check->suspects, compare);
    for (size_t i = 0; i < check->count; i++) {
        const struct suspect *suspect = &check->suspects[i];
        struct slice name = suspect->use.name;
        if ((i > 0 && same_place(suspect, suspect - 1)) || is_assigned_at_load(check, name))
            continue;
        buf_printf(out, "%s:%u: ", check->app->sources[suspect->file].name, suspect->use.line);
        if (suspect->use.writes) {
            buf_printf(out,
                "assigns the global '%.*s', but globals are sealed once the file is loaded (is a "
                "'local' missing?)",
                (int)name.len, name.data);
        } else {
            buf_printf(out, "there is no global '%.*s'", (int)name.len, name.data);
            struct slice nearest = find_nearest(L, name);
            if (nearest.data)
                buf_printf(out, " (did you mean '%.*s'?)", (int)nearest.len, nearest.data);
        }
        buf_append_byte(out, '\0');
    }
    return 0;
}

enum status script_check_globals(struct script_vm *vm) {
    struct check *check = calloc(1, sizeof *check);
    if (!check)
        return ST_NOMEM;
    check->app = vm->app;
    for (unsigned i = 0; i < SCRIPT_FILES_MAX; i++)
        buf_init(&check->dumps[i], SIZE_MAX);
    static const lua_CFunction steps[] = {gather, judge};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0] && check->status == ST_OK; i++) {
        lua_pushcfunction(vm->lua, steps[i]);
        lua_pushlightuserdata(vm->lua, check);
        if (lua_pcall(vm->lua, 1, 0, 0) != LUA_OK) {
            lua_settop(vm->lua, 0);
            check->status = ST_NOMEM;
        }
    }
    enum status status = check->status;
    if (status == ST_OK && !buf_ok(&vm->app->problems))
        status = ST_NOMEM;
    for (unsigned i = 0; i < SCRIPT_FILES_MAX; i++)
        buf_free(&check->dumps[i]);
    free(check->suspects);
    free(check);
    return status;
}
