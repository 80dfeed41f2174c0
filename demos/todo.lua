-- A to-do list: a page of plain HTML forms, which works without JavaScript, over one key an item.
--
-- An item is "item:<number>" with the value { text, done, token }. Numbers have twelve digits and come
-- from a counter, so the order of the keys is the order in which items were made, and a walk gives the
-- list. Every form is answered with a redirect to the page (303), so reloading never sends one again; a
-- form that is refused is answered with the page itself, a message in it, and what was typed.

local TEXT_CHARACTERS_MAX = 200
local ITEMS_MAX = 1000 -- what a page can hold and one request can render
local TOKEN_BYTES_MAX = 64

local FILTERS = { -- in the order of the page
  { name = "all", label = "All", empty = "Nothing here yet. Write down the first thing." },
  { name = "open", label = "Open", empty = "Nothing is left to do." },
  { name = "done", label = "Done", empty = "Nothing is done yet." },
}

local function filter_of(args)
  for _, filter in ipairs(FILTERS) do
    if filter.name == args.show then return filter end
  end
  return FILTERS[1]
end

-- The key and value of the item that a form or a link names; no value if there is none, or never was.
local function find(id)
  id = tostring(id)
  if not id:find("^%d+$") or #id > 12 then return nil end
  local key = string.format("item:%012d", tonumber(id))
  return key, get(key)
end

-- The text of a form without the blanks around it; nil and a message for the page if it cannot be one.
local function read_text(text)
  text = type(text) == "string" and text:match("^%s*(.-)%s*$") or ""
  if text == "" then return nil, "Please write something first: an item needs a text." end
  local length = utf8.len(text)
  if not length then return nil, "That text is not UTF-8." end
  if length > TEXT_CHARACTERS_MAX then
    return nil, "That is " .. length .. " characters long; an item has at most " .. TEXT_CHARACTERS_MAX .. "."
  end
  return text
end

-- Text that came in and goes back onto the page; whatever is no text is left out.
local function shown(text)
  return type(text) == "string" and utf8.len(text) and text or nil
end

-- The page. `more` adds to what the template gets: a message, text to keep, the item that is edited.
local function page(args, more)
  local filter, counts = filter_of(args), { all = 0, open = 0, done = 0 }
  local items, edit = {}, more and more.edit
  for key, item in prefix("item:") do
    local id, state = tonumber(key:sub(6)), item.done and "done" or "open"
    counts.all, counts[state] = counts.all + 1, counts[state] + 1
    local editing = key == edit
    if editing or filter.name == "all" or filter.name == state then
      items[#items + 1] = { id = id, text = item.text, done = item.done, editing = editing,
        typed = editing and (more.typed or item.text) }
    end
  end
  local filters = {}
  for i, f in ipairs(FILTERS) do
    filters[i] = { name = f.name, label = f.label, count = counts[f.name], current = f == filter }
  end
  local data = { title = "To do", show = filter.name, filters = filters, items = items, any = #items > 0,
    empty = filter.empty, token = uuid(), counts = counts, total = counts.all > 0, clear = counts.done > 0 }
  for name, value in pairs(more or {}) do data[name] = value end
  return render("todo/view", data)
end

-- After a form: back to the page, at the place where the reader was. A page that is opened at a place
-- does not focus its input, so Tab goes on from there.
local function back(args, place)
  return redirect("/fn/view?show=" .. filter_of(args).name .. (place and "#" .. place or ""), 303)
end

local function gone(args, more)
  more = more or {}
  more.message = "That item is gone: it was deleted in the meantime."
  return 404, page(args, more)
end

route("view", "html", { method = "GET" }, function(args)
  local key, item = find(args.edit)
  return 200, page(args, item and { edit = key })
end)

route("add", "html", { method = "POST" }, function(args)
  local text, problem = read_text(args.text)
  if not text then return 400, page(args, { message = problem, text = shown(args.text), bad = true }) end

  -- Each page carries a token of its own. A second click on the button sends the same one again, and
  -- finds the note that the first one left; the note goes together with the item.
  local token = args.token
  if type(token) ~= "string" or not token:find("^[%w-]+$") or #token > TOKEN_BYTES_MAX then token = uuid() end
  if get("sent:" .. token) then return back(args) end

  local count = 0
  for _ in prefix("item:") do count = count + 1 end
  if count >= ITEMS_MAX then
    return 409, page(args, { message = "The list is full: it holds " .. ITEMS_MAX .. " items.", text = text })
  end
  local id = incr("items")
  set("sent:" .. token, id)
  set(string.format("item:%012d", id), { text = text, done = false, token = token })
  return back(args)
end)

-- The form says which state is wanted, not "the other one": sent twice, or from two tabs, it does no harm.
route("tick", "html", { method = "POST" }, function(args)
  local key, item = find(args.id)
  if not item then return gone(args) end
  item.done = args.done ~= "no"
  set(key, item)
  return back(args, "item-" .. tonumber(args.id))
end)

route("edit", "html", { method = "POST" }, function(args)
  local key, item = find(args.id)
  local text, problem = read_text(args.text)
  -- What was typed for an item that is gone is offered as a new one.
  if not item then return gone(args, { text = shown(args.text) }) end
  if not text then return 400, page(args, { message = problem, edit = key, typed = shown(args.text) }) end
  item.text = text
  set(key, item)
  return back(args, "item-" .. tonumber(args.id))
end)

local function remove(key, item)
  delete(key)
  delete("sent:" .. item.token)
end

-- Who deletes what is gone already has what they wanted.
route("delete", "html", { method = "POST" }, function(args)
  local key, item = find(args.id)
  if item then remove(key, item) end
  return back(args, "list")
end)

route("clear", "html", { method = "POST" }, function(args)
  for key, item in prefix("item:") do
    if item.done then remove(key, item) end
  end
  return back(args, "list")
end)

-- The same list for programs.
route("items", "json", { method = "GET" }, function(args)
  local list, filter = json.array(), filter_of(args).name
  for key, item in prefix("item:") do
    if filter == "all" or (filter == "done") == item.done then
      list[#list + 1] = { id = tonumber(key:sub(6)), text = item.text, done = item.done }
    end
  end
  return 200, list
end)
