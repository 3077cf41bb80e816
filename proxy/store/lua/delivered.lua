-- ARGV: an instant, then ids of requests whose answers clients have taken. The first instant stays.

for i = 2, #ARGV do
  local key = request_key(ARGV[i])
  local facts = call('HGET', key, 'f')
  if facts and call('HSETNX', key, 'delivered', ARGV[1]) == 1 then
    local f = cjson.decode(facts)
    call('ZREM', undelivered_key(f[1], f[4], f[5]), ARGV[i])
  end
end
