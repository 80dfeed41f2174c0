-- A guestbook: a form, and the entries, newest first, a page at a time.
--
-- An entry is "entry:<number>" with the value { name, text, at }; numbers have twelve digits, so the order
-- of the keys is the order of time. A page is a piece of a walk from one key on: it costs the same however
-- many entries there are, and an entry that is added meanwhile shifts nothing that is being read.

local NAME_CHARACTERS_MAX = 60
local TEXT_CHARACTERS_MAX = 1000
local PAGE_DEFAULT, PAGE_MAX = 10, 100
local NUMBER_MAX = 999999999999

local function entry_key(number)
  return string.format("entry:%012d", number)
end

-- The number that a parameter gives, within bounds; `otherwise`, or nil, if it is missing or something else.
local function number_of(text, least, most, otherwise)
  text = tostring(text)
  if not text:find("^%d+$") or #text > 12 then return otherwise end
  return math.max(least, math.min(most, tonumber(text)))
end

-- At most `limit` entries, newest first: those before an entry, those after one, or the newest. Each way it
-- looks for one more than fits, which tells whether there is a further page.
local function read_page(args)
  local limit = number_of(args.limit, 1, PAGE_MAX, PAGE_DEFAULT)
  local before = number_of(args.before, 0, NUMBER_MAX)
  local after = number_of(args.after, 0, NUMBER_MAX - 1)
  local list, further = {}, false
  local forward = after and not before
  local from = forward and entry_key(after + 1) or "entry:"
  local to = before and entry_key(before) or "entry;" -- the character after ':'
  for key, entry in range(from, to, { reverse = not forward, limit = limit + 1 }) do
    if #list == limit then
      further = true
      break
    end
    entry.number = tonumber(key:sub(7))
    if forward then table.insert(list, 1, entry) else list[#list + 1] = entry end
  end
  return list, limit, forward, further
end

-- Is there an entry between two keys?
local function any(from, to)
  for _ in range(from, to, { limit = 1 }) do return true end
  return false
end

local function page(args, more)
  local list, limit, forward, further = read_page(args)
  for _, entry in ipairs(list) do
    entry.time = os.date("!%d %b %Y, %H:%M", entry.at):gsub("^0", "") .. " UTC"
    entry.machine_time = os.date("!%Y-%m-%dT%H:%M:%SZ", entry.at)
  end
  local data = { title = "Guestbook", entries = list, any = #list > 0, limit = limit, count = get("entries") }
  data.one = data.count == 1
  if #list > 0 then
    local newest, oldest = list[1].number, list[#list].number
    local newer = forward and further or not forward and any(entry_key(newest + 1), "entry;")
    local older = forward and any("entry:", entry_key(oldest)) or not forward and further
    data.newer, data.older = newer and { number = newest }, older and { number = oldest }
    data.pages = newer or older
  end
  for name, value in pairs(more or {}) do data[name] = value end
  return render("guestbook/view", data)
end

-- A field without the blanks around it and with plain line ends; nil and what is wrong with it.
local function read_field(value, what, most)
  if type(value) ~= "string" or not utf8.len(value) then return nil, what .. " is missing, or no UTF-8." end
  value = value:gsub("\r\n?", "\n"):match("^%s*(.-)%s*$")
  if value == "" then return nil, what .. " is missing." end
  local length = utf8.len(value)
  if length > most then
    return nil, what .. " is " .. length .. " characters long; at most " .. most .. " fit."
  end
  return value
end

local function shown(value)
  return type(value) == "string" and utf8.len(value) and value or nil
end

route("view", "html", { method = "GET" }, function(args)
  return 200, page(args)
end)

route("sign", "html", { method = "POST" }, function(args)
  local name, wrong_name = read_field(args.name, "The name", NAME_CHARACTERS_MAX)
  local text, wrong_text = read_field(args.text, "The text", TEXT_CHARACTERS_MAX)
  if not name or not text then
    return 400, page({}, { message = wrong_name or wrong_text, bad_name = not name, bad_text = not text,
      name = shown(args.name), text = shown(args.text) })
  end
  -- The same words of the same guest, with nobody in between: the button was pressed twice.
  for _, newest in prefix("entry:", { reverse = true, limit = 1 }) do
    if newest.name == name and newest.text == text then return redirect("/fn/view#entries", 303) end
  end
  set(entry_key(incr("entries")), { name = name, text = text, at = math.floor(now()) })
  return redirect("/fn/view#entries", 303)
end)

-- The same pages for programs: ?limit=, and ?before= or ?after= the number of an entry.
route("entries", "json", { method = "GET" }, function(args)
  return 200, json.array((read_page(args)))
end)
