-- The application that concave-load measures: `transfer`, `balance` and `total` take and give what
-- demos/bank.lua's do, over the same keys, but are written as short as a handler can be; `hot` is the
-- counter that everybody increments.
--
--   build/concave serve --app perf/load.lua
--   build/concave-load transfer --connections 64 --accounts 10000

route("transfer", "json", { method = "POST" }, function(args)
  if args.from == args.to or args.amount <= 0 then return 400, { error = "bad transfer" } end
  local from, to = get("acc:" .. args.from), get("acc:" .. args.to)
  if not from or not to then return 404, { error = "account not found" } end
  if from.balance < args.amount then return 409, { error = "insufficient funds" } end
  from.balance, to.balance = from.balance - args.amount, to.balance + args.amount
  set("acc:" .. args.from, from)
  set("acc:" .. args.to, to)
  return 200, { from = from, to = to }
end)

route("balance", "json", { method = "GET" }, function(args)
  local account = get("acc:" .. args.account)
  if not account then return 404, { error = "account not found" } end
  return 200, { account = args.account, balance = account.balance }
end)

route("total", "json", { method = "GET" }, function()
  local total, accounts = 0, 0
  for _, account in prefix("acc:") do
    total, accounts = total + account.balance, accounts + 1
  end
  return 200, { total = total, accounts = accounts }
end)

route("hot", "json", { method = "POST" }, function()
  return 200, { value = incr("hot") }
end)

-- Keeps the shard's processor busy; for what waits beside it.
route("busy", "json", { method = "GET" }, function(args)
  local sum = 0
  for i = 1, tonumber(args.rounds) do sum = sum + i % 7 end
  return 200, { sum = sum }
end)
