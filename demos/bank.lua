-- A bank: accounts, deposits, transfers, and a total that is right at every instant.
--
-- Start it with `sh demos/run.sh`, then:
-- try: curl -d '{"id":"ann","balance":5000}' -H 'Content-Type: application/json' http://127.0.0.1:8080/fn/open
-- try: curl -d '{"id":"bob"}' -H 'Content-Type: application/json' http://127.0.0.1:8080/fn/open
-- try: curl -d '{"from":"ann","to":"bob","amount":1250}' -H 'Content-Type: application/json' http://127.0.0.1:8080/fn/transfer
--
-- An account is one key, "acc:<name>", with the value { balance = <whole cents> }. There are no locks
-- and no BEGIN or COMMIT below: every request is a transaction as it stands. While a handler runs it
-- sees one consistent state; when it returns, all it wrote takes effect at once, or, if it lost against
-- another request, the server runs it again. The reply leaves only when the commit is on disk.

-- Money is counted in whole cents, as integers: floats cannot hold 0.10. With at most 10^12 cents an
-- account, integer sums stay exact for nine million accounts, so nothing below can overflow.
local BALANCE_MAX = 1000000000000
local NAME_BYTES_MAX = 64

-- abort() rolls back and replies at once, so what follows a check may rely on it.
local function refuse(status, text)
  abort(status, { error = text })
end

-- In JSON an account may be called "ann" or 17; "17" from a query string is the same account.
local function account_key(name)
  if math.type(name) == "integer" then name = tostring(name) end
  if type(name) ~= "string" or name == "" or #name > NAME_BYTES_MAX then
    refuse(400, "an account is called by 1 to " .. NAME_BYTES_MAX .. " bytes or an integer")
  end
  return "acc:" .. name
end

local function must_find(name)
  local key = account_key(name)
  local account = get(key)
  if not account then refuse(404, "no account '" .. name .. "'") end
  return key, account
end

local function check_amount(amount, least)
  if math.type(amount) ~= "integer" or amount < least or amount > BALANCE_MAX then
    refuse(400, "an amount is a whole number of cents from " .. least .. " to " .. BALANCE_MAX)
  end
end

local function credit(account, amount)
  if account.balance + amount > BALANCE_MAX then refuse(409, "the balance would be too large") end
  account.balance = account.balance + amount
end

-- {"id":"ann","balance":5000}; both may be left out.
route("open", "json", { method = "POST" }, function(args)
  -- uuid() is drawn from the request, so a second attempt of this request draws the same name.
  local name, balance = args.id, args.balance
  if name == nil then name = uuid() end
  if balance == nil then balance = 0 end
  local key = account_key(name)
  check_amount(balance, 0)
  -- That the key is absent is a read like any other: of two who open "ann", one finds the other's.
  if get(key) then refuse(409, "there is an account '" .. name .. "' already") end
  set(key, { balance = balance })
  return 201, { account = name, balance = balance }
end)

-- {"account":"ann","amount":300}
route("deposit", "json", { method = "POST" }, function(args)
  check_amount(args.amount, 1)
  local key, account = must_find(args.account)
  credit(account, args.amount)
  set(key, account) -- get() gave us a copy; only set() changes the store
  return 200, { account = args.account, balance = account.balance }
end)

-- {"from":"ann","to":"bob","amount":1250}
route("transfer", "json", { method = "POST" }, function(args)
  check_amount(args.amount, 1)
  local from_key, from = must_find(args.from)
  local to_key, to = must_find(args.to)
  -- Compared as keys: the names 17 and "17" mean the same account.
  if from_key == to_key then refuse(400, "both accounts are the same") end
  if from.balance < args.amount then refuse(409, "insufficient funds") end
  from.balance = from.balance - args.amount
  credit(to, args.amount)
  set(from_key, from)
  set(to_key, to)
  return 200, { from = from, to = to }
end)

-- GET /fn/balance?account=ann
route("balance", "json", { method = "GET" }, function(args)
  local _, account = must_find(args.account)
  return 200, { account = args.account, balance = account.balance }
end)

-- GET /fn/total: all the money there is. However many transfers run meanwhile, this is exact, because
-- the walk over the accounts is part of the transaction too.
route("total", "json", { method = "GET" }, function()
  local total, accounts = 0, 0
  for _, account in prefix("acc:") do
    total = total + account.balance
    accounts = accounts + 1
  end
  return 200, { total = total, accounts = accounts }
end)
