-- Tests of todo.lua: `concave test demos/todo_test.lua`.
require "todo"

local function add(text, more)
  local form = { text = text }
  for name, value in pairs(more or {}) do form[name] = value end
  local status, body, headers = call("add", nil, { form = form })
  return status, body, headers.location
end

local function post(route, form)
  local status, body, headers = call(route, nil, { form = form })
  return status, body, headers.location
end

local function items(show)
  local _, list = call("items", { show = show })
  return list
end

local function has(page, text)
  if not page:find(text, 1, true) then error("the page has no " .. text .. ":\n" .. page, 2) end
end

test("items come in the order in which they were made", function()
  for number = 1, 11 do expect(add("thing " .. 12 - number), 303) end
  local list = items()
  expect(list[2], { id = 2, text = "thing 10", done = false })
  for number = 1, 11 do expect(list[number].id, number) end
  expect(#list, 11)
end)

test("an empty list says so", function()
  local status, page, headers = call("view")
  expect(status, 200)
  expect(headers["content-type"], "text/html; charset=utf-8")
  has(page, "Nothing here yet.")
end)

test("tick, untick, and the filters", function()
  add("milk")
  add("bread")
  local status, _, location = post("tick", { id = 2, show = "all" })
  expect(status, 303)
  expect(location, "/fn/view?show=all#item-2")
  expect(items("open"), { { id = 1, text = "milk", done = false } })
  expect(items("done"), { { id = 2, text = "bread", done = true } })
  post("tick", { id = 2 }) -- says "done", not "the other one"
  expect(#items("done"), 1)
  post("tick", { id = 2, done = "no" })
  expect(#items("open"), 2)
  has(select(2, call("view?show=done")), "Nothing is done yet.")
end)

test("edit, delete, clear", function()
  for _, text in ipairs { "milk", "bread", "tea" } do add(text) end
  expect(post("edit", { id = 1, text = "  oat milk " }), 303)
  expect(get("item:000000000001").text, "oat milk")
  expect(post("delete", { id = 2 }), 303)
  expect(post("delete", { id = 2 }), 303) -- gone already is fine
  post("tick", { id = 3 })
  expect(post("clear", {}), 303)
  expect(items(), { { id = 1, text = "oat milk", done = false } })
end)

test("numbers are not given twice", function()
  add("milk")
  post("delete", { id = 1 })
  add("bread")
  expect(items(), { { id = 2, text = "bread", done = false } })
end)

test("what is no text is refused with the page", function()
  for text, why in pairs {
    [""] = "an item needs a text", [" \n "] = "an item needs a text", ["\xff"] = "not UTF-8",
    [("é"):rep(201)] = "That is 201 characters long; an item has at most 200.",
  } do
    local status, page = add(text)
    expect(status, 400)
    has(page, why)
  end
  expect(#items(), 0)
  expect(add(("é"):rep(200)), 303)
  local status, page = post("edit", { id = 1, text = "" })
  expect(status, 400)
  has(page, 'id="edit"')
end)

test("what is gone cannot be changed, and the text is kept", function()
  add("milk")
  post("delete", { id = 1 })
  for _, id in ipairs { "1", "0", "x", "-1", "999999999999", "9999999999999999999999" } do
    local status, page = post("edit", { id = id, text = "oat milk" })
    expect(status, 404)
    has(page, 'value="oat milk"')
    expect(post("tick", { id = id }), 404)
  end
end)

test("a form that is sent twice adds once", function()
  expect(add("milk", { token = "t-1" }), 303)
  expect(add("milk", { token = "t-1" }), 303)
  expect(add("milk", { token = "t-2" }), 303)
  expect(#items(), 2)
  for _, token in ipairs { "", "a b", ("x"):rep(65) } do add("bread", { token = token }) end
  expect(#items(), 5)
  post("delete", { id = 1 })
  expect(get("sent:t-1"), nil) -- the note goes with its item
end)

test("HTML is escaped", function()
  add([[<script>alert("x")</script>]])
  local _, page = call("view")
  has(page, "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;")
  expect(page:find("<script", 1, true), nil)
end)

test("the list has a bound", function()
  for number = 1, 1000 do set(string.format("item:%012d", number), { text = "x", done = true, token = "x" }) end
  local status, page = add("one more")
  expect(status, 409)
  has(page, "The list is full")
  expect(post("clear", {}), 303)
  expect(add("one more"), 303)
end)
