-- ARGV: the member's word, what it posts, milliseconds. Returns every present member and its post, in turn.

call('SET', NS .. ':member:' .. ARGV[1], ARGV[2], 'PX', ARGV[3])
call('SADD', NS .. ':members', ARGV[1])
local present = {}
for _, member in ipairs(call('SMEMBERS', NS .. ':members')) do
  local post = call('GET', NS .. ':member:' .. member)
  if post then
    present[#present + 1] = member
    present[#present + 1] = post
  else
    call('SREM', NS .. ':members', member)
  end
end
return present
