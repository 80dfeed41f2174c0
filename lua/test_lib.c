#include "lua/test_lib.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lua/nearest.h"
#include "lua/sandbox.h"
#include "lua/test_prelude.h"

/* ---- test() ---- */

/* False if memory ran out. */
static bool add_test(struct script_app *app, const char *name, const lua_Debug *where) {
    struct script_app_test *tests = realloc(app->tests, (app->test_count + 1) * sizeof *app->tests);
    if (!tests)
        return false;
    app->tests = tests;
    struct script_app_test *test = &tests[app->test_count];
    *test = (struct script_app_test){.name = strdup(name),
        .file = strdup(where->short_src),
        .line = (unsigned)where->currentline};
    app->test_count++; /* so that script_app_destroy frees what there is of it */
    return test->name && test->file;
}

/* The first load notes the test. */
static void learn_test(lua_State *L, const char *name) {
    struct script_app *app = script_vm_of(L)->app;
    lua_Debug where = {.currentline = 0};
    if (lua_getstack(L, 1, &where))
        lua_getinfo(L, "Sl", &where);
    if (app->test_count == SCRIPT_TESTS_MAX)
        luaL_error(L, "more than %d tests", (int)SCRIPT_TESTS_MAX);
    if (!add_test(app, name, &where))
        luaL_error(L, "out of memory");
}

/* test(name, fn) */
static int lib_test(lua_State *L) {
    struct script_vm *vm = script_vm_of(L);
    if (vm->sealed)
        return luaL_error(L, "test works only while the application is loaded");
    const char *name = luaL_checkstring(L, 1);
    luaL_checktype(L, 2, LUA_TFUNCTION);
    if (vm->app->learning && vm->app->testing)
        learn_test(L, name);
    if (vm->shard == SCRIPT_VM_OF_TEST && vm->tests_seen++ == vm->test_index) {
        lua_pushvalue(L, 2);
        vm->test_function = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    return 0;
}

static int lib_only_in_tests(lua_State *L) {
    return luaL_error(
        L, "%s works only inside a test (concave test)", lua_tostring(L, lua_upvalueindex(1)));
}

void script_open_tests(lua_State *L) {
    static const char *const only_in_tests[] = {"call", "expect", NULL};
    lua_pushcfunction(L, lib_test);
    lua_setfield(L, -2, "test");
    for (const char *const *name = only_in_tests; *name; name++) {
        lua_pushstring(L, *name);
        lua_pushcclosure(L, lib_only_in_tests, 1);
        lua_setfield(L, -2, *name);
    }
}

/* ---- what call and the store are made of ---- */

static struct slice check_slice(lua_State *L, int index) {
    struct slice text;
    text.data = luaL_checklstring(L, index, &text.len);
    return text;
}

/* A table of the reply's fields by lower-case name; one that is there more than once has its values
 * joined with ", ". */
static void push_headers(lua_State *L, const struct reply *reply) {
    struct slice rest = buf_slice(&reply->headers);
    lua_newtable(L);
    if (reply->content_type) {
        lua_pushstring(L, reply->content_type);
        lua_setfield(L, -2, "content-type");
    }
    while (rest.len > 0) {
        const char *colon = memchr(rest.data, ':', rest.len);
        const char *end = memmem(rest.data, rest.len, "\r\n", 2);
        if (!colon || !end || end < colon + 2)
            return;
        luaL_Buffer name;
        luaL_buffinit(L, &name);
        for (const char *at = rest.data; at < colon; at++)
            luaL_addchar(&name, (char)(*at >= 'A' && *at <= 'Z' ? *at | 0x20 : *at));
        luaL_pushresult(&name);
        lua_pushvalue(L, -1);
        bool again = lua_rawget(L, -3) == LUA_TSTRING;
        if (again)
            lua_pushliteral(L, ", ");
        else
            lua_pop(L, 1);
        lua_pushlstring(L, colon + 2, (size_t)(end - colon - 2));
        if (again)
            lua_concat(L, 3);
        lua_rawset(L, -3);
        rest = slice_of(end + 2, rest.len - (size_t)(end + 2 - rest.data));
    }
}

static int end_exchange(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    const struct reply *reply = script_vm_of(L)->test->reply;
    lua_pushinteger(L, reply->status);
    push_headers(L, reply);
    lua_pushlstring(L, reply->body.len ? reply->body.data : "", reply->body.len);
    return 3;
}

/* exchange(method, target, headers, body): status, headers, body. The strings stay on the stack
 * until the answer is there. */
static int native_exchange(lua_State *L) {
    struct script_vm *vm = script_vm_of(L);
    lua_settop(L, 4);
    vm->test->request = (struct script_test_request){.method = check_slice(L, 1),
        .target = check_slice(L, 2),
        .headers = check_slice(L, 3),
        .body = check_slice(L, 4)};
    if (!lua_isyieldable(L) || vm->current->pinned > 0)
        return luaL_error(
            L, "a test cannot call a route or the store in a metamethod or while it loads");
    vm->current->pause = PAUSE_WAIT;
    return lua_yieldk(L, 0, 0, end_exchange);
}

/* pick(path, sends): the first method in order that a route of this path takes; nil without one. */
static int native_pick(lua_State *L) {
    static const struct slice sending[] = {SLICE("POST"), SLICE("PUT"), SLICE("PATCH"),
        SLICE("GET"), SLICE("DELETE"), SLICE("HEAD"), SLICE("OPTIONS")};
    static const struct slice asking[] = {SLICE("GET"), SLICE("POST"), SLICE("PUT"),
        SLICE("DELETE"), SLICE("PATCH"), SLICE("HEAD"), SLICE("OPTIONS")};
    struct slice path = check_slice(L, 1);
    const struct slice *methods = lua_toboolean(L, 2) ? sending : asking;
    const struct route_table *routes = &script_vm_of(L)->app->routes;
    struct slice found = {0};
    for (size_t i = 0; i < sizeof sending / sizeof sending[0] && !found.data; i++) {
        struct request request;
        struct buf scratch, allow;
        buf_init(&scratch, SIZE_MAX);
        buf_init(&allow, SIZE_MAX);
        enum route_match match = route_find(routes, methods[i], path, &request, &scratch, &allow);
        if (match == ROUTE_FOUND)
            found = methods[i];
        else if (match == ROUTE_BAD_METHOD && i + 1 == sizeof sending / sizeof sending[0])
            found = methods[0]; /* it takes one of its own invention, to be named by the caller */
        buf_free(&scratch);
        buf_free(&allow);
    }
    if (found.data)
        lua_pushlstring(L, found.data, found.len);
    else
        lua_pushnil(L);
    return 1;
}

/* Takes the next part off a path or pattern. */
static struct slice take_part(struct slice *rest) {
    const char *slash = rest->len ? memchr(rest->data, '/', rest->len) : NULL;
    size_t len = slash ? (size_t)(slash - rest->data) : rest->len;
    struct slice part = slice_of(rest->data, len);
    *rest = slice_of(rest->data + len + (slash != NULL), rest->len - len - (slash != NULL));
    return part;
}

/* Pushes the pattern with the path's own parts for its parameters: what the path may have meant. */
static struct slice push_meant(lua_State *L, const char *pattern, struct slice path) {
    struct slice rest = slice_of(pattern, strlen(pattern)), meant;
    luaL_Buffer text;
    luaL_buffinit(L, &text);
    for (bool first = true; rest.len > 0; first = false) {
        struct slice part = take_part(&rest), given = take_part(&path);
        if (!first)
            luaL_addchar(&text, '/');
        bool fills = part.len > 0 && part.data[0] == ':' && given.len > 0;
        luaL_addlstring(&text, fills ? given.data : part.data, fills ? given.len : part.len);
    }
    luaL_pushresult(&text);
    meant.data = lua_tolstring(L, -1, &meant.len);
    return meant;
}

/* nearest(path): the path of a route that is much like it; nil if none is. */
static int native_nearest(lua_State *L) {
    const struct route_table *routes = &script_vm_of(L)->app->routes;
    struct nearest nearest = nearest_to(check_slice(L, 1));
    lua_settop(L, 1);
    lua_pushnil(L); /* the best one, as text, is kept here */
    for (unsigned i = 0; i < routes->count; i++) {
        struct slice meant = push_meant(L, routes->routes[i]->pattern, check_slice(L, 1));
        nearest_try(&nearest, meant);
        if (nearest.best.data == meant.data)
            lua_replace(L, 2);
        else
            lua_pop(L, 1);
    }
    return 1;
}

/* write(text): a line of the test's output. */
static int native_write(lua_State *L) {
    printf("     %s\n", luaL_checkstring(L, 1));
    return 0;
}

void script_enable_tests(lua_State *L) {
    static const luaL_Reg natives[] = {{"exchange", native_exchange}, {"pick", native_pick},
        {"nearest", native_nearest}, {"write", native_write}, {NULL, NULL}};
    luaL_newlib(L, natives);
    script_run_test_prelude(L);
    lua_pop(L, 1);
}
