-- wrk: the first page of tracking-events of contacts chosen at random. AUTH and FIRST_ID come from
-- the environment.
local headers = { ["Authorization"] = os.getenv("AUTH") }
local first = tonumber(os.getenv("FIRST_ID"))

function init()
  math.randomseed(os.time())
end

function request()
  local path = string.format("/wp-json/fluent-crm/v2/subscribers/%d/tracking-events", first + math.random(20000) - 1)
  return wrk.format("GET", path, headers)
end
