-- ARGV: ledger rows, as MessagePack.

for _, row in ipairs(cmsgpack.unpack(ARGV[1])) do book(row) end
