-- wrk: one kind of call, named by ROW, about contacts that are chosen at random among 20,000. AUTH
-- and FIRST_ID, the first contact's id, come from the environment.
local api = "/wp-json/fluent-crm/v2"
local auth = os.getenv("AUTH")
local first = tonumber(os.getenv("FIRST_ID") or 1)
local contacts = 20000
local sent = 0
local start = os.time()
local batches = {}

local order = ',"properties":{"order":4711,"total":99.5,"currency":"EUR","coupon":null,'
  .. '"lines":[{"sku":"mug","n":2,"price":12.5},{"sku":"book","n":1,"price":74.5}]},'
  .. '"context":{"url":"https://shop.example/checkout","ip":"192.0.2.1","utm_source":"news"}'

local function email(most)
  return string.format("contact%d@example.com", math.random(most or contacts))
end

local function id()
  return first + math.random(contacts) - 1
end

local function unique()
  sent = sent + 1
  return string.format("%d-%d-%d", start, math.random(1e9), sent)
end

local function post(path, body)
  local headers = { ["Content-Type"] = "application/json", ["Authorization"] = auth }
  return "POST", path, headers, body
end

local function get(path)
  return "GET", path, { ["Authorization"] = auth }, nil
end

local function track(who, more, key)
  local body = string.format(
    '{"event_key":"key_%d","title":"Order placed",%s,"value":"42","provider":"bench"%s}',
    math.random(10), who, more or "")
  local method, path, headers, sent_body = post(api .. "/subscribers/track-event", body)
  headers["Idempotency-Key"] = key
  return method, path, headers, sent_body
end

local function events()
  local items = {}
  for n = 1, 500 do
    items[n] = string.format(
      '{"event_key":"key_%d","title":"Order placed","email":"%s","value":"42",'
        .. '"provider":"bench","idempotency_key":"KEY-%d"}', math.random(10), email(500), n)
  end
  return '{"events":[' .. table.concat(items, ",") .. "]}"
end

local function bulk()
  local items = {}
  local from = math.random(contacts - 1000)
  for n = 1, 1000 do
    items[n] = string.format(
      '{"email":"contact%d@example.com","first_name":"Ada","last_name":"%s",'
        .. '"tags":["tag %d"],"lists":["list %d"]}',
      from + n, unique(), math.random(30), math.random(5))
  end
  return '{"contacts":[' .. table.concat(items, ",") .. "]}"
end

local rows = {
  track = function()
    return track(string.format('"email":"%s"', email()))
  end,
  track_key = function()
    return track(string.format('"email":"%s"', email()), "", unique())
  end,
  track_properties = function()
    return track(string.format('"email":"%s"', email()), order)
  end,
  track_hot = function()
    return track('"email":"contact1@example.com"')
  end,
  track_locked = function()
    local who = math.random(50) == 1 and "contact1@example.com" or email()
    return track(string.format('"email":"%s"', who))
  end,
  track_batch = function()
    local body = batches[math.random(20)]:gsub("KEY", unique())
    return post(api .. "/subscribers/track-events", body)
  end,
  tracking_events = function()
    return get(string.format("%s/subscribers/%d/tracking-events", api, id()))
  end,
  timeline = function()
    return get(string.format("%s/subscribers/%d/timeline", api, id()))
  end,
  contact = function()
    return get(string.format("%s/subscribers/%d?with[]=tags&with[]=lists", api, id()))
  end,
  contact_by_email = function()
    return get(string.format("%s/subscribers/0?get_by_email=%s&with[]=tags&with[]=lists", api, email()))
  end,
  contacts = function()
    return get(string.format("%s/subscribers?page=%d&per_page=15", api, math.random(100)))
  end,
  create_contact = function()
    return post(api .. "/subscribers", string.format(
      '{"email":"%s@example.com","first_name":"Ada","status":"subscribed","tags":["tag 1"]}', unique()))
  end,
  update_contact = function()
    local method, path, headers, body = post(string.format("%s/subscribers/%d", api, id()),
      string.format('{"first_name":"Ada","last_name":"%s","status":"subscribed"}', unique()))
    return "PUT", path, headers, body
  end,
  sync_labels = function()
    return post(api .. "/subscribers/sync-segments", string.format(
      '{"type":"tags","attach":["tag-%d"],"detach":["tag-%d"],"subscribers":[%d]}',
      math.random(30), math.random(30), id()))
  end,
  bulk = function()
    return post(api .. "/subscribers/bulk-add-update", bulk())
  end,
  tags = function()
    return get(api .. "/tags")
  end,
}
local row = rows[os.getenv("ROW")]

function init()
  math.randomseed(start)
  if os.getenv("ROW") == "track_batch" then
    for number = 1, 20 do
      batches[number] = events()
    end
  end
end

function request()
  local method, path, headers, body = row()
  return wrk.format(method, path, headers, body)
end

function response(status, _, body)
  if status == 503 and os.getenv("ROW") == "track_locked" then
    return
  end
  if status ~= 200 or (body:find('"failed":', 1, true) and not body:find('"failed":0', 1, true)) then
    print("refused: " .. body:sub(1, 300))
  end
end
