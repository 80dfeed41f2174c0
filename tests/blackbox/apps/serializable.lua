-- Transactions in which each of the classic anomalies would show; used by test_serializable.py.

-- ---- a bank: accounts are plain numbers under "acc:" ----

route("transfer", "json", { method = "POST" }, function(args)
  local from, to = get("acc:" .. args.from), get("acc:" .. args.to)
  if from < args.amount then return 409, { error = "insufficient funds" } end
  set("acc:" .. args.from, from - args.amount)
  set("acc:" .. args.to, to + args.amount)
  return 200, { from = from - args.amount, to = to + args.amount }
end)

-- The total by a walk over all shards at once...
route("total/walk", "json", { method = "GET" }, function()
  local total, accounts = 0, 0
  for _, balance in prefix("acc:") do total, accounts = total + balance, accounts + 1 end
  return 200, { total = total, accounts = accounts }
end)

-- ...by walking backwards in pieces...
route("total/pieces", "json", { method = "GET" }, function(args)
  local total, accounts, to = 0, 0, "acc;" -- ";" is the byte behind ":"
  repeat
    local first
    for key, balance in range("acc:", to, { limit = 7, reverse = true }) do
      total, accounts, first = total + balance, accounts + 1, key
    end
    to = first
  until not first
  return 200, { total = total, accounts = accounts }
end)

-- ...and key by key.
route("total/points", "json", { method = "GET" }, function(args)
  local total, accounts = 0, 0
  for number = 1, math.tointeger(args.accounts) do
    total, accounts = total + get("acc:" .. number), accounts + 1
  end
  return 200, { total = total, accounts = accounts }
end)

-- An account moves to another key (an insert and a delete in one transaction): a walk that meets it
-- twice or not at all gets the total wrong.
route("rename", "json", { method = "POST" }, function(args)
  local balance = get("acc:" .. args.from)
  if not balance or get("acc:" .. args.to) then return 409, { error = "cannot rename" } end
  delete("acc:" .. args.from)
  set("acc:" .. args.to, balance)
  return 200, { balance = balance }
end)

-- ---- write skew (G2-item): of two who are on call, one may leave ----

route("leave", "json", { method = "POST" }, function(args)
  local other = args.side == "a" and "b" or "a"
  if not get("call:" .. args.pair .. ":" .. other) then return 409, { error = "the other has left" } end
  set("call:" .. args.pair .. ":" .. args.side, false)
  return 200, {}
end)

-- ---- phantoms (G2): whoever finds the room empty may have it ----

route("claim", "json", { method = "POST" }, function(args)
  for _ in prefix("room:" .. args.room .. ":") do return 409, { error = "taken" } end
  set("room:" .. args.room .. ":" .. args.who, true)
  return 200, {}
end)

-- The same with two booleans about absent keys, without a range.
route("claim/points", "json", { method = "POST" }, function(args)
  local other = args.who == "a" and "b" or "a"
  if get("desk:" .. args.room .. ":" .. other) then return 409, { error = "taken" } end
  set("desk:" .. args.room .. ":" .. args.who, true)
  return 200, {}
end)

-- ---- long fork: two writes, seen in two orders ----

route("write", "json", { method = "POST" }, function(args)
  set(args.key, true)
  return 200, {}
end)

route("look", "json", { method = "POST" }, function(args)
  local first = get(args.first) or false
  local second = get(args.second) or false
  return 200, { first = first, second = second }
end)

-- ---- lost update (P4) ----

route("add", "json", { method = "POST" }, function(args)
  local sum = (get(args.key) or 0) + 1
  set(args.key, sum)
  set(args.key .. ":copy", sum) -- most often on another shard
  return 200, { sum = sum }
end)
