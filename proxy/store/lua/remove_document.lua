-- ARGV: kind, id. Deletes a document and its parts.

local kind, id = unpack(ARGV)
local key = document_key(kind, id)
local tenant = call('HGET', key, 'tenant')
if tenant then call('ZREM', documents_of(tenant, kind), id) end
call('ZREM', NS .. ':documents:pending:' .. kind, id)
call('ZREM', NS .. ':documents:ended:' .. kind, id)
call('UNLINK', key, NS .. ':parts:' .. id)
return 1
