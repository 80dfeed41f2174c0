#include "lua/prelude.h"

#include <lauxlib.h>
#include <string.h>

/* Short lists without a comparison go to the library. All others are merged bottom up, from runs
 * sorted by insertion; unlike a quicksort that copes with any comparison, also one that contradicts
 * itself. */
static const char sort_source[] =
    "local original, type, error = ...\n"
    "local function natural(a, b) return a < b end\n"
    "local function sort_run(list, first, last, less)\n"
    "  for i = first + 1, last do\n"
    "    local value, j = list[i], i - 1\n"
    "    while j >= first and less(value, list[j]) do\n"
    "      list[j + 1] = list[j]\n"
    "      j = j - 1\n"
    "    end\n"
    "    list[j + 1] = value\n"
    "  end\n"
    "end\n"
    "local function merge(from, to, first, middle, last, less)\n"
    "  local left, right = first, middle\n"
    "  for at = first, last do\n"
    "    if left < middle and (right > last or not less(from[right], from[left])) then\n"
    "      to[at], left = from[left], left + 1\n"
    "    else\n"
    "      to[at], right = from[right], right + 1\n"
    "    end\n"
    "  end\n"
    "end\n"
    "return function(list, less)\n"
    "  local count = #list\n"
    "  if less == nil then\n"
    "    if count <= 1000 then return original(list) end\n"
    "    less = natural\n"
    "  elseif type(less) ~= 'function' then\n"
    "    error(\"bad argument #2 to 'sort' (function expected, got \" .. type(less) .. ')', 2)\n"
    "  end\n"
    "  local from, to = {}, {}\n"
    "  for i = 1, count do from[i] = list[i] end\n"
    "  local width = 8\n"
    "  for first = 1, count, width do\n"
    "    local last = first + width - 1\n"
    "    sort_run(from, first, last < count and last or count, less)\n"
    "  end\n"
    "  while width < count do\n"
    "    for first = 1, count, 2 * width do\n"
    "      local last = first + 2 * width - 1\n"
    "      merge(from, to, first, first + width, last < count and last or count, less)\n"
    "    end\n"
    "    from, to, width = to, from, 2 * width\n"
    "  end\n"
    "  for i = 1, count do list[i] = from[i] end\n"
    "end\n";

/* As the library's: an empty match right behind the match before it does not count. */
static const char gsub_source[] =
    "local original, find, type, error, sub, byte, concat, pack, unpack, tostring = ...\n"
    "local function replacement(value, whole)\n"
    "  if not value then return whole end\n"
    "  local kind = type(value)\n"
    "  if kind ~= 'string' and kind ~= 'number' then\n"
    "    error('invalid replacement value (a ' .. kind .. ')', 3)\n"
    "  end\n"
    "  return value\n"
    "end\n"
    "return function(text, pattern, repl, limit)\n"
    "  if type(repl) ~= 'function' or (type(text) ~= 'string' and type(text) ~= 'number') or\n"
    "      type(pattern) ~= 'string' or (limit ~= nil and type(limit) ~= 'number') then\n"
    "    return original(text, pattern, repl, limit)\n"
    "  end\n"
    "  text = tostring(text)\n"
    "  local anchored = byte(pattern, 1) == 94\n"
    "  local out, n, done, at, last_end = {}, 0, 0, 1, 0\n"
    "  limit = limit or #text + 1\n"
    "  while done < limit and at <= #text + 1 do\n"
    "    local found = pack(find(text, pattern, at))\n"
    "    local first, last = found[1], found[2]\n"
    "    if not first then break end\n"
    "    if last < first and first == last_end + 1 and done > 0 then\n"
    "      out[n + 1], n, at = sub(text, at, at), n + 1, at + 1\n"
    "      last_end = -1\n"
    "    else\n"
    "      local whole, value = sub(text, first, last), nil\n"
    "      if found.n > 2 then value = repl(unpack(found, 3, found.n)) else value = repl(whole) "
    "end\n"
    "      out[n + 1], out[n + 2] = sub(text, at, first - 1), replacement(value, whole)\n"
    "      n, done, at, last_end = n + 2, done + 1, last + 1, last\n"
    "    end\n"
    "    if anchored then break end\n"
    "  end\n"
    "  out[n + 1] = sub(text, at)\n"
    "  return concat(out), done\n"
    "end\n";

/* Loads a source whose arguments, `given` values, are on top of the stack, and calls it with them.
 */
static void call_source(lua_State *L, const char *source, size_t len, int given) {
    if (luaL_loadbufferx(L, source, len, "=concave", "t") != LUA_OK)
        lua_error(L);
    lua_insert(L, -given - 1);
    lua_call(L, given, 1);
}

static void push_from(lua_State *L, const char *library, const char *const *names) {
    lua_pushglobaltable(L);
    if (library)
        lua_getfield(L, -1, library);
    else
        lua_pushvalue(L, -1);
    lua_replace(L, -2);
    for (; *names; names++) {
        lua_getfield(L, -1, *names);
        lua_insert(L, -2);
    }
    lua_pop(L, 1);
}

void script_push_sort(lua_State *L) {
    push_from(L, NULL, (const char *const[]){"type", "error", NULL});
    call_source(L, sort_source, sizeof sort_source - 1, 3);
}

void script_push_gsub(lua_State *L) {
    push_from(L, NULL, (const char *const[]){"type", "error", NULL});
    push_from(L, "string", (const char *const[]){"sub", "byte", NULL});
    push_from(L, "table", (const char *const[]){"concat", "pack", "unpack", NULL});
    push_from(L, NULL, (const char *const[]){"tostring", NULL});
    call_source(L, gsub_source, sizeof gsub_source - 1, 10);
}
