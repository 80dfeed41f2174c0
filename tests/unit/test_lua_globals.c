/* The globals that a compiled file uses, as lua/globals.c reads them from its dump. */
#include <lauxlib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lua/globals.h"

static int write_dump(lua_State *L, const void *bytes, size_t len, void *ctx) {
    (void)L;
    buf_append(ctx, bytes, len);
    return 0;
}

/* Appends "name:line" with '=' for a write and '^' for the top level. */
static enum status note(void *ctx, const struct global_use *use) {
    buf_printf(ctx, "%s%.*s%s:%u ", use->top_level ? "^" : "", (int)use->name.len, use->name.data,
        use->writes ? "=" : "", use->line);
    return ST_OK;
}

static void dump_of(const char *text, struct buf *dump) {
    lua_State *L = luaL_newstate();
    assert_non_null(L);
    assert_int_equal(luaL_loadstring(L, text), LUA_OK);
    buf_init(dump, SIZE_MAX);
    assert_int_equal(lua_dump(L, write_dump, dump, 0), 0);
    lua_close(L);
}

static void expect_uses(const char *text, const char *wanted) {
    struct buf dump, found;
    dump_of(text, &dump);
    buf_init(&found, SIZE_MAX);
    assert_int_equal(globals_read(buf_slice(&dump), note, &found), ST_OK);
    buf_append_byte(&found, '\0');
    assert_string_equal(found.data, wanted);
    buf_free(&found);
    buf_free(&dump);
}

static void locals_fields_and_upvalues_are_no_globals(void **state) {
    (void)state;
    expect_uses("local a = 1\nlocal function f(b) return a + b.c + a.d end\nreturn f", "");
    expect_uses("local t = { x = 1 } t.y = t.z goto done ::done::", "");
    expect_uses("for i, v in nil do local i = v end repeat local q = 1 until q", "");
}

static void reads_and_writes_have_their_lines(void **state) {
    (void)state;
    expect_uses("a = b\nlocal c = d.e\n\nreturn f(g)", "^b:1 ^a=:1 ^d:2 ^f:4 ^g:4 ");
    expect_uses("return function()\n  return function()\n    x = y\n  end\nend", "y:3 x=:3 ");
    expect_uses("local x = x", "^x:1 ");
    expect_uses("function f()\n  g = h\nend", "h:2 g=:2 ^f=:1 ");
}

/* From the 257th constant on a name does not fit into the instruction. */
static void names_behind_many_constants_are_found(void **state) {
    (void)state;
    struct buf text;
    buf_init(&text, SIZE_MAX);
    buf_append_text(&text, "local t = {}\n");
    for (int i = 0; i < 300; i++)
        buf_printf(&text, "t.k%d = 'v%d'\n", i, i);
    buf_append_text(&text, "far = near\nt.last = far.x\n");
    buf_append_byte(&text, '\0');
    expect_uses(text.data, "^far=:302 ^near:302 ^far:303 ");
    buf_free(&text);
}

/* Lines far apart are kept in full, beside the differences. */
static void lines_far_apart_are_right(void **state) {
    (void)state;
    struct buf text;
    buf_init(&text, SIZE_MAX);
    buf_append_text(&text, "a()\n");
    for (int i = 0; i < 1000; i++)
        buf_append_byte(&text, '\n');
    buf_append_text(&text, "b()\n");
    for (int i = 0; i < 200; i++)
        buf_printf(&text, "c%d()\n", i % 2);
    buf_append_text(&text, "d()\n");
    buf_append_byte(&text, '\0');
    struct buf dump, found;
    dump_of(text.data, &dump);
    buf_init(&found, SIZE_MAX);
    assert_int_equal(globals_read(buf_slice(&dump), note, &found), ST_OK);
    buf_append_byte(&found, '\0');
    assert_memory_equal(found.data, "^a:1 ^b:1002 ^c0:1003 ", 22);
    assert_string_equal(found.data + found.len - 9, "^d:1203 ");
    buf_free(&found);
    buf_free(&dump);
    buf_free(&text);
}

static enum status ignore(void *ctx, const struct global_use *use) {
    (void)ctx;
    volatile char last = use->name.len ? use->name.data[use->name.len - 1] : 0;
    (void)last;
    return ST_OK;
}

/* Any damage is refused or read within bounds; the copy ends where the bytes do. */
static void damaged_dumps_are_read_within_bounds(void **state) {
    (void)state;
    struct buf dump;
    dump_of("a = 1 local t = { 'x', 2, 3.5, nil, true, false }\n"
            "function f(x) local y = x return function() return x + y + g end end",
        &dump);
    for (size_t len = 0; len < dump.len; len++) {
        char *copy = malloc(len + 1);
        assert_non_null(copy);
        memmove(copy + 1, dump.data, len);
        assert_int_equal(globals_read(slice_of(copy + 1, len), ignore, NULL), ST_INVALID);
        free(copy);
    }
    for (size_t bit = 0; bit < 8 * dump.len; bit++) {
        char *copy = malloc(dump.len);
        assert_non_null(copy);
        memcpy(copy, dump.data, dump.len);
        copy[bit / 8] = (char)(copy[bit / 8] ^ 1 << bit % 8);
        enum status status = globals_read(slice_of(copy, dump.len), ignore, NULL);
        assert_true(status == ST_OK || status == ST_INVALID);
        free(copy);
    }
    buf_free(&dump);
}

static enum status stop(void *ctx, const struct global_use *use) {
    (void)use;
    ++*(unsigned *)ctx;
    return ST_NOMEM;
}

static void a_visitor_can_end_it(void **state) {
    (void)state;
    struct buf dump;
    unsigned visits = 0;
    dump_of("local function f() return x, y end", &dump);
    assert_int_equal(globals_read(buf_slice(&dump), stop, &visits), ST_NOMEM);
    assert_int_equal(visits, 1);
    buf_free(&dump);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(locals_fields_and_upvalues_are_no_globals),
        cmocka_unit_test(reads_and_writes_have_their_lines),
        cmocka_unit_test(names_behind_many_constants_are_found),
        cmocka_unit_test(lines_far_apart_are_right),
        cmocka_unit_test(damaged_dumps_are_read_within_bounds),
        cmocka_unit_test(a_visitor_can_end_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
