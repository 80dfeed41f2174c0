-- Counts the visits of each page, at /fn/visit?page=NAME.
route("visit", "json", function(args)
  local page = args.page or "home"
  return 200, { visits = incr("visits:" .. page) }
end)
