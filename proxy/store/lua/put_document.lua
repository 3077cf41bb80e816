-- ARGV: kind, id, tenant, version, whether it is pending, instant of its creation, content.
-- Returns 1 when it is written, or was by the same call before; 0 when the stored version is not the one before.

local kind, id, tenant, version, pending, at, content = unpack(ARGV)
local key = document_key(kind, id)
local stored, before = unpack(call('HMGET', key, 'version', 'content'))
if stored == version and before == content then return 1 end -- asked again after a lost reply
if (stored or '0') ~= tostring(tonumber(version) - 1) then return 0 end
call('HSET', key, 'tenant', tenant, 'version', version, 'pending', pending, 'created', at, 'content', content)
if not stored then call('ZADD', documents_of(tenant, kind), call('INCR', NS .. ':n'), id) end
if pending == '1' then
  call('ZADD', NS .. ':documents:pending:' .. kind, at, id)
  call('ZREM', NS .. ':documents:ended:' .. kind, id)
else
  call('ZREM', NS .. ':documents:pending:' .. kind, id)
  call('ZADD', NS .. ':documents:ended:' .. kind, at, id)
end
return 1
