-- Transactions of a few steps, with a pause between any two in which others run (a handler is preempted after a
-- millisecond); used by test_hermitage.py. The reply tells what the steps saw, how often the handler ran, and when it ran last.

local runs = {} -- by request: outside of handlers, so lost runs count too

local steps = {}

function steps.get(key) return get(key) end

function steps.set(key, value)
  set(key, value)
  return true
end

-- Adds to what the transaction has read before: the way to lose an update.
function steps.bump(key, by, results)
  set(key, results[#results] + by)
  return true
end

-- How many rows have a value that the divisor divides.
function steps.count(from, divisor)
  local count = 0
  for _, value in prefix(from) do
    if value % divisor == 0 then count = count + 1 end
  end
  return count
end

local function pause(seconds)
  local start = os.clock()
  while os.clock() - start < seconds do end
end

route("hermitage", "json", { method = "POST" }, function(args, req)
  runs[req.id] = (runs[req.id] or 0) + 1
  local reply = { begin = os.clock(), results = json.array({}) }
  for index, step in ipairs(args.steps) do
    if index > 1 then pause(args.pause) end
    if step[1] == "abort" then
      reply.runs, reply.finish = runs[req.id], os.clock()
      abort(422, reply)
    end
    reply.results[index] = steps[step[1]](step[2], step[3], reply.results)
  end
  reply.runs, reply.finish = runs[req.id], os.clock()
  return 200, reply
end)
