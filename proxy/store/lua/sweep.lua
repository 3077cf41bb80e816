-- ARGV: an instant, the present one, how many may go. Deletes requests that were final before the first instant, and those
-- whose own retention has ended, if they have no live attempt; and batches that were closed before the first instant.
-- Returns how many requests went.

local function forget(id, key)
  local facts, state, attempts = unpack(call('HMGET', key, 'f', 'state', 'attempts'))
  local f = cjson.decode(facts)
  for attempt in string.gmatch(attempts or '', '%S+') do call('DEL', attempt_key(attempt)) end
  call('ZREM', undelivered_key(f[1], f[4], f[5]), id)
  if f[6] ~= cjson.null then call('DEL', idempotency_name(f[1], f[6])) end
  call('ZREM', NS .. ':all', id)
  call('ZREM', NS .. ':of:' .. f[1], id)
  call('ZREM', NS .. ':in:' .. state, id)
  call('ZREM', NS .. ':finished', id)
  call('ZREM', NS .. ':kept', id)
  call('ZREM', NS .. ':webhooks', id)
  call('DEL', key)
end

local before, now, limit = '(' .. ARGV[1], '(' .. ARGV[2], tonumber(ARGV[3])
local gone = 0

local function forget_from(index, until_instant)
  local passed = 0
  while gone < limit do
    local found = call('ZRANGEBYSCORE', index, '-inf', until_instant, 'LIMIT', passed, limit - gone)
    if #found == 0 then return end
    for _, id in ipairs(found) do
      local key = request_key(id)
      local line, made = unpack(call('HMGET', key, 'line', 'call'))
      if line or made then
        passed = passed + 1
      else
        forget(id, key)
        gone = gone + 1
      end
    end
  end
end

forget_from(NS .. ':finished', before)
forget_from(NS .. ':kept', now)
for _, id in ipairs(call('ZRANGEBYSCORE', NS .. ':batches:closed', '-inf', before)) do
  if call('ZCARD', lines_key(id)) == 0 then
    call('DEL', batch_key(id), lines_key(id))
    call('ZREM', NS .. ':batches:closed', id)
  end
end
return gone
