-- Tests of bank.lua: `concave test demos/bank_test.lua`.
require "bank"

local function balance(name)
  local _, body = call("balance", { account = name })
  return body.balance
end

local function open_both()
  call("open", { id = "ann", balance = 5000 })
  call("open", { id = "bob" })
end

local function has(page, text)
  if not page:find(text, 1, true) then error("the page has no " .. text .. ":\n" .. page, 2) end
end

local function token()
  local _, page = call("view")
  return page:match('name="token" value="([^"]+)"')
end

-- Sends a form of the page, with a token of its own unless it has one.
local function form(name, fields)
  fields.token = fields.token or token()
  local status, body, headers = call("view/" .. name, nil, { form = fields })
  return status, body, headers.location
end

test("a transfer moves money and makes none", function()
  open_both()
  local status, body = call("transfer", { from = "ann", to = "bob", amount = 1250 })
  expect(status, 200)
  expect(body, { from = { balance = 3750 }, to = { balance = 1250 } })
  local _, total = call("total")
  expect(total, { total = 5000, accounts = 2 })
end)

test("a refused transfer changes nothing", function()
  open_both()
  for _, case in ipairs {
    { { from = "bob", to = "ann", amount = 1 }, 409 }, { { from = "ann", to = "bob", amount = 5001 }, 409 },
    { { from = "ann", to = "eve", amount = 1 }, 404 }, { { from = "eve", to = "ann", amount = 1 }, 404 },
    { { from = "ann", to = "ann", amount = 1 }, 400 }, { { from = "ann", to = "bob", amount = 0 }, 400 },
    { { from = "ann", to = "bob", amount = 0.5 }, 400 }, { { from = "ann", to = "bob", amount = "1" }, 400 },
    { { from = "ann", to = "bob" }, 400 }, { { from = "ann", to = {}, amount = 1 }, 400 },
  } do
    local status, body = call("transfer", case[1])
    expect(status, case[2])
    expect(type(body.error), "string")
  end
  expect({ balance("ann"), balance("bob") }, { 5000, 0 })
end)

test("an account is opened once", function()
  open_both()
  expect((call("open", { id = "ann", balance = 1 })), 409)
  expect(balance("ann"), 5000)
end)

test("17 and \"17\" are one account", function()
  call("open", { id = 17, balance = 3 })
  expect(balance("17"), 3)
  expect((call("open", { id = "17" })), 409)
end)

test("the page opens, pays in and transfers", function()
  expect(form("open", { id = "ann", balance = "1234567.5" }), 303)
  expect(form("open", { id = "bob", balance = "" }), 303)
  expect(form("deposit", { account = "bob", amount = "10" }), 303)
  local status, _, location = form("transfer", { from = "ann", to = "bob", amount = "34 567.50" })
  expect(status, 303)
  local _, page = call((location:gsub("^/fn/", "")))
  has(page, "Moved 34\u{202F}567.50 from ann to bob.")
  has(page, "1\u{202F}200\u{202F}000.00")
  expect({ balance("ann"), balance("bob") }, { 120000000, 3457750 })
end)

test("the page says why it refuses, and keeps what was typed", function()
  open_both()
  for amount, why in pairs {
    ["50.01"] = "Insufficient funds.", ["1,50"] = "without commas", ["-1"] = "without commas", [""] = "without commas",
    ["1.234"] = "without commas", ["0.00"] = "An amount is a whole number of cents from 1",
    ["99999999999999"] = "without commas", ["10000000000.01"] = "An amount is a whole number of cents from 1",
  } do
    local status, page = form("transfer", { from = "ann", to = "bob", amount = amount })
    expect(status == 400 or status == 409, true, amount)
    has(page, why)
    has(page, 'value="' .. amount .. '" required')
  end
  expect({ balance("ann"), balance("bob") }, { 5000, 0 })
end)

test("a form that is sent twice is carried out once", function()
  open_both()
  local fields = { from = "ann", to = "bob", amount = "10", token = token() }
  local _, _, first = form("transfer", fields)
  local status, _, second = form("transfer", fields)
  expect(status, 303)
  expect(second, first)
  expect({ balance("ann"), balance("bob") }, { 4000, 1000 })
end)

test("tokens that are too old, or none, are refused; old notes go", function()
  open_both()
  local random = token():match("%-.*")
  local function at(seconds) return string.format("%014d", (now() + seconds) * 1000 // 1 | 0) .. random end
  for _, wrong in ipairs { "", "x", "1" .. random, at(-86500), at(90000) } do
    expect(form("transfer", { from = "ann", to = "bob", amount = "1", token = wrong }), 400)
  end
  for age = 86501, 86512 do set("form:" .. at(-age), { said = "old" }) end
  for _, left in ipairs { 3, 2 } do -- ten at a time go, and each form leaves its own
    expect(form("deposit", { account = "bob", amount = "1" }), 303)
    local notes = 0
    for _ in prefix("form:") do notes = notes + 1 end
    expect(notes, left)
  end
  expect(balance("ann"), 5000)
end)

test("HTML is escaped", function()
  form("open", { id = "<script>", balance = "1" })
  local _, page = call("view")
  has(page, "&lt;script&gt;")
  expect(page:find("<script", 1, true), nil)
end)
