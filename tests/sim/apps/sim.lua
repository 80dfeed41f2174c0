-- The simulator's application: transactions whose outcome can be checked from outside. Keys that are
-- absent count as a fixed beginning, so no run needs a preparation.
local ACCOUNTS, BALANCE = 8, 100

local function account(i) return string.format("la%02d", i) end

local function balance(i)
  local found = get(account(i))
  return found and found.balance or BALANCE
end

-- Moves an amount, or, if there is not enough, says so by a reply that writes nothing.
route("transfer", "json", function(args)
  local from, to, amount = math.tointeger(tonumber(args.from)), math.tointeger(tonumber(args.to)),
    math.tointeger(tonumber(args.amount))
  if balance(from) < amount then return 409, { error = "insufficient funds" } end
  set(account(from), { balance = balance(from) - amount })
  set(account(to), { balance = balance(to) + amount })
  return 200, { moved = amount }
end)

-- The sum over all accounts is the same at every instant.
route("total", "json", function(args)
  local sum = 0
  if args.by == "range" then
    local there = 0
    for _, value in range("la", "lb") do
      sum = sum + value.balance
      there = there + 1
    end
    sum = sum + (ACCOUNTS - there) * BALANCE
  else
    for i = ACCOUNTS - 1, 0, -1 do sum = sum + balance(i) end
  end
  if sum ~= ACCOUNTS * BALANCE then error("the total is " .. sum) end
  return 200, { total = sum }
end)

-- Appends to some lists, reads others; a list holds each element once.
route("append", "json", function(args)
  local element = math.tointeger(tonumber(args.element))
  for name in string.gmatch(args.keys, "[^,]+") do
    local list = get(name) or {}
    local seen = {}
    for _, other in ipairs(list) do
      if seen[other] then error("element " .. other .. " twice in " .. name) end
      seen[other] = true
    end
    if #list > 40 then list = {} end
    list[#list + 1] = element
    set(name, list)
  end
  return 200, { done = true }
end)

-- Store calls where the machine cannot yield, errors that are caught, and work between them.
route("mixed", "json", function(args)
  local a, b = args.a, args.b
  local keys = { a, b, args.c }
  table.sort(keys, function(x, y) return (get(x) and 1 or 0) < (get(y) and 1 or 0) end)
  local ok = pcall(function()
    set(keys[1], { by = args.n })
    error("caught")
  end)
  if ok then error("an error was not raised") end
  local work = 0
  for i = 1, 300 do work = (work * 31 + i) % 1000003 end
  local walk = coroutine.wrap(function()
    for key in range("lm", "ln", { reverse = args.n == "1" }) do coroutine.yield(key) end
  end)
  local first = walk()
  if args.drop == "1" then delete(keys[2]) else incr("lcount") end
  if args.fails == "1" then error("on purpose") end
  return 200, { first = first, work = work }
end)

-- Takes more memory than the machine may have: in one piece, so that it fails at the same instruction
-- whatever lies about in the machine.
route("hog", "json", function(args)
  local seen = get(args.a)
  local all = string.rep("x", 1 << 23)
  return 200, { seen = seen, count = #all }
end)
