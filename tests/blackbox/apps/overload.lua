-- Handlers of tests/blackbox/test_overload_limits.py.

-- Keeps the shard's processor busy for some milliseconds.
route("busy", "json", function(args)
  local till = os.clock() + tonumber(args.ms) / 1000
  while os.clock() < till do end
  return 200, {}
end)

route("cheap", "json", function()
  return 200, {}
end)
