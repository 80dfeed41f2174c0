-- What test_lua.py asks for: most tests send the body of a handler.

local function run(args, req)
  local chunk, why = load(req.body, "=run")
  if not chunk then error(why) end
  return chunk(args, req)
end

route("run", "json", run)
route("run/text", "text", run)

route("echo", "json", function(args, req)
  return 200, {
    args = args, method = req.method, path = req.path, query = req.query, form = req.form, json = req.json,
    headers = req.headers, cookies = req.cookies, id = req.id, body = req.body,
  }
end)

route("user/:id", "json", function(args) return 200, args end)
route("user/me", "json", function() return 200, "me" end)
route("raw", "text", function(_, req) return 200, req.body, { ["Content-Type"] = "application/octet-stream" } end)
route("only", "text", { method = { "GET", "PUT" } }, function(_, req) return 200, req.method end)

-- A sum that every transaction keeps; one that sees another sum has read what never was.
route("move", "json", function()
  local a, b = get("a") or 50, get("b") or 50
  if a + b ~= 100 then error("torn: " .. a + b) end
  local draws = { now(), random(), uuid() }
  log("info", "moved", { drawn = draws[3] })
  set("a", a - 1)
  set("b", b + 1)
  return 200, draws
end)

-- A coroutine that outlives its request.
local kept
route("kept", "json", function(args)
  if args.start then
    kept = coroutine.create(function() while true do end end)
  end
  return 200, { coroutine.resume(kept), coroutine.status(kept) }
end)
