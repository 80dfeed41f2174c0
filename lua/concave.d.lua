---@meta concave
-- What an application may call, for editors: LuaCATS annotations, which lua-language-server reads.
-- The manual is README.md beside this file, which also says how to point an editor here.

---@alias concave.Kind
---| "json" # the second result is encoded as JSON
---| "html" # the second result is a string, text/html
---| "text" # the second result is a string, text/plain

---@alias concave.Method "GET"|"HEAD"|"POST"|"PUT"|"PATCH"|"DELETE"|"OPTIONS"|string

---A value that the store and JSON can hold; tables are arrays (keys 1 to n) or objects (string keys).
---@alias concave.Value boolean|number|string|table|lightuserdata

---Reply fields: a string, a number, or a list of them for several fields of one name.
---@alias concave.Headers table<string, string|number|(string|number)[]>

---The request as it came.
---@class concave.Req
---@field method string "GET"
---@field path string before the "?", still percent-encoded
---@field query table<string, string>
---@field form table<string, string> fields of a urlencoded or multipart body
---@field json any the decoded body; nil if it is not JSON
---@field headers table<string, string> by lower-case name
---@field cookies table<string, string>
---@field body string
---@field remote string "127.0.0.1:5000"
---@field id string the request's X-Request-Id

---Returns status (an integer from 200 to 599), body and headers. Returning commits, whatever the status.
---@alias concave.Handler fun(args: table<string, any>, req: concave.Req): integer, any?, (concave.Headers|integer)?

---@class concave.RouteOptions
---@field method? concave.Method|concave.Method[] without it the route takes every method

---Serves /fn/NAME. Works only while the file is loaded.
---@param name string parts between "/"; ":id" matches any one part and becomes args.id
---@param kind concave.Kind
---@param fn concave.Handler
---@overload fun(name: string, kind: concave.Kind, options: concave.RouteOptions, fn: concave.Handler)
function route(name, kind, fn) end

---A function that runs once in the life of a data directory ("first_run"), or at every start and reload ("start").
---@param event "first_run"|"start"
---@param fn fun()
function on(event, fn) end

---Runs a file below the application's folder, once, while loading: require "lib.money" is lib/money.lua.
---@param module string
---@return any # what the file returned
function require(module) end

---The value of a key and its version; nil if there is none. The value is a copy.
---@param key string
---@return any value
---@return integer? version 0 if this handler wrote it
---@nodiscard
function get(key) end

---Sets a key to a copy of the value; nil deletes it.
---@param key string
---@param value concave.Value?
function set(key, value) end

---Deletes a key.
---@param key string
---@return boolean there whether it was there
function delete(key) end

---Adds to a number; an absent key counts as 0.
---@param key string
---@param by? number 1 if not given
---@return number sum
function incr(key, by) end

---@class concave.WalkOptions
---@field limit? integer
---@field reverse? boolean

---Walks over keys in byte order, from `from` (included) to `to` (not included); nil is no bound.
---@param from string?
---@param to string?
---@param options? concave.WalkOptions
---@return fun(): string, any, integer # key, value, version
---@nodiscard
function range(from, to, options) end

---Walks over the keys that begin with a text, in byte order.
---@param text string
---@param options? concave.WalkOptions
---@return fun(): string, any, integer # key, value, version
---@nodiscard
function prefix(text, options) end

---The text of the Mustache template NAME.mustache in the resources folder.
---@param name string
---@param data? table
---@return string
---@nodiscard
function render(name, data) end

---Rolls back and replies at once, also through pcall.
---@param status integer
---@param body? any
---@param headers? concave.Headers
function abort(status, body, headers) end

---The results of a handler that sends the client elsewhere: return redirect("/fn/page").
---@param url string
---@param status? 301|302|303|307|308 302 if not given
---@return integer status
---@return nil body
---@return concave.Headers headers
---@nodiscard
function redirect(url, status) end

---@class jsonlib
---A null inside a value, where nil cannot stand.
---@field null lightuserdata
json = {}

---@param value any
---@return string
---@nodiscard
function json.encode(value) end

---@param text string
---@return any
---@nodiscard
function json.decode(text) end

---Marks a table (a new one if none is given) as an array, so that it encodes as [] when empty.
---@generic T: table
---@param list? T
---@return T
function json.array(list) end

---Marks a table (a new one if none is given) as an object.
---@generic T: table
---@param object? T
---@return T
function json.object(object) end

---Seconds since 1970, the same all through a request.
---@return number
---@nodiscard
function now() end

---As math.random; seeded by the request, so a retry draws the same.
---@return number
---@overload fun(high: integer): integer
---@overload fun(low: integer, high: integer): integer
---@nodiscard
function random() end

---A random UUID, version 4; a retry draws the same.
---@return string
---@nodiscard
function uuid() end

---@param text string
---@return string # with & < > " ' escaped
---@nodiscard
function escape_html(text) end

---@param text string
---@return string # percent-encoded, a space as %20
---@nodiscard
function urlencode(text) end

---A log line, with the request's id. Lines of an attempt that lost are dropped.
---@param level "debug"|"info"|"warn"|"error"
---@param message any
---@param fields? table<string, any>
function log(level, message, fields) end

---A test, run by `concave test` on an empty store; elsewhere it does nothing.
---@param name string
---@param fn fun()
function test(name, fn) end

---@class concave.CallOptions
---@field method? concave.Method the first that the route takes, if not given
---@field query? table<string, string|number|boolean>|string
---@field form? table<string, string|number|boolean>
---@field body? string
---@field headers? table<string, string|number>

---In a test: runs a route as the server would.
---@param path string "transfer", "user/7", "balance?account=ann"
---@param args? any sent as JSON; with GET, HEAD, DELETE and OPTIONS as query
---@param options? concave.CallOptions
---@return integer status
---@return any body decoded if it is JSON
---@return table<string, string> headers by lower-case name
function call(path, args, options) end

---In a test: an error that says where two values differ, tables in depth.
---@generic T
---@param actual T
---@param wanted any
---@param what? any said before the difference
---@return T actual
function expect(actual, wanted, what) end
