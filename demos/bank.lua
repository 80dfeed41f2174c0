-- A bank: accounts, deposits, transfers, and a total that is right at every instant; for programs as JSON,
-- for people as a page of forms at /fn/view.
--
-- An account is one key, "acc:<name>", with the value { balance = <whole cents> }. There are no locks
-- and no BEGIN or COMMIT below: every request is a transaction as it stands. While a handler runs it
-- sees one consistent state; when it returns, all it wrote takes effect at once, or, if it lost against
-- another request, the server runs it again. The reply leaves only when the commit is on disk.

-- Money is counted in whole cents, as integers: floats cannot hold 0.10. With at most 10^12 cents an
-- account, integer sums stay exact for nine million accounts, so nothing below can overflow.
local BALANCE_MAX = 1000000000000
local NAME_BYTES_MAX = 64
local ROWS_MAX = 100 -- accounts that the page lists
local FORM_SECONDS_MAX = 86400 -- for so long a page's forms may be sent

-- What follows is the same for programs and for people but for how a refusal looks, which each route
-- passes in as `refuse`. It ends in abort(), which rolls back and replies at once, so what follows a
-- check may rely on it.

-- In JSON an account may be called "ann" or 17; "17" from a query string is the same account.
local function account_key(name, refuse)
  if math.type(name) == "integer" then name = tostring(name) end
  if type(name) ~= "string" or name == "" or #name > NAME_BYTES_MAX then
    refuse(400, "an account is called by 1 to " .. NAME_BYTES_MAX .. " bytes or an integer")
  end
  if not utf8.len(name) then refuse(400, "the name of an account is UTF-8") end
  return "acc:" .. name
end

local function must_find(name, refuse)
  local key = account_key(name, refuse)
  local account = get(key)
  if not account then refuse(404, "no account '" .. name .. "'") end
  return key, account
end

local function check_amount(amount, least, refuse)
  if math.type(amount) ~= "integer" or amount < least or amount > BALANCE_MAX then
    refuse(400, "an amount is a whole number of cents from " .. least .. " to " .. BALANCE_MAX)
  end
end

local function credit(account, amount, refuse)
  if account.balance + amount > BALANCE_MAX then refuse(409, "the balance would be too large") end
  account.balance = account.balance + amount
end

local function open(name, balance, refuse)
  local key = account_key(name, refuse)
  check_amount(balance, 0, refuse)
  -- That the key is absent is a read like any other: of two who open "ann", one finds the other's.
  if get(key) then refuse(409, "there is an account '" .. name .. "' already") end
  set(key, { balance = balance })
end

local function deposit(name, amount, refuse)
  check_amount(amount, 1, refuse)
  local key, account = must_find(name, refuse)
  credit(account, amount, refuse)
  set(key, account) -- get() gave us a copy; only set() changes the store
  return account
end

local function transfer(from_name, to_name, amount, refuse)
  check_amount(amount, 1, refuse)
  local from_key, from = must_find(from_name, refuse)
  local to_key, to = must_find(to_name, refuse)
  -- Compared as keys: the names 17 and "17" mean the same account.
  if from_key == to_key then refuse(400, "both accounts are the same") end
  if from.balance < amount then refuse(409, "insufficient funds") end
  from.balance = from.balance - amount
  credit(to, amount, refuse)
  set(from_key, from)
  set(to_key, to)
  return from, to
end

-- ---- for programs ----

local function refuse_json(status, text)
  abort(status, { error = text })
end

-- {"id":"ann","balance":5000}; both may be left out.
route("open", "json", { method = "POST" }, function(args)
  -- uuid() is drawn from the request, so a second attempt of this request draws the same name.
  local name, balance = args.id, args.balance
  if name == nil then name = uuid() end
  if balance == nil then balance = 0 end
  open(name, balance, refuse_json)
  return 201, { account = name, balance = balance }
end)

-- {"account":"ann","amount":300}
route("deposit", "json", { method = "POST" }, function(args)
  local account = deposit(args.account, args.amount, refuse_json)
  return 200, { account = args.account, balance = account.balance }
end)

-- {"from":"ann","to":"bob","amount":1250}
route("transfer", "json", { method = "POST" }, function(args)
  local from, to = transfer(args.from, args.to, args.amount, refuse_json)
  return 200, { from = from, to = to }
end)

-- GET /fn/balance?account=ann
route("balance", "json", { method = "GET" }, function(args)
  local _, account = must_find(args.account, refuse_json)
  return 200, { account = args.account, balance = account.balance }
end)

-- GET /fn/total: all the money there is. However many transfers run meanwhile, this is exact, because
-- the walk over the accounts is part of the transaction too.
route("total", "json", { method = "GET" }, function()
  local total, accounts = 0, 0
  for _, account in prefix("acc:") do
    total = total + account.balance
    accounts = accounts + 1
  end
  return 200, { total = total, accounts = accounts }
end)

-- ---- for people ----

local NARROW_SPACE = "\u{202F}" -- between groups of digits; it does not break the line

-- 123456789 as 1 234 567.89
local function money(cents)
  local units = tostring(cents // 100):reverse():gsub("(%d%d%d)", "%1 "):reverse()
  return (units:gsub("^ ", ""):gsub(" ", NARROW_SPACE)) .. string.format(".%02d", cents % 100)
end

-- "12", "12.5", "12.50" and what money() writes, as cents. A comma may mean two things, so it is refused.
local function read_money(text, refuse)
  local plain = type(text) == "string" and text:gsub(NARROW_SPACE, ""):gsub("%s", "") or ""
  local units, cents = plain:match("^(%d+)%.?(%d?%d?)$")
  if not units or #units > 12 then
    refuse(400, "An amount is a number like 12 or 12.50, without commas.")
  end
  return tonumber(units) * 100 + tonumber((cents .. "00"):sub(1, 2))
end

-- A page's forms carry a token, the time in milliseconds and something random. What was done for a token
-- is noted under "form:<token>", so a form that is sent twice is carried out once. Notes older than any
-- form that is still taken are of no use; each form clears up to ten of them away.
local function stamp(seconds)
  return string.format("%014d", math.floor(seconds * 1000))
end

local function check_token(token, refuse)
  local sent = type(token) == "string" and #token <= 64 and token:match("^(%d+)%-[%x-]+$")
  if not sent or #sent ~= 14 or sent < stamp(now() - FORM_SECONDS_MAX) or sent > stamp(now() + FORM_SECONDS_MAX) then
    refuse(400, "This page had become too old to send. Nothing has happened; please try again.")
  end
  for key in range("form:", "form:" .. stamp(now() - FORM_SECONDS_MAX), { limit = 10 }) do delete(key) end
  return "form:" .. token
end

local function page(more)
  local rows, total, accounts = {}, 0, 0
  for key, account in prefix("acc:") do
    total, accounts = total + account.balance, accounts + 1
    if accounts <= ROWS_MAX then rows[accounts] = { name = key:sub(5), balance = money(account.balance) } end
  end
  local data = { title = "Bank", rows = rows, any = accounts > 0, accounts = accounts, one = accounts == 1,
    more = accounts > ROWS_MAX and accounts - ROWS_MAX, total = money(total), token = stamp(now()) .. "-" .. uuid() }
  for name, value in pairs(more) do data[name] = value end
  return render("bank/view", data)
end

route("view", "html", { method = "GET" }, function(args)
  local note = type(args.sent) == "string" and #args.sent <= 64 and get("form:" .. args.sent)
  return 200, page({ said = note and note.said })
end)

-- Serves one form of the page: `act` does it and returns what to tell. Then the reader is sent back to the
-- page (303), so that reloading it repeats nothing; a refusal is the page itself, with what was typed.
local function form(name, act)
  route("view/" .. name, "html", { method = "POST" }, function(args)
    local function refuse(status, text)
      local typed = {}
      for field, value in pairs(args) do
        if type(value) == "string" and utf8.len(value) then typed[field] = value end
      end
      abort(status, page({ refused = text:gsub("^%l", string.upper):gsub("[^.]$", "%0."), [name] = typed }))
    end
    local note = check_token(args.token, refuse)
    if not get(note) then set(note, { said = act(args, refuse) }) end
    return redirect("/fn/view?sent=" .. args.token, 303)
  end)
end

form("open", function(args, refuse)
  local balance = args.balance == "" and 0 or read_money(args.balance, refuse)
  open(args.id, balance, refuse)
  return "Opened " .. args.id .. " with " .. money(balance) .. "."
end)

form("deposit", function(args, refuse)
  local amount = read_money(args.amount, refuse)
  deposit(args.account, amount, refuse)
  return "Paid " .. money(amount) .. " into " .. args.account .. "."
end)

form("transfer", function(args, refuse)
  local amount = read_money(args.amount, refuse)
  transfer(args.from, args.to, amount, refuse)
  return "Moved " .. money(amount) .. " from " .. args.from .. " to " .. args.to .. "."
end)
