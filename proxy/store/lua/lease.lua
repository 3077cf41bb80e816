-- ARGV: the member's word, milliseconds, then lanes. Takes the free ones and renews the member's own.
-- Returns one token per lane, '' for a lane that another member holds. The expiry is by Redis's own clock.

local member, milliseconds = ARGV[1], ARGV[2]
local tokens = {}
for i = 3, #ARGV do
  local name = NS .. ':lease:' .. ARGV[i]
  local token = call('GET', name)
  if not token then
    token = member .. ':' .. call('INCR', NS .. ':token')
    call('SET', name, token, 'PX', milliseconds)
  elseif string.sub(token, 1, #member + 1) == member .. ':' then
    call('PEXPIRE', name, milliseconds)
  else
    token = ''
  end
  tokens[i - 2] = token
end
return tokens
