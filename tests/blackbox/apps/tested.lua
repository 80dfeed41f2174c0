-- An application with test blocks of its own, for test_test_command.py.
local calls = 0 -- of the VM

route("add", "json", { method = "POST" }, function(args)
  calls = calls + 1
  return 200, { sum = incr("sum", args.by or 1), calls = calls }
end)

route("item/:id", "json", { method = { "GET", "DELETE" } }, function(args, req)
  return 200, { id = args.id, color = args.color, method = req.method }
end)

route("item/:id", "json", { method = "PUT" }, function(args)
  set("item:" .. args.id, args)
  return 201, args, { ["X-Made"] = "yes", ["Set-Cookie"] = { "a=1", "b=2" } }
end)

route("echo", "text", function(args, req)
  return 200, table.concat({ req.method, req.query.q or "-", req.form.f or "-", req.headers["x-a"] or "-", req.body }, "|")
end)

route("broken", "json", function(args)
  set("broken", 1)
  return 200, args.missing.field
end)

route("endless", "json", function() while true do end end)

on("first_run", function() set("seed", 42) end)
on("start", function() incr("starts") end)

test("every test has an empty store, with first_run and start run once", function()
  expect(get("seed"), 42)
  expect(get("starts"), 1)
  expect(get("sum"), nil)
  local _, reply = call("add")
  expect(reply, { sum = 1, calls = 1 })
end)

test("and again", function()
  local _, reply = call("add", { by = 5 })
  expect(reply, { sum = 5, calls = 1 })
  expect(get("sum"), 5)
end)

test("the method is the first that fits", function()
  expect(select(2, call("item/7")).method, "GET")
  expect(call("item/7", { color = "red" }), 201)
  expect(select(2, call("item/7", { color = "red" }, { method = "GET" })), { id = "7", color = "red", method = "GET" })
  expect(select(2, call("item/7?color=blue")).color, "blue")
  expect(select(2, call("item/7", nil, { method = "delete" })).method, "DELETE")
  local status, _, headers = call("item/7", nil, { method = "PATCH" })
  expect(status, 405)
  expect(headers.allow, "GET, DELETE, PUT, HEAD")
end)

test("headers, query, form and body arrive", function()
  expect(select(2, call("echo")), "GET|-|-|-|")
  expect(select(2, call("/fn/echo?q=1")), "GET|1|-|-|")
  expect(select(2, call("echo", nil, { query = { q = "a b&c" } })), "GET|a b&c|-|-|")
  expect(select(2, call("echo", nil, { form = { f = "x=y" } })), "POST|-|x=y|-|f=x%3Dy")
  expect(select(2, call("echo", nil, { body = "raw", headers = { ["X-A"] = "1" } })), "POST|-|-|1|raw")
  local _, _, headers = call("item/" .. urlencode("a b"), { name = "Ann" })
  expect(headers["x-made"], "yes")
  expect(headers["set-cookie"], "a=1, b=2")
  expect(headers["content-type"], "application/json")
  expect(get("item:a b"), { id = "a b", name = "Ann" })
end)

test("the store in a test is one transaction a call", function()
  set("k1", { a = json.array() })
  set("k2", 2.0)
  set("k3", "x")
  expect(math.type(get("k2")), "float")
  local _, first = get("k1")
  local _, second = get("k2")
  assert(second > first)
  expect(incr("n", 5), 5)
  expect(incr("n"), 6)
  expect(delete("k3"), true)
  expect(delete("k3"), false)
  local found = {}
  for key, value, version in prefix("k") do found[#found + 1] = key end
  expect(found, { "k1", "k2" })
  found = {}
  for key in range("k1", "l", { reverse = true, limit = 1 }) do found[#found + 1] = key end
  expect(found, { "k2" })
  set("k1", nil)
  expect(get("k1"), nil)
end)

test("calls work in coroutines and callbacks", function()
  local next_sum = coroutine.wrap(function()
    for i = 1, 3 do coroutine.yield(select(2, call("add")).sum) end
  end)
  expect(next_sum(), 1)
  expect(next_sum(), 2)
  local list = { 3, 1, 2 }
  table.sort(list, function(a, b) call("add") return a < b end)
  expect(list, { 1, 2, 3 })
  local ok, message = pcall(call, "ad")
  expect(ok, false)
  assert(message:find("did you mean 'add'", 1, true), message)
end)

test("a failing handler answers 500 and writes nothing", function()
  local status, reply = call("broken")
  expect(status, 500)
  expect(reply.code, "handler_error")
  expect(get("broken"), nil)
end)

test("a handler has its budget", function()
  local status, reply = call("endless")
  expect(status, 504)
  expect(reply.code, "timeout")
end)
