-- ARGV: the letter of a kind of hash (r, t or b), how many fields, the fields, then ids. Returns the fields' values of each.
-- One command for many rows: a command each costs the client five times as much.

local fields, rows = {}, {}
local count = tonumber(ARGV[2])
for i = 1, count do fields[i] = ARGV[2 + i] end
for i = 3 + count, #ARGV do
  rows[#rows + 1] = call('HMGET', NS .. ':' .. ARGV[1] .. ':' .. ARGV[i], unpack(fields))
end
return rows
