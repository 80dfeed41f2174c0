-- What test_nomem.py asks for while allocations fail.
local prices = require("prices")

on("first_run", function()
  for number = 1, 8 do set("acc:" .. number, 1000) end
end)

on("start", function() incr("starts") end)

-- Between accounts of any two shards; moved:<tag> tells that it has happened.
route("transfer", "json", { method = "POST" }, function(args)
  local from, to = get("acc:" .. args.from), get("acc:" .. args.to)
  set("acc:" .. args.from, from - args.amount)
  set("acc:" .. args.to, to + args.amount)
  set("moved:" .. args.tag, { from = args.from, to = args.to, amount = args.amount })
  return 200, { from = from, to = to }
end)

route("page", "html", { method = "GET" }, function(args)
  local items = {}
  for key, balance in prefix("acc:", { limit = 8 }) do items[#items + 1] = { key = key, balance = balance } end
  return 200, render("page", { title = args.title or "accounts", items = items, fee = prices.fee }), { ["X-App"] = "nomem" }
end)

route("fails", "json", function() error("on purpose") end)

route("aborts", "json", function()
  incr("never")
  abort(409, { error = "on purpose", code = "on_purpose" })
end)

-- Large strings and tables, for Lua's own memory.
route("large/:size", "json", function(args)
  local list = {}
  for i = 1, tonumber(args.size) do list[i] = ("%d:%s"):format(i, ("x"):rep(100)) end
  return 200, { size = #table.concat(list), list = list }
end)
