-- Transactions made to order for tests/history/record_txn.h. Steps run one after the other; what a step saw
-- is its result: {value, version} of a key, a list of {key, value, version} of a range.

local steps = {}

function steps.a(key, element) -- append
  local list = get(key) or json.array({})
  list[#list + 1] = element
  set(key, list)
  return true
end

function steps.r(key) -- read; null if there is nothing
  local value, version = get(key)
  if value == nil then return json.null end
  return json.array({ value, version })
end

function steps.w(key, value) -- write
  set(key, value)
  return true
end

function steps.d(key) -- delete
  return delete(key)
end

function steps.s(from, to, limit, reverse) -- range; limit 0 is none
  local found = json.array({})
  for key, value, version in range(from, to, { limit = limit > 0 and limit or nil, reverse = reverse }) do
    found[#found + 1] = json.array({ key, value, version })
  end
  return found
end

-- Moves money; each account carries the number of the write that made it.
function steps.t(from, to, amount, number)
  local source, source_version = get(from)
  local target, target_version = get(to)
  set(from, { balance = source.balance - amount, id = number })
  set(to, { balance = target.balance + amount, id = number })
  return json.array({ json.array({ source, source_version }), json.array({ target, target_version }) })
end

function steps.y(_, turns) -- takes long enough to be preempted
  for _ = 1, turns do end
  return true
end

local function run(args)
  local results = json.array({})
  for index, step in ipairs(args.steps) do
    results[index] = steps[step[1]](step[2], step[3], step[4], step[5])
  end
  return results
end

route("recorded", "json", { method = "POST" }, function(args)
  return 200, { results = run(args) }
end)

-- The same, and then none of it: nobody may ever see what was written here.
route("recorded/refused", "json", { method = "POST" }, function(args)
  run(args)
  abort(422, { error = "rolled back" })
end)
