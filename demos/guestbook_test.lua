-- Tests of guestbook.lua: `concave test demos/guestbook_test.lua`.
require "guestbook"

local function sign(name, text)
  return call("sign", nil, { form = { name = name, text = text } })
end

local function fill(count)
  for number = 1, count do
    set(string.format("entry:%012d", number), { name = "guest", text = "entry " .. number, at = 0 })
  end
  set("entries", count)
end

-- The numbers of the entries on a page.
local function numbers(query)
  local _, list = call("entries" .. query)
  local found = {}
  for i, entry in ipairs(list) do found[i] = entry.number end
  return found
end

local function has(page, text)
  if not page:find(text, 1, true) then error("the page has no " .. text .. ":\n" .. page, 2) end
end

test("an entry has a name, a text and a time", function()
  local status, _, headers = sign(" Ann ", "Lovely.\r\nAgain!")
  expect(status, 303)
  expect(headers.location, "/fn/view#entries")
  local entry = get("entry:000000000001")
  expect(entry.name, "Ann")
  expect(entry.text, "Lovely.\nAgain!")
  expect(math.abs(entry.at - now()) < 600, true)
end)

test("times are written in UTC", function()
  set("entry:000000000001", { name = "Ann", text = "x", at = 1700000000 })
  local _, page = call("view")
  has(page, [[<time datetime="2023-11-14T22:13:20Z">14 Nov 2023, 22:13 UTC</time>]])
end)

test("pages go both ways", function()
  fill(25)
  expect(numbers("?limit=4"), { 25, 24, 23, 22 })
  expect(numbers("?limit=4&before=22"), { 21, 20, 19, 18 })
  expect(numbers("?limit=4&before=3"), { 2, 1 })
  expect(numbers("?limit=4&after=18"), { 22, 21, 20, 19 })
  expect(numbers("?limit=4&after=23"), { 25, 24 })
  expect(numbers("?limit=4&after=25"), {})
  expect(#numbers(""), 10)
  expect(#numbers("?limit=0"), 1)
  expect(#numbers("?limit=1000"), 25)
  expect(#numbers("?limit=x&before=-3&after=1e3"), 10)
end)

test("the page links to those beside it, if there are any", function()
  fill(5)
  for query, links in pairs {
    ["?limit=2"] = { older = "before=4" }, ["?limit=2&before=4"] = { newer = "after=3", older = "before=2" },
    ["?limit=2&before=2"] = { newer = "after=1" }, ["?limit=2&after=3"] = { older = "before=4" },
    ["?limit=2&after=1"] = { newer = "after=3", older = "before=2" }, ["?limit=5"] = {},
  } do
    local _, page = call("view" .. query)
    expect({ newer = page:match("after=%d+"), older = page:match("before=%d+") }, links, query)
  end
end)

test("what is missing or too long is refused with the page", function()
  for _, case in ipairs {
    { "", "text", "The name is missing." }, { "Ann", " ", "The text is missing." },
    { ("n"):rep(61), "text", "The name is 61 characters long; at most 60 fit." },
    { "Ann", ("é"):rep(1001), "The text is 1001 characters long; at most 1000 fit." },
    { "\xff", "text", "no UTF-8" },
  } do
    local status, page = sign(case[1], case[2])
    expect(status, 400, case[3])
    has(page, case[3])
  end
  expect(numbers(""), {})
  expect((sign(("n"):rep(60), ("é"):rep(1000))), 303)
end)

test("the button pressed twice is one entry", function()
  sign("Ann", "Lovely.")
  expect((sign("Ann", "Lovely.")), 303)
  expect(numbers(""), { 1 })
  sign("Bob", "Lovely.")
  sign("Ann", "Lovely.") -- somebody wrote in between
  expect(numbers(""), { 3, 2, 1 })
end)

test("HTML is escaped", function()
  sign("<b>Ann</b>", "<script>")
  local _, page = call("view")
  has(page, "&lt;b&gt;Ann&lt;/b&gt;")
  expect(page:find("<script", 1, true), nil)
end)
