-- The bank's tests: `build/concave test demos/bank_test.lua`. Each has a bank of its own, still empty.
require "bank"

local function open(name, balance)
  local status = call("open", { id = name, balance = balance })
  expect(status, 201, "opening an account")
end

test("an account opens with its balance", function()
  local status, account = call("open", { id = "ann", balance = 5000 })
  expect(status, 201)
  expect(account, { account = "ann", balance = 5000 })
  expect(get("acc:ann"), { balance = 5000 })
end)

test("an account needs no name and no money", function()
  local status, account = call("open", {})
  expect(status, 201)
  expect(account.balance, 0)
  expect(#account.account, 36, "the length of a UUID")
end)

test("an account opens once", function()
  open("ann", 1)
  expect(call("open", { id = "ann" }), 409)
  open("17")
  expect(call("open", { id = 17 }), 409, "17 and \"17\"")
end)

test("deposits add up", function()
  open("ann", 100)
  call("deposit", { account = "ann", amount = 20 })
  local status, account = call("deposit", { account = "ann", amount = 3 })
  expect(status, 200)
  expect(account.balance, 123)
end)

test("a transfer moves money", function()
  open("ann", 5000)
  open("bob")
  local status, reply = call("transfer", { from = "ann", to = "bob", amount = 1250 })
  expect(status, 200)
  expect(reply, { from = { balance = 3750 }, to = { balance = 1250 } })
end)

test("a transfer that is refused moves nothing", function()
  open("ann", 100)
  open("bob", 7)
  expect(call("transfer", { from = "ann", to = "bob", amount = 101 }), 409, "more than there is")
  expect(call("transfer", { from = "ann", to = "eve", amount = 1 }), 404, "to nobody")
  expect(call("transfer", { from = "ann", to = "ann", amount = 1 }), 400, "to itself")
  for _, amount in ipairs({ 0, -1, 1.5, "1" }) do
    expect(call("transfer", { from = "ann", to = "bob", amount = amount }), 400, amount)
  end
  expect(get("acc:ann").balance, 100)
  expect(get("acc:bob").balance, 7)
end)

test("a balance has an upper bound", function()
  open("ann", 1000000000000)
  expect(call("deposit", { account = "ann", amount = 1 }), 409)
  expect(call("open", { id = "bob", balance = 1000000000001 }), 400)
end)

test("the total is the sum of all accounts", function()
  local status, total = call("total")
  expect(total, { total = 0, accounts = 0 })
  for i = 1, 20 do open("a" .. i, i) end
  call("transfer", { from = "a20", to = "a1", amount = 20 })
  status, total = call("total")
  expect(status, 200)
  expect(total, { total = 210, accounts = 20 })
end)

test("routes take their methods only", function()
  open("ann", 5)
  expect(call("balance", { account = "ann" }), 200)
  local status, _, headers = call("balance", nil, { method = "POST" })
  expect(status, 405)
  expect(headers.allow, "GET, HEAD")
end)
