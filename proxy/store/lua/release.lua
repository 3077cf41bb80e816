-- ARGV: pairs of a lane and the token that its holder has. A lane that was taken over stays with its new holder.

for i = 1, #ARGV, 2 do
  local name = NS .. ':lease:' .. ARGV[i]
  if call('GET', name) == ARGV[i + 1] then call('DEL', name) end
end
