#include "lua/load.h"

#include <stdlib.h>
#include <string.h>

#include "lua/doom.h"
#include "lua/sandbox.h"
#include "lua/test_lib.h"

/* The registry's table of modules: name -> what the file returned, or false while it runs. */
static const char modules_key;

static void need_loading(lua_State *L, const char *what) {
    if (script_vm_of(L)->sealed)
        luaL_error(L, "%s works only while the application is loaded", what);
}

/* ---- route ---- */

static enum route_kind check_kind(lua_State *L, int index) {
    static const char *const names[] = {"json", "html", "text", NULL};
    return (enum route_kind)script_check_choice(L, index, names);
}

/* Appends one method to "GET, POST", in upper case. */
static void add_method(lua_State *L, int index, char *list, size_t list_max) {
    size_t len = 0;
    const char *name = lua_type(L, index) == LUA_TSTRING ? lua_tolstring(L, index, &len) : "";
    size_t at = strlen(list);
    if (len == 0)
        luaL_error(L, "route: method must be a name or a list of names");
    if (at + len + 3 > list_max)
        luaL_error(L, "route: too many methods");
    if (at) {
        memcpy(list + at, ", ", 2);
        at += 2;
    }
    for (size_t i = 0; i < len; i++) {
        char byte = name[i];
        if (byte >= 'a' && byte <= 'z')
            byte = (char)(byte - 'a' + 'A');
        if (byte < 'A' || byte > 'Z')
            luaL_error(L, "route: a method's name has letters only");
        list[at++] = byte;
    }
    list[at] = '\0';
}

/* Reads opts.method of the table at index; refuses what is not known. */
static void read_options(lua_State *L, int index, char *methods, size_t methods_max) {
    luaL_checktype(L, index, LUA_TTABLE);
    lua_pushnil(L);
    while (lua_next(L, index)) {
        lua_pop(L, 1);
        if (lua_type(L, -1) != LUA_TSTRING || strcmp(lua_tostring(L, -1), "method") != 0)
            luaL_error(L, "route: the only option is 'method', not %s",
                lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "a list");
    }
    if (lua_getfield(L, index, "method") == LUA_TTABLE) {
        lua_Integer count = luaL_len(L, -1);
        if (count < 1 || count > (lua_Integer)ROUTE_METHODS_MAX)
            luaL_error(L, "route: method must be a name or a list of 1 to %d names",
                (int)ROUTE_METHODS_MAX);
        for (lua_Integer i = 1; i <= count; i++) {
            lua_geti(L, -1, i);
            add_method(L, -1, methods, methods_max);
            lua_pop(L, 1);
        }
    } else if (!lua_isnil(L, -1)) {
        add_method(L, -1, methods, methods_max);
    }
    lua_pop(L, 1);
}

static void learn_route(lua_State *L, struct slice pattern, enum route_kind kind,
    const char *methods, const lua_Debug *where) {
    const struct script_route *other = NULL;
    const char *why = NULL;
    enum status status = route_add(&script_vm_of(L)->app->routes, pattern, kind,
        slice_of(methods, strlen(methods)), slice_of(where->short_src, strlen(where->short_src)),
        (unsigned)where->currentline, &other, &why);
    switch (status) {
    case ST_OK:
        return;
    case ST_INVALID:
        luaL_error(L, "route '%s': %s", pattern.data, why);
        break;
    case ST_EXISTS:
        luaL_error(L, "route '%s' for this method is there already: '%s' at %s:%d", pattern.data,
            other->pattern, other->file, (int)other->line);
        break;
    case ST_TOO_LARGE:
        luaL_error(L, "more than %d routes", (int)ROUTES_MAX);
        break;
    default:
        luaL_error(L, "out of memory");
    }
}

static bool is_declared(const struct script_route *route, struct slice pattern,
    enum route_kind kind, const char *methods) {
    return strlen(route->pattern) == pattern.len &&
           memcmp(route->pattern, pattern.data, pattern.len) == 0 && route->kind == kind &&
           strcmp(route->methods, methods) == 0;
}

/* The route must be one that the first load declared. Mostly it is at the same place; but a loop
 * over pairs() may have another order in each VM. */
static void keep_handler(
    lua_State *L, struct slice pattern, enum route_kind kind, const char *methods, int function) {
    struct script_vm *vm = script_vm_of(L);
    const struct route_table *routes = &vm->app->routes;
    for (unsigned i = 0; i < routes->count; i++) {
        const struct script_route *route = routes->routes[(vm->handler_count + i) % routes->count];
        if (!is_declared(route, pattern, kind, methods))
            continue;
        if (vm->handlers[route->index] != LUA_NOREF)
            luaL_error(L, "route '%s' for this method is there already", pattern.data);
        lua_pushvalue(L, function);
        vm->handlers[route->index] = luaL_ref(L, LUA_REGISTRYINDEX);
        vm->handler_count++;
        return;
    }
    luaL_error(L, "route '%s': an application must declare the same routes each time it loads",
        pattern.data);
}

/* route(name, kind, [opts,] fn) */
static int lib_route(lua_State *L) {
    need_loading(L, "route");
    struct slice pattern;
    pattern.data = luaL_checklstring(L, 1, &pattern.len);
    enum route_kind kind = check_kind(L, 2);
    char methods[256] = "";
    int function = 3;
    if (lua_gettop(L) >= 4) {
        read_options(L, 3, methods, sizeof methods);
        function = 4;
    }
    luaL_checktype(L, function, LUA_TFUNCTION);
    if (script_vm_of(L)->app->learning) {
        lua_Debug where = {.currentline = -1};
        /* pcall(route, ...) has a function in C in between */
        for (int level = 1; where.currentline < 0 && lua_getstack(L, level, &where); level++)
            lua_getinfo(L, "Sl", &where);
        where.currentline = where.currentline < 0 ? 0 : where.currentline;
        learn_route(L, pattern, kind, methods, &where);
    } else {
        keep_handler(L, pattern, kind, methods, function);
    }
    return 0;
}

/* on("first_run" | "start", fn) */
static int lib_on(lua_State *L) {
    static const char *const names[] = {"first_run", "start", NULL};
    need_loading(L, "on");
    struct script_vm *vm = script_vm_of(L);
    int which = script_check_choice(L, 1, names);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    int *ref = which == 0 ? &vm->first_run : &vm->start;
    if (*ref != LUA_NOREF)
        return luaL_error(L, "on: there is a function for '%s' already", names[which]);
    lua_settop(L, 2);
    *ref = luaL_ref(L, LUA_REGISTRYINDEX);
    if (vm->app->learning)
        *(which == 0 ? &vm->app->has_first_run : &vm->app->has_start) = true;
    return 0;
}

/* ---- files ---- */

/* The code of a file: as the lua command has it, a byte order mark in front does not count and
 * neither does a first line that begins with '#'. Its line end stays, for the numbers of lines. */
static struct slice code_of(const struct script_source *source) {
    struct slice code = slice_of(source->text, source->len);
    size_t skip = code.len >= 3 && memcmp(code.data, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
    if (skip < code.len && code.data[skip] == '#')
        while (skip < code.len && code.data[skip] != '\n')
            skip++;
    return slice_of(code.data + skip, code.len - skip);
}

/* Pushes the function of a file below the application's folder, which errors tell if it is given.
 */
static void push_file(lua_State *L, const char *folder, const char *name) {
    const struct script_source *source = NULL;
    enum status status = script_app_source(script_vm_of(L)->app, name, &source);
    if (status == ST_TOO_LARGE)
        luaL_error(L, "%s%s: larger than %d bytes, or more than %d files", folder, name,
            (int)SCRIPT_FILE_BYTES_MAX, (int)SCRIPT_FILES_MAX);
    if (status != ST_OK)
        luaL_error(L, "%s%s: %s", folder, name,
            status == ST_IO ? "cannot be read as a file" : status_text(status));
    struct slice code = code_of(source);
    lua_pushfstring(L, "@%s", name);
    int result = luaL_loadbufferx(L, code.data, code.len, lua_tostring(L, -1), "t");
    lua_remove(L, -2);
    if (result != LUA_OK)
        lua_error(L);
}

/* Turns "lib.money" into "lib/money.lua"; names are letters, digits, '_' and '-'. */
static void module_path(lua_State *L, const char *name, size_t len, char *path, size_t path_max) {
    if (len == 0 || len + sizeof ".lua" > path_max)
        luaL_error(L, "require: bad module name '%s'", name);
    for (size_t i = 0; i < len; i++) {
        char byte = name[i];
        bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
                      (byte >= '0' && byte <= '9') || byte == '_' || byte == '-';
        bool dot = byte == '.' && i > 0 && i + 1 < len && name[i + 1] != '.';
        if (!letter && !dot)
            luaL_error(L,
                "require: bad module name '%s' (\"a.b\" is a/b.lua in the "
                "application's folder)",
                name);
        path[i] = byte == '.' ? '/' : byte;
    }
    memcpy(path + len, ".lua", sizeof ".lua");
}

/* require(name): the value of the file's return statement; each file runs once. */
static int lib_require(lua_State *L) {
    size_t len;
    const char *name = luaL_checklstring(L, 1, &len);
    char path[256];
    module_path(L, name, len, path, sizeof path);
    lua_settop(L, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &modules_key);
    if (lua_getfield(L, 2, path) == LUA_TBOOLEAN && !lua_toboolean(L, -1))
        return luaL_error(L, "require: '%s' requires itself, directly or by others", name);
    if (!lua_isnil(L, -1))
        return 1;
    need_loading(L, "require of a file not yet loaded");
    lua_pop(L, 1);
    lua_pushboolean(L, 0);
    lua_setfield(L, 2, path);
    push_file(L, "", path);
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
    if (!lua_toboolean(L, -1)) { /* false would stand for "still runs" */
        lua_pop(L, 1);
        lua_pushboolean(L, 1);
    }
    lua_pushvalue(L, -1);
    lua_setfield(L, 2, path);
    return 1;
}

void script_open_load(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"route", lib_route}, {"on", lib_on}, {"require", lib_require}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}

int script_load(lua_State *L) {
    struct script_vm *vm = script_vm_of(L);
    script_sandbox_open(L);
    if (vm->shard == SCRIPT_VM_OF_TEST)
        script_enable_tests(L);
    lua_newtable(L);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, vm->app->name);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &modules_key);
    push_file(L, vm->app->folder, vm->app->name);
    lua_call(L, 0, 0);
    if (!vm->app->learning && vm->handler_count != vm->app->routes.count)
        return luaL_error(
            L, "%s: an application must declare the same routes each time it loads", vm->app->name);
    script_sandbox_seal(L);
    vm->sealed = true;
    return 0;
}
