-- Transactions made to order for test_history.py: steps are {"append", key, number}, {"read", key} and
-- {"range", prefix}. The answer to a read is a list, to a range an object of lists.

local function read(key)
  return get(key) or json.array({})
end

local steps = {}

function steps.append(key, number)
  local list = read(key)
  list[#list + 1] = number
  set(key, list)
  return true
end

function steps.read(key)
  return read(key)
end

function steps.range(from)
  local found = {}
  for key, list in prefix(from) do found[key] = list end
  return json.object(found)
end

route("steps", "json", { method = "POST" }, function(args)
  local results = {}
  for index, step in ipairs(args.steps) do
    results[index] = steps[step[1]](step[2], step[3])
  end
  return 200, { results = json.array(results) }
end)

-- The same steps, and then none of it: nobody may ever see what was appended here.
route("steps/refused", "json", { method = "POST" }, function(args)
  for _, step in ipairs(args.steps) do steps[step[1]](step[2], step[3]) end
  abort(422, { error = "rolled back" })
end)
