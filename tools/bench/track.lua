-- wrk: track-event over 20,000 contacts x 10 keys, chosen at random. AUTH comes from the environment;
-- WITH "key" sends an Idempotency-Key of its own with each, WITH "properties" an order's properties.
local headers = { ["Content-Type"] = "application/json", ["Authorization"] = os.getenv("AUTH") }
local with = os.getenv("WITH")
local properties = ""
local sent = 0

function init()
  math.randomseed(os.time())
  if with == "properties" then
    properties = ',"properties":{"order":4711,"total":99.5,"currency":"EUR","coupon":null,'
      .. '"lines":[{"sku":"mug","n":2,"price":12.5},{"sku":"book","n":1,"price":74.5}]},'
      .. '"context":{"url":"https://shop.example/checkout","ip":"192.0.2.1","utm_source":"news"}'
  end
end

function request()
  sent = sent + 1
  if with == "key" then
    headers["Idempotency-Key"] = string.format("%d-%d-%d", os.time(), math.random(1e9), sent)
  end
  local body = string.format(
    '{"event_key":"key_%d","title":"Order placed","email":"contact%d@example.com","value":"42","provider":"bench"%s}',
    math.random(10), math.random(20000), properties)
  return wrk.format("POST", "/wp-json/fluent-crm/v2/subscribers/track-event", headers, body)
end
