-- What every script begins with. TABLES (the state machines) is put in front of it when the scripts are loaded.
-- KEYS[1] is the namespace in braces, a hash tag: every key begins with it, so that all are in one slot of a cluster.
--
--   :n                  counter: the order in which things were stored
--   :r:<request>        hash: a request with its body, its state and its answer; f holds what never changes, as JSON
--   :t:<attempt>        hash: an attempt
--   :b:<batch>          hash: a batch
--   :lines:<batch>      sorted set: the live lines of a batch, by their ids
--   :calls              sorted set: live calls
--   :all :of:<tenant> :in:<state>    sorted sets: requests in their order
--   :undelivered:<tenant endpoint fingerprint>        sorted set: what a retried call may be attached to
--   :key:<tenant idempotency-key>                     string: its request
--   :finished           sorted set: final requests by the instant they became so
--   :kept               sorted set: those with a retention of their own, by its end
--   :webhooks           sorted set: final requests whose webhook is to be called, by the instant
--   :batches:open :batches:closed :batches:version    sorted sets, and a counter of the changes to batches
--   :changes            stream: requests (r) that have changed, with their states (s), or whose client has returned
--   :ledger:rows:<request> :ledger:hour:<hour>        hash of rows; sorted set of an hour's rows by instant
--   :ledger:totals:<hour> :ledger:hours               hash of sums; sorted set of the hours that have any
--   :lease:<lane>       string with an expiry: the token of who looks after a lane
--   :members :member:<member>        set; string with an expiry: what a present replica posts
--   :said:<word>        string with an expiry: what a change was answered with
--   :document:<kind>:<id> :parts:<id>                 hashes: what clients keep here
--   :documents:of:<tenant kind>                       sorted set: in their order
--   :documents:pending:<kind> :documents:ended:<kind> sorted sets: by the instant of their creation
--   :meta :notes :credential:<id>                     hashes; string
--
-- Instants, amounts and token counts come and are kept as text: Lua's numbers would round them.

local NS = KEYS[1]
local call = redis.call

-- Two words as one part of a key, from which no other two make the same.
local function pair_word(owner, rest) return #owner .. ':' .. owner .. ':' .. rest end

local function undelivered_key(tenant, endpoint, fingerprint)
  return NS .. ':undelivered:' .. pair_word(tenant, endpoint .. ' ' .. fingerprint)
end

local function idempotency_name(tenant, word) return NS .. ':key:' .. pair_word(tenant, word) end

local function request_key(id) return NS .. ':r:' .. id end
local function attempt_key(id) return NS .. ':t:' .. id end
local function batch_key(id) return NS .. ':b:' .. id end
local function lines_key(id) return NS .. ':lines:' .. id end

local function document_key(kind, id) return NS .. ':document:' .. kind .. ':' .. id end
local function documents_of(tenant, kind) return NS .. ':documents:of:' .. pair_word(tenant, kind) end

local function advance(machine, state, event) return TABLES[machine][state .. ' ' .. event] end

local function changed(id, state)
  call('XADD', NS .. ':changes', 'MAXLEN', '~', TABLES.changes_kept, '*', 'r', id, 's', state)
end

local function set_all(key, fields)
  if #fields > 0 then call('HSET', key, unpack(fields)) end
end

-- Adds a ledger row; one that is there already stays as it is.
local function book(row)
  local rows = NS .. ':ledger:rows:' .. row.request
  if call('HEXISTS', rows, row.id) == 1 then return end
  call('HSET', rows, row.id, call('HLEN', rows) .. ' ' .. row.json)
  call('EXPIRE', rows, row.keep)
  local hour = NS .. ':ledger:hour:' .. row.hour
  call('ZADD', hour, row.at, row.request .. ' ' .. row.id)
  call('EXPIRE', hour, row.keep - 3600) -- before the first of its rows: it never names what is gone
  local totals = NS .. ':ledger:totals:' .. row.hour
  for name, amount in pairs(row.sums) do call('HINCRBY', totals, row.group .. ' ' .. name, amount) end
  call('ZADD', NS .. ':ledger:hours', row.hour, row.hour)
end
