-- What hostile or careless code may try, one route a case; test_sandbox.py runs them all.
--
-- ends/NAME must be stopped by the server (5xx) and must leave nothing written. works/NAME must end well by
-- itself: it shows that something is harmless, or still works within the bounds.

local names = { ends = json.array(), works = json.array() }

local function case(kind, name, fn)
  names[kind][#names[kind] + 1] = name
  route(kind .. "/" .. name, "json", function(args, req)
    set(kind .. ":" .. name, true)
    local status, body = fn(args, req)
    return status or 200, body
  end)
end

local function ends(name, fn) case("ends", name, fn) end
local function works(name, fn) case("works", name, fn) end

route("cases", "json", function() return 200, names end)
route("peek/:key", "json", function(args) return 200, (get(args.key)) or json.null end)

local function loop() while true do end end
local function metatable(name, fn) return setmetatable({}, { [name] = fn or loop }) end

-- As large as the machine allows: strings and arrays by shares of its memory.
local function fill(count, value)
  local list = {}
  for i = 1, count do list[i] = value or i end
  return list
end
local MB = 1 << 20
local function must_fail(...)
  local ok, why = pcall(...)
  if ok then error("it worked") end
  return why
end

-- ---- endless ----

ends("loop", loop)
ends("goto", function() ::again:: goto again end)
ends("tail_calls", function() local function f() return f() end return f() end)
ends("integer_for_overflow", function()
  local n = 0
  for i = math.maxinteger - 2, math.maxinteger do n = n + 1 end
  for i = math.mininteger, math.maxinteger do n = n + i end
  return 200, n
end)
ends("pcall", function() while true do pcall(loop) end end)
ends("pcall_nested", function() local function f() pcall(f) f() end f() end)
ends("pcall_tail", function() local function f() return pcall(f) end f() loop() end)
ends("xpcall", function() xpcall(loop, loop) end)
ends("xpcall_handler", function() xpcall(error, loop) end)
ends("xpcall_nested_handlers", function()
  local function f() return xpcall(error, f) end
  while true do f() end
end)
ends("coroutine", function() coroutine.wrap(loop)() end)
ends("coroutines_nested", function()
  local function f(n) if n == 0 then loop() end return coroutine.wrap(f)(n - 1) end
  f(100)
end)
ends("coroutine_ping_pong", function()
  local f = coroutine.wrap(function() while true do coroutine.yield() end end)
  while true do f() end
end)
ends("coroutine_pcall", function()
  while true do coroutine.wrap(function() pcall(coroutine.wrap(function() pcall(loop) loop() end)) loop() end)() end
end)
ends("close", function() local x <close> = metatable("__close") end)
ends("close_of_error", function() local x <close> = metatable("__close") error("x") end)
ends("close_of_loop", function() local x <close> = metatable("__close") loop() end)
ends("close_in_wrap", function()
  coroutine.wrap(function() local x <close> = metatable("__close") loop() end)()
end)
ends("close_in_wrap_of_error", function()
  coroutine.wrap(function() local x <close> = metatable("__close") error("x") end)()
end)
ends("close_in_a_for", function() for _ in next, {}, nil, metatable("__close") do end end)
ends("tostring_of_an_error", function() tostring(select(2, pcall(error, metatable("__tostring")))) end)
ends("tostring_of_the_error", function() error(metatable("__tostring")) end)
ends("name_and_tostring", function() error(setmetatable({}, { __name = ("n"):rep(MB), __tostring = loop })) end)
ends("index", function() return 200, metatable("__index").x end)
ends("newindex", function() metatable("__newindex").x = 1 end)
ends("eq", function() return 200, metatable("__eq") == metatable("__eq") end)
ends("lt", function() return 200, metatable("__lt") < 1 end)
ends("concat", function() return 200, metatable("__concat") .. 1 end)
ends("len", function() return 200, #metatable("__len") end)
ends("call", function() return 200, metatable("__call")() end)
ends("call_chain", function()
  local f = loop
  for _ = 1, 100 do f = setmetatable({}, { __call = f }) end
  return 200, f()
end)
ends("pairs_metamethod", function() for _ in pairs(metatable("__pairs")) do end end)
ends("for_iterator", function() for _ in loop do end end)
ends("for_that_never_ends", function() for _ in function() return 1 end do end end)
ends("sort_comparator", function() table.sort({ 3, 2, 1 }, loop) end)
ends("sort_lt", function()
  local m = { __lt = loop }
  table.sort({ setmetatable({}, m), setmetatable({}, m) })
end)
ends("gsub_callback", function() return 200, (("abc"):gsub(".", loop)) end)
ends("gsub_table", function() return 200, (("abc"):gsub(".", metatable("__index"))) end)
ends("load_reader", function() load(loop) end)
ends("load_reader_that_never_ends", function() assert(load(function() return " " end)) end)
ends("yield_at_the_top", function() coroutine.yield(200, 1) end)
ends("yield_at_the_top_in_pcall", function() assert(pcall(coroutine.yield, 200, 1)) end)

-- ---- memory ----

ends("rep_huge", function() return 200, ("x"):rep(math.maxinteger) end)
ends("rep_loop", function() while true do local _ = ("x"):rep(4 * MB) end end)
ends("rep_empty_loop", function() while true do local _ = (""):rep(math.maxinteger) end end)
ends("doubling", function() local s = "x" while true do s = s .. s end end)
ends("doubling_caught", function() local s = "x" while true do pcall(function() s = s .. s end) end end)
ends("doubling_in_a_coroutine", function()
  local s = "x"
  while true do coroutine.resume(coroutine.create(function() s = s .. s end)) end
end)
ends("hoarding", function() local t = {} while true do t[#t + 1] = {} end end)
ends("hoarding_caught", function()
  local t = {}
  while true do pcall(function() while true do t[#t + 1] = { t } end end) end
end)
ends("hoarding_closures", function() local t = {} while true do t[#t + 1] = function() return t end end end)
ends("format_width", function() return 200, ("%1000000000d"):format(1) end)
ends("format_loop", function() local s = ("x"):rep(2 * MB) while true do local _ = ("%s%s"):format(s, s) end end)
ends("coroutines_created", function() local t = {} for i = 1, 1e6 do t[i] = coroutine.create(loop) end end)
ends("coroutines_suspended", function()
  local t = {}
  for i = 1, 1e6 do
    t[i] = coroutine.create(coroutine.yield)
    coroutine.resume(t[i])
  end
end)
ends("coroutines_wrapped", function() local t = {} for i = 1, 1e7 do t[i] = coroutine.wrap(loop) end end)
ends("coroutine_recursion", function() local function f() return coroutine.wrap(f)() end f() end)
ends("sets", function() for i = 1, 1e7 do set("million:" .. i, i) end end)
ends("gets", function() for i = 1, 1e7 do get("million:" .. i) end end)
ends("results", function() return table.unpack(fill(1e6, 200)) end)
ends("bytes", function() local s = ("x"):rep(2e6) return 200, { s:byte(1, -1) } end)
ends("select_of_many", function()
  local function f(...) while true do local _ = select("#", ...) end end
  f(table.unpack(fill(2e5)))
end)
ends("log_lines", function() while true do log("info", ("x"):rep(1000), { a = 1 }) end end)
ends("error_huge_string", function() error(("x"):rep(4 * MB)) end)
ends("error_huge_table", function() error(fill(3e5)) end)
ends("error_loop_of_huge_strings", function() while true do pcall(error, ("x"):rep(4 * MB)) end end)

-- ---- results that cannot be sent ----

ends("result_cyclic", function() local t = {} t.t = t return 200, t end)
ends("result_deep", function() local t = {} for _ = 1, 1e5 do t = { t } end return 200, t end)
ends("result_that_doubles", function() local t = {} for _ = 1, 60 do t = { t, t } end return 200, t end)
ends("encode_what_doubles", function()
  local t = {} for _ = 1, 60 do t = { a = t, b = t } end
  return 200, json.encode(t)
end)
ends("set_what_doubles", function() local t = "x" for _ = 1, 60 do t = { t, t } end set("k", t) end)
ends("log_what_doubles", function() local t = {} for _ = 1, 60 do t = { a = t, b = t } end log("info", "x", t) end)
ends("result_huge", function() local s = ("x"):rep(MB) return 200, fill(200, s) end)
ends("decode_encode", function() while true do json.decode(json.encode(fill(1e5))) end end)
ends("error_value_nil", function() error() end)
ends("error_value_table", function() error({ code = 1 }) end)
ends("error_value_function", function() error(print) end)
ends("error_value_coroutine", function() error(coroutine.create(print)) end)

-- ---- patterns ----

local stars = ("a*"):rep(30) .. "b"
ends("pattern_find", function() return 200, ("a"):rep(30000):find(stars) end)
ends("pattern_match", function() return 200, ("a"):rep(30000):match(stars) end)
ends("pattern_gmatch", function() for _ in ("a"):rep(30000):gmatch(stars) do end end)
ends("pattern_gsub", function() return 200, (("a"):rep(30000):gsub(stars, "")) end)
ends("pattern_gsub_callback", function() return 200, (("a"):rep(30000):gsub(stars, print)) end)
ends("pattern_caught", function() while true do pcall(string.find, ("a"):rep(30000), stars) end end)
ends("pattern_trim", function() return 200, ((" "):rep(MB) .. "x"):match("^(.-)%s*$") and (" "):rep(MB):find("%s+x") end)
ends("pattern_balanced", function() return 200, ("("):rep(MB):find("%b()") end)
ends("pattern_frontier", function() while true do local _ = ("a"):rep(4 * MB):find("%f[b]") end end)
ends("pattern_set", function() return 200, ("a"):rep(MB):find("[" .. ("b"):rep(10000) .. "]") end)
ends("pattern_backreference", function() return 200, ("a"):rep(30000):find("(.*)%1b") end)
ends("pattern_deep", function() return 200, ("a"):rep(MB):find(("a?"):rep(10000) .. ("a"):rep(10000)) end)
ends("find_plain_loop", function() local s = ("a"):rep(6 * MB) while true do s:find("ab", 1, true) end end)
ends("find_plain_bad", function()
  local s, needle = ("a"):rep(4 * MB), ("a"):rep(2 * MB) .. "b" .. ("a"):rep(MB)
  while true do s:find(needle, 1, true) end
end)

-- ---- the table library and what lies about itself ----

local function liar(length, index) return setmetatable({}, {
  __len = function() return length end, __index = index or function(_, i) return i end, __newindex = rawequal })
end
ends("lying_unpack", function() return 200, { table.unpack(liar(1e15)) } end)
ends("lying_unpack_fits", function() while true do local _ = { table.unpack(liar(9e5)) } end end)
ends("lying_concat", function() return 200, table.concat(liar(1e15)) end)
ends("lying_concat_fits", function() while true do table.concat(liar(4e6)) end end)
ends("lying_insert", function() table.insert(liar(math.maxinteger - 1), 1, 0) end)
ends("lying_insert_fits", function() while true do table.insert(liar(4e6), 1, 0) end end)
ends("lying_remove", function() table.remove(liar(math.maxinteger - 1), 1) end)
ends("lying_remove_fits", function() while true do table.remove(liar(4e6), 1) end end)
ends("lying_move", function() table.move({}, 1, 1e15, 2) end)
ends("lying_move_fits", function() while true do table.move(liar(4e6), 1, 4e6, 2) end end)
ends("lying_sort", function() table.sort(liar(1e15)) end)
ends("lying_sort_fits", function() while true do table.sort(liar(4e6)) end end)
ends("lying_length_not_a_number", function() return 200, table.concat(setmetatable({}, { __len = function() return {} end })) end)
-- Metamethods that are C functions: no instruction runs, so no hook.
ends("c_index_unpack", function()
  local t = setmetatable(fill(1e5), { __index = table.concat })
  return 200, { table.unpack(t, 100001, 400000) }
end)
ends("c_index_unpack_encode", function()
  return 200, { table.unpack(setmetatable(fill(1e5), { __index = json.encode }), 100001, 400000) }
end)
ends("c_index_move", function()
  table.move(setmetatable(fill(1e5), { __index = json.encode }), 100001, 400000, 1, liar(0))
end)
ends("c_index_concat", function()
  return 200, table.concat(setmetatable(fill(1e5), { __index = json.encode }), "", 100001, 400000)
end)
ends("c_newindex_insert", function()
  table.insert(setmetatable(fill(1e5), { __len = function() return 4e6 end, __index = json.encode }), 100001, 1)
end)
ends("c_lt_sort", function()
  local list, m = {}, { __lt = json.encode }
  for i = 1, 1000 do list[i] = setmetatable(i % 2 == 0 and fill(300) or {}, m) end
  list[1] = setmetatable(fill(2e5), m)
  for i = 2, 1000 do list[i] = list[1] end
  table.sort(list)
end)
ends("c_index_gsub", function()
  return 200, (("x"):rep(MB):gsub(".", setmetatable(fill(1e5), { __index = json.encode })))
end)
ends("c_concat", function()
  local t = setmetatable(fill(1e5), { __concat = json.encode })
  local f = load("local t = ... while true do local _ = " .. ("t.."):rep(150) .. "t end")
  f(t)
end)
ends("c_reader", function()
  local words = {}
  for i = 1, 20000 do words[i] = "x" .. i .. " x" .. i .. " " end
  return 200, assert(load(table.concat(words):gmatch("(x%d+) .*%1")))
end)
ends("insert_at_front", function()
  local t = fill(5e5)
  while true do table.insert(t, 1, 0) table.remove(t, 1) end
end)
ends("concat_loop", function() local t = fill(4e5, "x") while true do table.concat(t, ",") end end)
ends("move_loop", function() local t = fill(5e5) while true do table.move(t, 1, 5e5, 1) end end)
ends("unpack_loop", function() local t = fill(4e5) while true do local _ = select("#", table.unpack(t)) end end)
ends("next_over_holes", function()
  local t = fill(5e5)
  for i = 1, 5e5 do t[i] = nil end
  while true do next(t) end
end)
ends("next_bad_key", function() return 200, next({}, "nope") end)
ends("set_while_walking", function() local t = { 1 } for k in pairs(t) do t[k + 1] = 1 end end)
ends("sort_big_loop", function() local t = fill(1e5) while true do table.sort(t, function(a, b) return a > b end) end end)
ends("index_chain", function()
  local t = {}
  for _ = 1, 1900 do t = setmetatable({}, { __index = t }) end
  while true do local _ = t.a, t.b, t.c, t.d, t.e, t.f, t.g, t.h end
end)
ends("index_chain_too_long", function()
  local t = {}
  for _ = 1, 5000 do t = setmetatable({}, { __index = t }) end
  return 200, t.x
end)
ends("index_cycle", function() local t = {} setmetatable(t, { __index = t }) return 200, t.x end)

-- ---- deep recursion ----

ends("recursion", function() local function f(n) return 1 + f(n + 1) end return 200, f(1) end)
ends("recursion_caught", function()
  local function f(n) return 1 + f(n + 1) end
  while true do pcall(f, 1) end
end)
ends("recursion_pcall", function() local function f() return pcall(f), pcall(f) end f() end)
ends("recursion_gsub", function()
  local function f() return (("a"):gsub(".", f)) end
  while true do f() end
end)
ends("recursion_gsub_table", function()
  local t = {}
  setmetatable(t, { __index = function() return (("a"):gsub(".", t)) end })
  return 200, t.x
end)
ends("recursion_metamethods", function()
  local t = {}
  setmetatable(t, { __index = function(_, k) return t[k] end })
  return 200, t.x
end)
ends("recursion_sort", function() local function f() table.sort({ 1, 2 }, f) end f() end)
ends("recursion_tostring", function()
  local t = {}
  setmetatable(t, { __tostring = function() return tostring(t) end })
  return 200, tostring(t)
end)
ends("recursion_in_handlers", function()
  local function f() error(f) end
  return 200, select(2, assert(xpcall(f, function(e) return e() end)))
end)

-- ---- the parser ----

ends("parse_parentheses", function() assert(load("return " .. ("("):rep(1e5) .. "1" .. (")"):rep(1e5))) end)
ends("parse_tables", function() assert(load("return " .. ("{"):rep(1e5))) end)
ends("parse_blocks", function() assert(load(("do "):rep(1e4) .. ("end "):rep(1e4))) end)
ends("parse_unary", function() assert(load("return " .. ("- "):rep(1e5) .. "1")) end)
ends("parse_concats", function() assert(load("return " .. ("a .. "):rep(1e4) .. "a")) end)
ends("parse_functions", function() assert(load(("return function() "):rep(1000) .. ("end "):rep(1000))) end)
ends("parse_locals", function() assert(load(("local a "):rep(201))) end)
ends("parse_upvalues", function()
  local text = {}
  for i = 1, 2 do
    text[#text + 1] = "local function f" .. i .. "() "
    for j = 1, 190 do text[#text + 1] = "local v" .. i .. "_" .. j .. " " end
  end
  text[#text + 1] = "return function() return 0"
  for i = 1, 2 do for j = 1, 190 do text[#text + 1] = "+v" .. i .. "_" .. j end end
  assert(load(table.concat(text) .. " end end end"))
end)
ends("parse_names_in_scopes", function()
  local text = {}
  for i = 1, 150 do
    text[#text + 1] = "return function() local "
    for j = 1, 190 do text[#text + 1] = string.char(95, 97 + j % 26, 97 + j // 26 % 26) .. (j < 190 and "," or " ") end
  end
  assert(load(table.concat(text) .. ("x=x "):rep(30000) .. ("end "):rep(150)))
  loop()
end)
ends("parse_too_long", function() assert(load((" "):rep(MB))) end)
ends("parse_loop", function() local s = ("x=1 "):rep(60000) while true do load(s) end end)
ends("parse_error_loop", function() local s = ("x=1 "):rep(60000) .. "(" while true do load(s) end end)
ends("bytecode", function() assert(load("\27Lua")) end)
ends("bytecode_mode", function() assert(load("\27LuaT\0\x19\x93\r\n\x1a\n", "x", "b")) end)
ends("bytecode_from_a_reader", function() local n = 0 assert(load(function() n = n + 1 return ("\27Lua"):sub(n, n) end, "x", "bt")) end)

-- ---- large inputs to what the library does in one go ----

local function again(name, make, fn)
  ends(name .. "_loop", function() local s = make() while true do pcall(fn, s) end end)
end
local function text(count, s) return function() return (s or "a"):rep(count) end end
again("utf8_len", text(6 * MB), utf8.len)
again("utf8_len_wide", text(2 * MB, "\u{800}"), utf8.len)
again("utf8_offset", text(6 * MB), function(s) return utf8.offset(s, #s) end)
again("utf8_codepoint", text(6 * MB), function(s) return utf8.codepoint(s, 1, 900000) end)
again("utf8_codes", text(6 * MB), function(s) for _ in utf8.codes(s) do end end)
again("upper", text(4 * MB), string.upper)
again("reverse", text(4 * MB), string.reverse)
again("sub", text(4 * MB), function(s) return s:sub(2, -2) end)
again("compare", text(4 * MB), function(s) return s .. "a" < s .. "b" end)
again("pack_format", text(4 * MB, " "), string.pack)
again("packsize_format", text(4 * MB, "<"), string.packsize)
again("unpack_format", text(4 * MB, " "), function(s) return string.unpack(s, "x") end)
again("pack_padding", text(1), function() return string.pack("c4000000", "x") end)
again("format_long", text(4 * MB, "%%"), string.format)
again("format_quoted", text(MB, "\0"), function(s) return ("%q"):format(s) end)
again("tonumber_digits", text(4 * MB, "1"), tonumber)
again("tonumber_base", text(4 * MB, "z"), function(s) return tonumber(s, 36) end)
again("coerced_digits", text(4 * MB, "1"), function(s) return s + 1 end)
again("date_long", text(MB, "%c"), os.date)
again("rep_with_gap", text(1), function(s) return s:rep(2e6, "-") end)
again("gsub_each", text(2 * MB), function(s) return (s:gsub("a", "b")) end)
again("gsub_none", text(4 * MB), function(s) return (s:gsub("b", "a")) end)
again("gmatch_each", text(2 * MB), function(s) for _ in s:gmatch("a") do end end)
again("escape_html", text(MB, "&"), escape_html)
again("urlencode", text(MB, "&"), urlencode)
again("json_decode", function() return "[" .. ("1,"):rep(2e5) .. "1]" end, json.decode)
again("json_decode_tables", function() return "[" .. ("{},"):rep(5e4) .. "1]" end, json.decode)
again("json_encode", function() return fill(2e5) end, json.encode)
again("json_encode_object", function()
  local t = {}
  for i = 1, 50000 do t["key" .. i] = i end
  return t
end, json.encode)
again("garbage_beside_much", function() return fill(3e5, nil) end, function() local _ = {} end)
again("set_large", function() return fill(1e5) end, function(t) set("k", t) end)
again("incr", text(1), incr)
ends("many_small_objects", function()
  local t = {}
  while true do for i = 1, 60000 do t[i] = { i } end end
end)

-- ---- what must be harmless ----

works("rep_empty", function() return 200, #(""):rep(math.maxinteger) == 0 and #("x"):rep(-1) == 0 end)
works("gc_is_not_settable", function()
  must_fail(setmetatable, {}, { __gc = loop })
  local m = {}
  local t = setmetatable({}, m)
  m.__gc = loop -- too late to count
  t = nil
  for _ = 1, 1e5 do local _ = {} end
end)
works("sealed", function()
  local strings = getmetatable("")
  for _, f in ipairs({
    function() x = 1 end, function() _G.x = 1 end, function() _ENV.x = 1 end, function() rawset(_G, "x", 1) end,
    function() setmetatable(_G, {}) end, function() setmetatable(_G, nil) end, function() setmetatable("", {}) end,
    function() string.x = 1 end, function() string.rep = nil end, function() rawset(string, "x", 1) end,
    function() table.insert(string, 1) end, function() table.move({ 1 }, 1, 1, 1, string) end,
    function() table.sort(_G, loop) x = 1 end,
    function() strings.__index = {} end, function() strings.__index.x = 1 end, function() strings.__add = loop end,
    function() rawset(strings, "__index", {}) end, function() rawset(strings.__index, "x", 1) end,
    function() setmetatable(strings, nil) end, function() getmetatable(string).__newindex = nil end,
    function() json.null = 1 end, function() json.array().x.y = 1 end,
    function() setmetatable(json.array(), {}) getmetatable(json.array()).x = 1 end,
  }) do must_fail(f) end
  if rawget(_G, "x") or _G.x or string.x or ("").x then error("written") end
  for name, library in pairs(_G) do
    if type(library) == "table" and name ~= "_G" then
      for key in pairs(library) do must_fail(function() library[key] = nil end) end
    end
  end
end)
works("no_holes", function()
  for _, name in ipairs({ "io", "debug", "package", "dofile", "loadfile", "collectgarbage", "warn" }) do
    if rawget(_G, name) ~= nil or _G[name] ~= nil then error(name) end
  end
  for _, field in ipairs({ "execute", "exit", "getenv", "remove", "rename", "tmpname", "setlocale" }) do
    if os[field] ~= nil then error(field) end
  end
  if string.dump or math.randomseed or coroutine.close or coroutine.running then error("there") end
end)
works("environment_of_load", function()
  local box = {}
  assert(load("x = 1", "=x", "t", box))()
  must_fail(assert(load("x = 1")))
  return 200, box.x
end)
works("sort_invalid_order", function()
  for _, less in ipairs({
    function() return true end, function() return random(2) == 1 end, function(a, b) return a ~= b end,
  }) do
    local t = fill(5000)
    table.sort(t, less)
    local seen = {}
    for _, value in ipairs(t) do seen[value] = true end
    if #seen ~= 5000 then error("lost") end
  end
end)
works("sort_comparator_changes_the_table", function()
  local t = fill(1000)
  table.sort(t, function(a, b) t[#t + 1], t[random(1000)] = 1, 2 return a < b end)
  t = fill(1000)
  pcall(table.sort, t, function(a, b) for i = 1, #t do t[i] = nil end return a < b end)
end)
works("sort_comparator_fails", function()
  must_fail(table.sort, fill(10), function() error("x") end)
  must_fail(table.sort, { 1, "x" })
  must_fail(table.sort, { {}, {} })
end)
works("errors_of_any_kind", function()
  for _, value in ipairs({ 1, true, {}, print, coroutine.create(print), json.null }) do
    if must_fail(error, value) ~= value then error("changed") end
  end
  local ok, why = pcall(error)
  if ok or why ~= nil then error("nil") end
end)
works("dead_coroutines", function()
  local closed = 0
  local co = coroutine.create(function()
    local x <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
    error("x")
  end)
  local ok = coroutine.resume(co)
  if ok or coroutine.status(co) ~= "dead" then error("not dead") end
  must_fail(function() return assert(coroutine.resume(co)) end)
  must_fail(coroutine.wrap(function() error({}) end))
end)
works("yield_across_pcall", function()
  local f = coroutine.wrap(function()
    local ok, value = pcall(function() return coroutine.yield(1) + 1 end)
    local _, more = xpcall(function() return coroutine.yield(value) end, print)
    return ok and more
  end)
  return 200, f() + f(10) + f(100) == 112 or error("wrong")
end)
works("yield_where_it_cannot", function()
  local f = coroutine.wrap(function() return tostring(setmetatable({}, { __tostring = coroutine.yield })) end)
  must_fail(f)
end)
works("numbers", function()
  local max, min = math.maxinteger, math.mininteger
  if tonumber("1e") or tonumber("0x") or tonumber("") or tonumber("1 2") or tonumber("z", 35) then error("number") end
  if tonumber(("9"):rep(400)) ~= math.huge or tonumber("7fffffffffffffff", 16) ~= max then error("large") end
  if min // -1 ~= min or min % -1 ~= 0 or math.fmod(min, -1) ~= 0 or max + 1 ~= min then error("wrap") end
  must_fail(function() return 1 // 0 end)
  must_fail(function() return 1 % 0 end)
  must_fail(function() for _ = 1, 10, 0 do end end)
  must_fail(tonumber, "1", 1)
  must_fail(tonumber, "1", 37)
  must_fail(tonumber, 1, 10)
  if math.tointeger(2 ^ 63) or 1 << 64 ~= 0 or 1 >> -64 ~= 0 then error("shift") end
end)
works("random_ranges", function()
  local max, min = math.maxinteger, math.mininteger
  for _ = 1, 1000 do
    random(min, max) random(max, max) random(min, min) random(0) math.random(1) random(max)
  end
  must_fail(random, 2, 1)
  must_fail(random, -1)
  must_fail(random, 1, 2, 3)
  must_fail(random, 0.5)
end)
works("dates", function()
  for _, format in ipairs({ "%", "%Ez", "%O", "%Q", "%-d", "%5Y", "x%" }) do must_fail(os.date, format) end
  must_fail(os.date, "%Y", 1 << 62)
  must_fail(os.time, {})
  must_fail(os.time, { year = 1 << 40, month = 1, day = 1 })
  must_fail(os.date, ("%Y"):rep(1e5))
  return 200, os.date("!%Y-%m-%d", 0) == "1970-01-01" or error("date")
end)
works("packs", function()
  for _, format in ipairs({ "i17", "!17i", "i0", "X", "c", "y", "c9000000" }) do must_fail(string.pack, format, 1) end
  must_fail(string.unpack, "s8", "\255\255\255\255\255\255\255\255")
  must_fail(string.unpack, "i4", "x")
  must_fail(string.unpack, "i4", "xxxx", 6)
  must_fail(string.packsize, "s")
  must_fail(string.pack, "c" .. ("9"):rep(30), "x")
  must_fail(string.unpack, ("b"):rep(2000000), "x")
  return 200, string.unpack("<i4", string.pack("<i4", -5)) == -5 or error("pack")
end)
works("formats", function()
  for _, format in ipairs({ "%", "%y", "%100d", "%.100f", "%p", "%0-#+ 99d%", "%q%", "%10q" }) do
    must_fail(string.format, format, 1)
  end
  return 200, ("%99d"):format(1)
end)
works("utf8_bad", function()
  if utf8.len("\xff") or utf8.len(("a"):rep(1e6) .. "\xc0") then error("length") end
  must_fail(utf8.char, -1)
  must_fail(utf8.codepoint, "\xff")
  must_fail(utf8.len, "x", 5)
  must_fail(function() for _ in utf8.codes("\xff") do end end)
  return 200, utf8.len("\u{10FFFF}é") == 2 and utf8.offset("aé", 3) == 4 or error("utf8")
end)
works("pairs_and_next", function()
  must_fail(next, {}, 1)
  must_fail(next, { 1 }, 0.5)
  must_fail(pairs)
  must_fail(function() local t, k = {} t[k] = 1 end)
  must_fail(function() local t = {} t[0 / 0] = 1 end)
  for _ in pairs(setmetatable({}, { __pairs = function() return next, {}, nil end })) do error("x") end
end)
works("library_of_lies", function()
  local t = setmetatable({}, { __len = function() return 3 end, __index = function(_, i) return i * 2 end,
    __newindex = function(t, k, v) rawset(t, k, v) end })
  if table.concat(t, ",") ~= "2,4,6" or select("#", table.unpack(t)) ~= 3 then error("read") end
  table.insert(t, 1, 9)
  if table.concat(t, ",") ~= "9,2,4" or rawget(t, 4) ~= 6 then error("insert") end
  if table.remove(t, 1) ~= 9 then error("remove") end
  local u = table.move(t, 1, 3, 2, setmetatable({}, { __newindex = function(u, k, v) rawset(u, k, v + 1) end }))
  if u[2] ~= t[1] + 1 then error("move") end
end)
works("large_tables", function()
  local t = fill(100000)
  table.insert(t, 1, 0)
  if t[1] ~= 0 or t[2] ~= 1 or t[100001] ~= 100000 or #t ~= 100001 then error("insert") end
  if table.remove(t, 1) ~= 0 or #t ~= 100000 or t[100000] ~= 100000 then error("remove") end
  table.move(t, 1, 90000, 5)
  if t[5] ~= 1 or t[90004] ~= 90000 or t[90005] ~= 90005 then error("up") end
  table.move(t, 5, 90004, 1)
  if t[1] ~= 1 or t[90000] ~= 90000 then error("down") end
  local s = table.concat(t, ",", 1, 90000)
  if #s ~= 9 + 90 * 2 + 900 * 3 + 9000 * 4 + 80001 * 5 + 89999 or s:sub(-12) ~= ",89999,90000" then error("concat") end
  if #json.decode(json.encode(t)) ~= #t then error("json") end
  if select("#", table.unpack(t, 1, 90000)) ~= 90000 then error("unpack") end
end)
works("long_texts", function()
  local s = ("ab "):rep(100000)
  if select(2, s:gsub("a", "%0%0")) ~= 100000 or #s:gsub("a", { a = "xyz" }) ~= 500000 then error("gsub") end
  if s:find("b$") or not s:find("b $") or (s .. "c"):find("c") ~= 300001 then error("find") end
  local n = 0
  for _ in s:gmatch("%a+") do n = n + 1 end
  if n ~= 100000 or utf8.len(s) ~= 300000 or #s:upper() ~= 300000 or s:rep(3, "-"):sub(300000, 300003) ~= " -ab" then
    error("text")
  end
end)
works("text_beside_much", function()
  local t = {}
  for i = 1, 80000 do t[i] = { i } end
  for i = 1, 3000 do
    local text = ("x"):rep(30000) .. i
    if #text < 30001 then error("short") end
  end
end)
works("weak_tables", function()
  must_fail(setmetatable, {}, { __mode = "k" })
  must_fail(setmetatable, {}, { __mode = "kv" })
  local cache = setmetatable({}, { __mode = "v" })
  cache[1] = {}
end)
works("deep_pcall", function()
  local function f(n) return n == 0 or pcall(f, n - 1) end
  f(150)
end)

-- ---- the store where the machine cannot yield ----

local KEYS = 40
route("seed", "json", function()
  for i = 1, KEYS do set("seed:" .. i, i * 7 % KEYS) end
  return 200, 1
end)
local function value(i) return (get("seed:" .. i)) end
local SUM = KEYS * (KEYS - 1) // 2
local function summed(sum) return 200, sum == SUM or error("sum " .. tostring(sum)) end

works("store_in_sort", function()
  local t = {}
  for i = 1, KEYS do t[i] = i end
  table.sort(t, function(a, b) return value(a) < value(b) end)
  for i = 1, KEYS do if value(t[i]) ~= i - 1 then error("order") end end
end)
works("store_in_gsub", function()
  local sum = 0
  local _ = ("1 2 3 4 5 6 7 8"):gsub("%d", function(d) sum = sum + value(d) end)
  return 200, sum == 7 + 14 + 21 + 28 + 35 + 2 + 9 + 16 or error("sum")
end)
works("store_in_gsub_table", function()
  return 200, (("1 2 3"):gsub("%d", setmetatable({}, { __index = function(_, d) return value(d) end }))) == "7 14 21"
    or error("text")
end)
works("store_in_metamethods", function()
  local m = {}
  local function box(i) return setmetatable({ i = i }, m) end
  m.__add = function(a, b) return box(0), a, b end
  m.__index = function(_, k) return value(k) end
  m.__lt = function(a, b) return value(a.i) < value(b.i) end
  m.__eq = function(a, b) return value(a.i) == value(b.i) end
  m.__len = function(a) return value(a.i) end
  m.__concat = function(a, b) return value(a.i) .. value(b.i) end
  m.__call = function(a) return value(a.i) end
  m.__tostring = function(a) return "v" .. value(a.i) end
  local a, b = box(1), box(2)
  if not (a < b) or a == b or #a ~= 7 or a .. b ~= "714" or a() ~= 7 or tostring(b) ~= "v14" or a[3] ~= 21 then
    error("wrong")
  end
end)
works("store_in_coroutines", function()
  local sum, all = 0, {}
  for i = 1, KEYS do
    all[i] = coroutine.create(function() coroutine.yield(value(i)) return value(KEYS + 1 - i) end)
  end
  for _, co in ipairs(all) do sum = sum + select(2, coroutine.resume(co)) end
  local more = 0
  for _, co in ipairs(all) do more = more + select(2, coroutine.resume(co)) end
  return 200, sum == SUM and more == SUM or error("sum")
end)
works("store_in_a_coroutine_in_sort_in_gsub", function()
  local sum = 0
  local _ = ("ab"):gsub("%w", function()
    table.sort({ 1, 2, 3 }, function(a, b)
      sum = sum + coroutine.wrap(function() return value(a) + value(b) end)()
      return a < b
    end)
  end)
  return 200, sum > 0
end)
works("store_in_close", function()
  local sum = 0
  pcall(function()
    local x <close> = setmetatable({}, { __close = function() for i = 1, KEYS do sum = sum + value(i) end end })
    error("x")
  end)
  return summed(sum)
end)
works("store_in_a_handler", function()
  local sum = 0
  xpcall(error, function() for i = 1, KEYS do sum = sum + value(i) end end)
  return summed(sum)
end)
works("store_in_a_reader", function()
  local i = 0
  local f = load(function() i = i + 1 return i == 1 and "return " or i <= KEYS and value(i) .. "+" or i == KEYS + 1 and "0" or nil end)
  return 200, f() == SUM - 7 or error("sum")
end)
works("store_in_the_library", function()
  local t = setmetatable({}, { __len = function() return value(1) end, __index = function(_, i) return value(i) end })
  if table.concat(t, ",") ~= "7,14,21,28,35,2,9" or select("#", table.unpack(t)) ~= 7 then error("wrong") end
end)
works("store_in_an_iterator", function()
  local sum = 0
  for i in function(_, i) i = (i or 0) + 1 return value(i) and i end do sum = sum + value(i) end
  return summed(sum)
end)
works("range_in_a_coroutine", function()
  local sum = 0
  for v in coroutine.wrap(function() for _, v in prefix("seed:") do coroutine.yield(v) end end) do sum = sum + v end
  return summed(sum)
end)
works("range_in_sort", function()
  local sum
  table.sort({ 2, 1 }, function() sum = 0 for _, v in prefix("seed:") do sum = sum + v end return false end)
  return summed(sum)
end)

-- ---- leaving ----

-- In lists: an application must declare its routes in the same order each time it loads.
for _, way in ipairs({
  { "abort", function() abort(299, "left") end }, { "redirect", function() return redirect("/x", 307) end },
}) do
  local name, leave = table.unpack(way)
  route("leave/" .. name .. "/plain", "json", function() set("left", 1) return leave() end)
  route("leave/" .. name .. "/pcall", "json", function() set("left", 1) return select(2, pcall(leave)) end)
  route("leave/" .. name .. "/coroutine", "json", function() set("left", 1) return coroutine.wrap(leave)() end)
  route("leave/" .. name .. "/deep", "json", function()
    set("left", 1)
    return select(2, xpcall(coroutine.wrap(function() return select(2, pcall(coroutine.wrap(leave))) end), loop))
  end)
end
for _, place in ipairs({
  { "sort", function(f) table.sort({ 2, 1 }, f) end },
  { "gsub", function(f) local _ = ("a"):gsub("a", f) end },
  { "close", function(f) local x <close> = setmetatable({}, { __close = f }) end },
  { "tostring", function(f) tostring(setmetatable({}, { __tostring = f })) end },
  { "handler", function(f) xpcall(error, f) end },
  { "wrapped_tostring", function(f)
    coroutine.wrap(function() pcall(tostring, setmetatable({}, { __tostring = f })) end)()
  end },
}) do
  local name, around = table.unpack(place)
  route("leave/abort/" .. name, "json", function()
    set("left", 1)
    around(function() abort(299, "left") end)
    return 200, "not left"
  end)
end

-- ---- state that outlives requests ----

local kept = {}
route("hoard", "json", function()
  set("hoard", true)
  kept[#kept + 1] = ("x"):rep(MB + #kept)
  return 200, #kept
end)
route("hoard/caught", "json", function()
  pcall(function() for i = 1, 1e9 do kept[#kept + 1] = { i } end end)
  return 200, "caught"
end)
-- Takes a while; how often it was begun is in the log, which shows the attempts that stand.
route("slow", "json", function(args)
  local start = os.clock()
  while os.clock() - start < tonumber(args.seconds) do end
  return 200, "slow"
end)
