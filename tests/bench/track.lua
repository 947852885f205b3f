-- wrk: track-event over 20,000 contacts x 10 keys, chosen at random. AUTH comes from the environment.
local headers = { ["Content-Type"] = "application/json", ["Authorization"] = os.getenv("AUTH") }

function init()
  math.randomseed(os.time())
end

function request()
  local body = string.format(
    '{"event_key":"key_%d","title":"Order placed","email":"contact%d@example.com","value":"42","provider":"bench"}',
    math.random(10), math.random(20000))
  return wrk.format("POST", "/wp-json/fluent-crm/v2/subscribers/track-event", headers, body)
end
