/* render() of a todo page of 100 items, beside plain Lua 5.4 that builds the same page by hand.
 *
 * Expectation: an item is 13 operations: 6 texts (memcpy, 10 ns each), 4 values and 3 sections,
 * each of which fetches a name and looks it up (30 ns), and two texts of 30 bytes to be escaped (1
 * ns a byte). Together 0.35 us an item, 35 us a page of 27 KB, and 2 us for a handler's call and
 * the copy into the reply. In Lua an item takes two calls of gsub (300 ns each, more where
 * something is replaced) and a string of 270 bytes made by one concatenation (150 ns), so 80 us a
 * page.
 *
 * Lua's side is a plain state (luaL_openlibs, no hook, no cap, default collector), called for the
 * string alone; concave's is the handler whole, reply included. Both pages must be equal.
 * Run: build/micro_render [rounds] */
#include <lauxlib.h>
#include <lualib.h>
#include <sys/utsname.h>

#include "tests/support/script_rig.h"

#define ITEMS "100"

static const char page[] =
    "<!doctype html>\n<html lang=\"en\">\n<head><meta "
    "charset=\"utf-8\"><title>{{title}}</title></head>\n"
    "<body>\n<h1>{{title}}</h1>\n<p>{{left}} of {{total}} left</p>\n<ul>\n"
    "{{#items}}\n"
    "<li class=\"{{#done}}done{{/done}}{{^done}}open{{/done}}\"><form method=\"post\" "
    "action=\"/fn/tick/{{id}}\"><button name=\"done\" value=\"{{^done}}1{{/done}}\" "
    "title=\"tick {{text}}\">x</button></form> <span>{{text}}</span> <a "
    "href=\"/fn/edit/{{id}}\">edit</a></li>\n"
    "{{/items}}\n"
    "</ul>\n{{^items}}<p>Nothing to do.</p>{{/items}}\n</body>\n</html>\n";

static const char data_source[] =
    "data = { title = 'To do & done', left = 50, total = " ITEMS ", items = {} }\n"
    "for i = 1, " ITEMS " do\n"
    "  data.items[i] = { id = i, done = i % 2 == 0,\n"
    "    text = i % 5 == 0 and 'call <b>\"Bob & sons\"</b> at ' .. i or 'buy some milk and bread ' "
    ".. i }\n"
    "end\n";

static const char handler_source[] =
    "route('page', 'html', function() return 200, render('todo', data) end)\n";

/* Escaping by gsub with a table, as Lua programs do it. `way` tells how the parts are joined. */
static const char lua_source[] =
    "local way, data = ..., data\n"
    "local special = { ['&'] = '&amp;', ['<'] = '&lt;', ['>'] = '&gt;', ['\"'] = '&quot;', [\"'\"] "
    "= '&#39;' }\n"
    "local function escape(text) return (text:gsub('[&<>\"\\']', special)) end\n"
    "local function item(it)\n"
    "  local text = escape(it.text)\n"
    "  return '<li class=\"' .. (it.done and 'done' or 'open') .. '\"><form method=\"post\" "
    "action=\"/fn/tick/' ..\n"
    "    it.id .. '\"><button name=\"done\" value=\"' .. (it.done and '' or '1') .. '\" "
    "title=\"tick ' .. text ..\n"
    "    '\">x</button></form> <span>' .. text .. '</span> <a href=\"/fn/edit/' .. it.id .. "
    "'\">edit</a></li>\\n'\n"
    "end\n"
    "local function head()\n"
    "  local title = escape(data.title)\n"
    "  return '<!doctype html>\\n<html lang=\"en\">\\n<head><meta charset=\"utf-8\"><title>' .. "
    "title ..\n"
    "    '</title></head>\\n<body>\\n<h1>' .. title .. '</h1>\\n<p>' .. data.left .. ' of ' .. "
    "data.total ..\n"
    "    ' left</p>\\n<ul>\\n'\n"
    "end\n"
    "local tail = '</ul>\\n\\n</body>\\n</html>\\n'\n"
    "if way == 'concat' then\n"
    "  return function()\n"
    "    local parts, items = { head() }, data.items\n"
    "    for i = 1, #items do parts[i + 1] = item(items[i]) end\n"
    "    parts[#parts + 1] = tail\n"
    "    return table.concat(parts)\n"
    "  end\n"
    "end\n"
    "return function()\n"
    "  local page = head()\n"
    "  for i = 1, #data.items do page = page .. item(data.items[i]) end\n"
    "  return page .. tail\n"
    "end\n";

static struct rig rig;

static void check(bool ok, const char *what) {
    if (ok)
        return;
    fprintf(stderr, "micro_render: %s\n", what);
    exit(1);
}

/* ---- concave ---- */

static double time_render(lua_State *unused, unsigned count) {
    (void)unused;
    struct call *call = &rig.call;
    uint64_t start_ns = clock_monotonic_ns();
    for (unsigned i = 0; i < count; i++) {
        buf_reset(&call->reply.body, 65536);
        call->deadline_ns = UINT64_MAX;
        enum verdict verdict = call->procedure->start(call, &rig.txn, rig.vm);
        while (verdict == PROC_AGAIN)
            verdict = call->procedure->resume(call, &rig.txn);
        check(verdict == PROC_COMMIT && call->reply.status == 200, "a call failed");
        call->procedure->finish(call, 1);
        fake_txn_reset(&rig.txn);
    }
    return (double)(clock_monotonic_ns() - start_ns) / count;
}

static void open_concave(void) {
    char source[2048];
    rig_init(&rig);
    rig_write_file(&rig, "todo.mustache", page);
    (void)snprintf(source, sizeof source, "%s%s", data_source, handler_source);
    const char *error = rig_load(&rig, source);
    check(!error, error ? error : "");
    check(strncmp(rig_get(&rig, "page"), "200 ", 4) == 0, "the page failed");
}

/* ---- plain Lua ---- */

/* Leaves the function that makes the page on the stack. */
static lua_State *open_lua(const char *way) {
    char source[8192];
    lua_State *L = luaL_newstate();
    check(L != NULL, "no Lua state");
    luaL_openlibs(L);
    (void)snprintf(source, sizeof source, "%s%s", data_source, lua_source);
    check(luaL_loadstring(L, source) == LUA_OK, "the Lua source does not load");
    lua_pushstring(L, way);
    check(lua_pcall(L, 1, 1, 0) == LUA_OK, "the Lua source fails");
    return L;
}

static double time_lua(lua_State *L, unsigned count) {
    uint64_t start_ns = clock_monotonic_ns();
    for (unsigned i = 0; i < count; i++) {
        lua_pushvalue(L, -1);
        check(lua_pcall(L, 0, 1, 0) == LUA_OK, "the page in Lua fails");
        lua_pop(L, 1);
    }
    return (double)(clock_monotonic_ns() - start_ns) / count;
}

static void check_equal(lua_State *L) {
    lua_pushvalue(L, -1);
    check(lua_pcall(L, 0, 1, 0) == LUA_OK, "the page in Lua fails");
    size_t len;
    const char *text = lua_tolstring(L, -1, &len);
    const struct buf *body = &rig.call.reply.body;
    check(len == body->len && memcmp(text, body->data, len) == 0, "the pages differ");
    lua_pop(L, 1);
}

/* ---- figures ---- */

static void report(
    const char *name, double (*measure)(lua_State *, unsigned), lua_State *L, unsigned rounds) {
    double best = measure(L, rounds), worst = best;
    for (int i = 0; i < 6; i++) {
        double ns = measure(L, rounds);
        best = ns < best ? ns : best;
        worst = ns > worst ? ns : worst;
    }
    printf("%-44s %8.1f us %8.1f us\n", name, best / 1000, worst / 1000);
}

int main(int argc, char **argv) {
    struct utsname machine;
    unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1000;
    check(rounds > 0 && rounds <= 1000000, "rounds: 1 to 1000000");
    check(uname(&machine) == 0, "uname");
    open_concave();
    lua_State *concat = open_lua("concat"), *plain = open_lua("plain");
    check_equal(concat);
    check_equal(plain);
    printf("micro_render: concave %s, %s %s, 1 thread, %s items, %zu bytes, best and worst of 7 x "
           "%u\n",
        CONCAVE_VERSION, machine.sysname, machine.machine, ITEMS, rig.call.reply.body.len, rounds);
    report("render, the whole handler", time_render, NULL, rounds);
    report("Lua: item by .., page by table.concat", time_lua, concat, rounds);
    report("Lua: all by ..", time_lua, plain, rounds);
    lua_close(concat);
    lua_close(plain);
    rig_free(&rig);
    return 0;
}
