/* Our string.find, match, gmatch and gsub against the Lua library's own: the same results, and
 * errors where it has errors. What takes ours too long is not given to the library's, which could
 * take for ever.
 *
 * Input: a byte (the start), then pattern, replacement and text, each but the last ending in a zero
 * byte. */
#include <lualib.h>

#include "tests/fuzz/vm.h"

#define PATTERN_BYTES_MAX 100u /* both give up on deep ones, not at quite the same depth */
#define TEXT_BYTES_MAX 200u
#define BUDGET_NS (20 * NS_PER_MS)

/* One text of all results; errors are told apart from results but not by their words. */
static const char compare[] =
    "local function show(ok, ...)\n"
    "  if not ok then return 'error' end\n"
    "  local out = {}\n"
    "  for i = 1, select('#', ...) do out[i] = tostring((select(i, ...))) end\n"
    "  return table.concat(out, ',')\n"
    "end\n"
    "local function walk(text, pattern)\n"
    "  local found = {}\n"
    "  for a, b in string.gmatch(text, pattern) do\n"
    "    found[#found + 1] = tostring(a) .. '/' .. tostring(b)\n"
    "  end\n"
    "  return table.concat(found, ' ')\n"
    "end\n"
    "return function(text, pattern, repl, start)\n"
    "  return table.concat({\n"
    "    show(pcall(string.find, text, pattern, start)),\n"
    "    show(pcall(string.find, text, pattern, start, true)),\n"
    "    show(pcall(string.match, text, pattern, start)),\n"
    "    show(pcall(string.gsub, text, pattern, repl)),\n"
    "    show(pcall(string.gsub, text, pattern, repl, 2)),\n"
    "    show(pcall(string.gsub, text, pattern, { a = 'T', b = false })),\n"
    "    show(pcall(string.gsub, text, pattern, function(x, y)\n"
    "      return tostring(x) .. tostring(y) end)),\n"
    "    show(pcall(walk, text, pattern)) }, '|')\n"
    "end\n";

static lua_State *library; /* the machine with the library's functions */
static int ours, theirs;   /* references of the function above */

static int load_compare(lua_State *L) {
    FUZZ_CHECK(luaL_loadbufferx(L, compare, sizeof compare - 1, "compare", "t") == LUA_OK);
    lua_call(L, 0, 1);
    lua_pushinteger(L, luaL_ref(L, LUA_REGISTRYINDEX));
    return 1;
}

static void open_machines(void) {
    lua_State *L = fuzz_vm()->lua;
    if (library)
        return;
    lua_pushcfunction(L, load_compare);
    FUZZ_CHECK(fuzz_vm_call(L, 0, 1, NS_PER_S) == LUA_OK);
    ours = (int)lua_tointeger(L, -1);
    lua_settop(L, 0);
    library = luaL_newstate();
    FUZZ_CHECK(library != NULL);
    luaL_openlibs(library);
    (void)load_compare(library);
    theirs = (int)lua_tointeger(library, -1);
    lua_settop(library, 0);
}

static void push_call(lua_State *L, int function, const struct slice *parts, int start) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, function);
    for (unsigned i = 0; i < 3; i++)
        lua_pushlstring(L, parts[i].len ? parts[i].data : "", parts[i].len);
    lua_pushinteger(L, start);
}

static struct slice result_of(lua_State *L) {
    struct slice text;
    text.data = lua_tolstring(L, -1, &text.len);
    FUZZ_CHECK(text.data != NULL);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    open_machines();
    lua_State *L = fuzz_vm()->lua;
    struct slice input = slice_of((const char *)data, size);
    int start = (int)fuzz_take_byte(&input) % 16 - 5;
    struct slice pattern = fuzz_take_field(&input), repl = fuzz_take_field(&input);
    const struct slice parts[] = {input, pattern, repl}; /* the text last: it may hold zeros */
    if (pattern.len > PATTERN_BYTES_MAX || repl.len > TEXT_BYTES_MAX || input.len > TEXT_BYTES_MAX)
        return -1; /* not for the corpus */
    push_call(L, ours, parts, start);
    int result = fuzz_vm_call(L, 4, 1, BUDGET_NS);
    if (result == LUA_OK && fuzz_attempt.doom == DOOM_NONE) {
        push_call(library, theirs, parts, start);
        FUZZ_CHECK(lua_pcall(library, 4, 1, 0) == LUA_OK);
        fuzz_check_equal(result_of(L), result_of(library), "ours and the library's result");
        lua_settop(library, 0);
    } else {
        FUZZ_CHECK(fuzz_attempt.doom == DOOM_TIMEOUT);
    }
    lua_settop(L, 0);
    return 0;
}
