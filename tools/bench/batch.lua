-- wrk: batches of 500 events over 500 contacts x 10 keys, chosen at random, each event with an
-- idempotency key of its own. AUTH comes from the environment.
local headers = { ["Content-Type"] = "application/json", ["Authorization"] = os.getenv("AUTH") }
local batches = {}
local sent = 0

function init()
  math.randomseed(os.time())
  for b = 1, 20 do
    local events = {}
    for n = 1, 500 do
      events[n] = string.format(
        '{"event_key":"key_%d","title":"Order placed","email":"contact%d@example.com","value":"42",'
          .. '"provider":"bench","idempotency_key":"KEY-%d"}',
        math.random(10), math.random(500), n)
    end
    batches[b] = '{"events":[' .. table.concat(events, ",") .. "]}"
  end
end

function request()
  sent = sent + 1
  local key = string.format("%d-%d-%d", os.time(), math.random(1e9), sent)
  local body = batches[math.random(20)]:gsub("KEY", key)
  return wrk.format("POST", "/wp-json/fluent-crm/v2/subscribers/track-events", headers, body)
end

function response(status, _, body)
  if status ~= 200 or not body:find('"failed":0', 1, true) then
    print("refused: " .. body:sub(1, 300))
  end
end
