-- What test_kill.py asks for while it kills the server.

-- One transaction that touches several shards: all copies get the number, an entry of a journal is added
-- and the one KEPT before it is removed. A part of it would be visible as a part.
local KEPT = 8

route("write", "json", { method = "POST" }, function(args)
  for copy = 1, args.copies do set("copy:" .. args.worker .. ":" .. copy, args.number) end
  set("journal:" .. args.worker .. ":" .. args.number, true)
  delete("journal:" .. args.worker .. ":" .. args.number - KEPT)
  return 200, { number = args.number }
end)

route("transfer", "json", { method = "POST" }, function(args)
  local from, to = get("acc:" .. args.from), get("acc:" .. args.to)
  if from < args.amount then return 409, { error = "insufficient funds" } end
  set("acc:" .. args.from, from - args.amount)
  set("acc:" .. args.to, to + args.amount)
  return 200, {}
end)
