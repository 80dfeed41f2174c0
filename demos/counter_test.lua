-- Tests of counter.lua: `concave test demos/counter_test.lua`.
require "counter"

test("each visit counts", function()
  for visits = 1, 3 do
    local status, body = call("visit")
    expect(status, 200)
    expect(body, { visits = visits })
  end
end)

test("each page counts by itself", function()
  call("visit")
  local _, body = call("visit?page=news")
  expect(body.visits, 1)
  expect(get("visits:home"), 1)
end)
