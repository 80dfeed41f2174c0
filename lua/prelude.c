#include "lua/prelude.h"

#include <lauxlib.h>
#include <string.h>

/* Short lists of numbers or strings without a comparison go to the library. All others are merged
 * bottom up, from runs sorted by insertion; unlike a quicksort that copes with any comparison, also
 * one that contradicts itself. What cannot be compared in a short list is told with the place of
 * the call; in a long one that look would cost too much. */
static const char sort_source[] =
    "local original, is_simple, type, error, tointeger = ...\n"
    "local function natural(a, b) return a < b end\n"
    "local plain = { number = true, string = true, boolean = true, ['nil'] = true }\n"
    "local function checked(a, b)\n"
    "  local one, two = type(a), type(b)\n"
    "  if one ~= two and plain[one] and plain[two] then\n"
    "    error('attempt to compare ' .. one .. ' with ' .. two, 4)\n"
    "  end\n"
    "  return a < b\n"
    "end\n"
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
    "  if type(list) ~= 'table' then\n"
    "    error(\"bad argument #1 to 'sort' (table expected, got \" .. type(list) .. ')', 2)\n"
    "  end\n"
    "  local count = tointeger(#list) or error('object length is not an integer', 2)\n"
    "  if less == nil then\n"
    "    if count <= 1000 and is_simple(list, count) then return original(list) end\n"
    "    less = count <= 1000 and checked or natural\n"
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
    "local find, type, error, sub, byte, concat, pack, unpack = ...\n"
    "local function replacement(value, whole)\n"
    "  if not value then return whole end\n"
    "  local kind = type(value)\n"
    "  if kind ~= 'string' and kind ~= 'number' then\n"
    "    error('invalid replacement value (a ' .. kind .. ')', 4)\n"
    "  end\n"
    "  return value\n"
    "end\n"
    "return function(text, pattern, repl, limit)\n"
    "  local anchored = byte(pattern, 1) == 94\n"
    "  local out, n, done, at, last_end = {}, 0, 0, 1, 0\n"
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

/* A character that begins in one piece may end in the next. */
static const char utf8_len_source[] =
    "local len, byte = ...\n"
    "return function(text, first, last, lax, piece)\n"
    "  local total = 0\n"
    "  while first <= last do\n"
    "    local count, bad = len(text, first, last - first >= piece and first + piece - 1 or last, "
    "lax)\n"
    "    if not count then return count, bad end\n"
    "    total, first = total + count, first + piece\n"
    "    while first <= last and byte(text, first) & 0xC0 == 0x80 do first = first + 1 end\n"
    "  end\n"
    "  return total\n"
    "end\n";

/* The table library's loops: over what has a metatable, element by element; over long ranges of
 * what has none, in pieces that the library does. */
static const char table_source[] =
    "local span, type, error, rawequal, getmetatable, tointeger, lib_concat, lib_move, lib_unpack "
    "= ...\n"
    "local PIECE = 4096\n"
    "local function length(list)\n"
    "  return tointeger(#list) or error('object length is not an integer', 4)\n"
    "end\n"
    "local function concat_long(list, gap, first, last)\n"
    "  local parts, n = {}, 0\n"
    "  for i = first, last, PIECE do\n"
    "    n = n + 1\n"
    "    parts[n] = lib_concat(list, gap, i, last - i >= PIECE and i + PIECE - 1 or last)\n"
    "  end\n"
    "  return lib_concat(parts, gap)\n"
    "end\n"
    "local function concat(list, gap, first, last)\n"
    "  gap, first, last = gap or '', first or 1, last or length(list)\n"
    "  span('concat', first, last)\n"
    "  if type(list) == 'table' and getmetatable(list) == nil then\n"
    "    return concat_long(list, gap, first, last)\n"
    "  end\n"
    "  local values, n = {}, 0\n"
    "  for i = first, last do\n"
    "    local value = list[i]\n"
    "    local kind = type(value)\n"
    "    if kind ~= 'string' and kind ~= 'number' then\n"
    "      error('invalid value (at index ' .. i .. \") in table for 'concat'\", 3)\n"
    "    end\n"
    "    n = n + 1\n"
    "    values[n] = value\n"
    "  end\n"
    "  return concat_long(values, gap, 1, n)\n"
    "end\n"
    /* Downwards if the ranges overlap so that upwards would overwrite what is still to be read. */
    "local function move(from, first, last, at, to)\n"
    "  to = to or from\n"
    "  if last < first then return to end\n"
    "  span('move', first, last)\n"
    "  if at > 0 and last - first > 0x7fffffffffffffff - at then\n"
    "    error(\"bad argument #4 to 'move' (destination wrap around)\", 3)\n"
    "  end\n"
    "  local down = at > first and at <= last and rawequal(from, to)\n"
    "  if getmetatable(from) == nil and getmetatable(to) == nil then\n"
    "    if down then\n"
    "      for i = last, first, -PIECE do\n"
    "        local low = i - first >= PIECE and i - PIECE + 1 or first\n"
    "        lib_move(from, low, i, at + (low - first), to)\n"
    "      end\n"
    "    else\n"
    "      for i = first, last, PIECE do\n"
    "        lib_move(from, i, last - i >= PIECE and i + PIECE - 1 or last, at + (i - first), to)\n"
    "      end\n"
    "    end\n"
    "  elseif down then\n"
    "    for i = last, first, -1 do to[at + (i - first)] = from[i] end\n"
    "  else\n"
    "    for i = first, last do to[at + (i - first)] = from[i] end\n"
    "  end\n"
    "  return to\n"
    "end\n"
    "local function insert(list, at, value)\n"
    "  local count = length(list)\n"
    "  if at < 1 or at - 1 > count then\n"
    "    error(\"bad argument #2 to 'insert' (position out of bounds)\", 3)\n"
    "  end\n"
    "  span('insert', at, count)\n"
    "  if at <= count then move(list, at, count, at + 1) end\n"
    "  list[at] = value\n"
    "end\n"
    "local function remove(list, at)\n"
    "  local count = length(list)\n"
    "  if at ~= count and (at < 1 or at - 1 > count) then\n"
    "    error(\"bad argument #2 to 'remove' (position out of bounds)\", 3)\n"
    "  end\n"
    "  span('remove', at, count)\n"
    "  local value = list[at]\n"
    "  if at < count then move(list, at + 1, count, at) end\n"
    "  list[at < count and count or at] = nil\n"
    "  return value\n"
    "end\n"
    "local function unpack(list, first, last)\n"
    "  first, last = first or 1, last or length(list)\n"
    "  if first > last then return end\n"
    "  if last - first < 0 or last - first >= 1000000 then error('too many results to unpack', 3) "
    "end\n"
    "  local values, n = {}, 0\n"
    "  for i = first, last do\n"
    "    n = n + 1\n"
    "    values[n] = list[i]\n"
    "  end\n"
    "  return lib_unpack(values, 1, n)\n"
    "end\n"
    "return { concat = concat, move = move, insert = insert, remove = remove, unpack = unpack }\n";

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
    push_from(L, "math", (const char *const[]){"tointeger", NULL});
    call_source(L, sort_source, sizeof sort_source - 1, 5);
}

void script_push_utf8_len(lua_State *L) {
    push_from(L, "string", (const char *const[]){"byte", NULL});
    call_source(L, utf8_len_source, sizeof utf8_len_source - 1, 2);
}

void script_push_table_functions(lua_State *L) {
    push_from(L, NULL, (const char *const[]){"type", "error", "rawequal", "getmetatable", NULL});
    push_from(L, "math", (const char *const[]){"tointeger", NULL});
    push_from(L, "table", (const char *const[]){"concat", "move", "unpack", NULL});
    call_source(L, table_source, sizeof table_source - 1, 9);
}

void script_push_gsub(lua_State *L) {
    push_from(L, NULL, (const char *const[]){"type", "error", NULL});
    push_from(L, "string", (const char *const[]){"sub", "byte", NULL});
    push_from(L, "table", (const char *const[]){"concat", "pack", "unpack", NULL});
    call_source(L, gsub_source, sizeof gsub_source - 1, 8);
}
