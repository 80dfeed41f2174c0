/* Our pattern functions against the library's own, over random patterns and texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <lauxlib.h>
#include <lualib.h>

#include "lua/random.h"
#include "tests/support/script_rig.h"

#define CASES 20000
#define SEED 20261121

/* One text of all results of a case; errors are told apart from results but not by their words. */
static const char compare[] =
    "local function show(ok, ...)\n"
    "  if not ok then return 'error' end\n"
    "  local out = {}\n"
    "  for i = 1, select('#', ...) do out[i] = tostring((select(i, ...))) end\n"
    "  return table.concat(out, ',')\n"
    "end\n"
    "local function all(text, pattern, repl, start)\n"
    "  local found = {}\n"
    "  pcall(function() for a, b in string.gmatch(text, pattern) do\n"
    "    found[#found + 1] = tostring(a) .. '/' .. tostring(b) end end)\n"
    "  return table.concat({show(pcall(string.find, text, pattern, start)),\n"
    "    show(pcall(string.match, text, pattern, start)),\n"
    "    show(pcall(string.gsub, text, pattern, repl)),\n"
    "    show(pcall(string.gsub, text, pattern, repl, 2)),\n"
    "    show(pcall(string.gsub, text, pattern, {a = 'T', b = false})),\n"
    "    show(pcall(string.gsub, text, pattern, function(x, y) return tostring(x) .. tostring(y) "
    "end)),\n"
    "    table.concat(found, ' ')}, '|')\n"
    "end\n";

static struct random dice;

static unsigned roll(unsigned sides) {
    return (unsigned)random_between(&dice, 0, sides - 1);
}

/* Appends pieces drawn from a list. */
static void draw(struct buf *out, const char *const *pieces, unsigned count, unsigned most) {
    for (unsigned i = roll(most + 1); i > 0; i--)
        buf_append_text(out, pieces[roll(count)]);
}

static void draw_pattern(struct buf *out) {
    static const char *const pieces[] = {"a", "b", ".", "%a", "%d", "%s", "%W", "%Z", "[ab]",
        "[^a]", "[a-c]", "[%d]", "[]]", "[a-]", "(", ")", "()", "*", "+", "-", "?", "$", "^", "%1",
        "%b()", "%f[%a]", "%.", "a*", "b-", ".-", "(a)", "(.-)", "[", "%", "]", "1", " "};
    draw(out, pieces, sizeof pieces / sizeof pieces[0], 6);
}

static void draw_text(struct buf *out) {
    static const char *const pieces[] = {
        "a", "b", "ab", "aa", "1", " ", "(", ")", "]", "-", ".", "c"};
    draw(out, pieces, sizeof pieces / sizeof pieces[0], 10);
}

static void draw_replacement(struct buf *out) {
    static const char *const pieces[] = {"x", "%0", "%1", "%2", "%%", "%", "y"};
    draw(out, pieces, sizeof pieces / sizeof pieces[0], 3);
}

/* What the library says; pushed on L. */
static const char *expected(lua_State *L, const struct buf *parts, int start) {
    lua_settop(L, 0);
    lua_getglobal(L, "all");
    for (unsigned i = 0; i < 3; i++)
        lua_pushlstring(L, parts[i].len ? parts[i].data : "", parts[i].len);
    lua_pushinteger(L, start);
    assert_int_equal(lua_pcall(L, 4, 1, 0), LUA_OK);
    return lua_tostring(L, -1);
}

/* find, match, gmatch and gsub give the library's results. */
static void patterns_match_like_the_librarys(void **state) {
    (void)state;
    static struct rig rig;
    rig_init(&rig);
    struct buf source, body, parts[3];
    buf_init(&source, SIZE_MAX);
    buf_init(&body, SIZE_MAX);
    for (unsigned i = 0; i < 3; i++)
        buf_init(&parts[i], SIZE_MAX);
    buf_printf(&source,
        "%s route('all', 'text', function(a) return 200, all(a.text, a.pattern, a.repl, a.start) "
        "end)",
        compare);
    buf_append_byte(&source, '\0');
    assert_null(rig_load(&rig, source.data));
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    source.len -= 1;
    (void)snprintf(source.data, source.len, "%s _G.all = all", compare);
    assert_int_equal(luaL_dostring(L, source.data), LUA_OK);
    print_message("seed %d\n", SEED);
    random_seed(&dice, SEED);
    for (unsigned i = 0; i < CASES; i++) {
        void (*const drawers[])(struct buf *) = {draw_text, draw_pattern, draw_replacement};
        for (unsigned k = 0; k < 3; k++) {
            buf_reset(&parts[k], SIZE_MAX);
            drawers[k](&parts[k]);
        }
        int start = (int)roll(8) - 3;
        buf_reset(&body, SIZE_MAX);
        buf_printf(&body, "{\"text\":\"%.*s\",\"pattern\":\"%.*s\",\"repl\":\"%.*s\",\"start\":%d}",
            (int)parts[0].len, parts[0].data ? parts[0].data : "", (int)parts[1].len,
            parts[1].data ? parts[1].data : "", (int)parts[2].len,
            parts[2].data ? parts[2].data : "", start);
        const char *ours = rig_request(&rig, "POST", "all", "application/json", buf_slice(&body));
        const char *theirs = expected(L, parts, start);
        if (strncmp(ours, "200 ", 4) != 0 || strcmp(ours + 4, theirs) != 0)
            fail_msg("seed %d case %u: %.*s\n  ours   %s\n  theirs %s", SEED, i, (int)body.len,
                body.data, ours, theirs);
    }
    lua_close(L);
    rig_free(&rig);
    buf_free(&source);
    buf_free(&body);
    for (unsigned i = 0; i < 3; i++)
        buf_free(&parts[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(patterns_match_like_the_librarys)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
