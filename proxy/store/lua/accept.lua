-- ARGV: id, tenant, endpoint, fingerprint, idempotency key or '', lane, instant, facts, webhook or '', its own retention in
-- seconds or '', grounds or '', body.
-- Returns '' when the request is stored, else the id of the request that has used the key.

local id, tenant, endpoint, fingerprint, idempotency_key, lane, at, facts, webhook, retention, grounds, body =
  unpack(ARGV)
if call('EXISTS', request_key(id)) == 1 then return '' end -- asked again after a lost reply
if idempotency_key ~= '' then
  local name = idempotency_name(tenant, idempotency_key)
  local used = call('GET', name)
  if used then return used end
  call('SET', name, id)
end
local n = call('INCR', NS .. ':n')
call('HSET', request_key(id), 'n', n, 'f', facts, 'body', body, 'lane', lane, 'state', 'open', 'stage', 'queued',
  'tries', 0, 'ready', at)
if webhook ~= '' then call('HSET', request_key(id), 'webhook', webhook) end
if retention ~= '' then call('HSET', request_key(id), 'retention', retention) end
if grounds ~= '' then call('HSET', request_key(id), 'grounds', grounds) end
call('ZADD', NS .. ':all', n, id)
call('ZADD', NS .. ':of:' .. tenant, n, id)
call('ZADD', NS .. ':in:open', n, id)
call('ZADD', undelivered_key(tenant, endpoint, fingerprint), n, id)
changed(id, 'open')
return ''
