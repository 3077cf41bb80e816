-- ARGV: moves, the leases that the caller holds (lane to token), a word for this call; the first two as MessagePack. Then
-- the bodies of answers, which the moves name by their numbers.
-- Returns one word per move: '' applied, '?' no such row, else the state that was in the way.
--
-- Every function here returns such a word, before it has changed anything or after it has changed all of it. A call that
-- is repeated after a lost reply has the same word, and gets the same answer.

local UNKNOWN, APPLIED, LEASED = '?', '', 'leased'

local FENCES = cmsgpack.unpack(ARGV[2])
local leases = {}

-- Whether another replica looks after the lane: then its state is not the caller's to move.
local function is_anothers(lane)
  if leases[lane] == nil then leases[lane] = call('GET', NS .. ':lease:' .. lane) end
  return leases[lane] and leases[lane] ~= FENCES[lane]
end

local function finish(id, state, m)
  local key = request_key(id)
  local n = call('HGET', key, 'n')
  call('HSET', key, 'state', state, 'finished', m.at)
  set_all(key, m.set)
  if m.body then call('HSET', key, 'answer', ARGV[3 + m.body]) end
  call('ZREM', NS .. ':in:open', id)
  call('ZADD', NS .. ':in:' .. state, n, id)
  local retention = call('HGET', key, 'retention')
  if retention then
    call('ZADD', NS .. ':kept', string.format('%.17g', tonumber(m.at) + tonumber(retention)), id)
  else
    call('ZADD', NS .. ':finished', m.at, id)
  end
  if call('HEXISTS', key, 'webhook') == 1 then call('ZADD', NS .. ':webhooks', m.at, id) end
  changed(id, state)
end

-- Brings the kept stage (and batch) of an open request in line with its live attempts: `request_stage` in Lua.
local function restage(id)
  local key = request_key(id)
  local state, line, made = unpack(call('HMGET', key, 'state', 'line', 'call'))
  if state ~= 'open' then return end
  local stage, batch = 'queued', ''
  if line then
    local of_line = call('HMGET', attempt_key(line), 'state', 'batch')
    stage, batch = of_line[1] == 'sent' and 'submitted' or 'staged', of_line[2]
  end
  call('HSET', key, 'stage', made and 'calling' or stage, 'batch', batch)
  changed(id, 'open')
end

-- A dead attempt is no longer among the live ones.
local function bury(id, request, kind, batch, state)
  call('HSET', attempt_key(id), 'state', state)
  call('HDEL', request_key(request), kind)
  if kind == 'line' then call('ZREM', lines_key(batch), id) else call('ZREM', NS .. ':calls', id) end
end

local MOVES = {}

function MOVES.end_unbought(m)
  local key = request_key(m.request)
  local state, lane, line, made = unpack(call('HMGET', key, 'state', 'lane', 'line', 'call'))
  if not state then return UNKNOWN end
  local next_state = advance('request', state, m.event)
  if not next_state then return state end
  if m.fenced and is_anothers(lane) then return LEASED end
  if made and call('HGET', attempt_key(made), 'state') == 'written' then
    bury(made, m.request, 'call', '', 'withdrawn')
  end
  if line then
    local line_state, batch = unpack(call('HMGET', attempt_key(line), 'state', 'batch'))
    if line_state == 'written' and call('HGET', batch_key(batch), 'state') == 'planned' then
      bury(line, m.request, 'line', batch, 'withdrawn')
    end
  end
  finish(m.request, next_state, m)
  if m.ledger then book(m.ledger) end
  return APPLIED
end

function MOVES.plan_call(m)
  local key = request_key(m.request)
  local state, stage, lane = unpack(call('HMGET', key, 'state', 'stage', 'lane'))
  if not state then return UNKNOWN end
  if state ~= 'open' then return state end
  if stage == 'calling' then return stage end
  if is_anothers(lane) then return LEASED end
  call('HSET', attempt_key(m.attempt), 'request', m.request, 'kind', 'call', 'tier', m.tier, 'batch', '',
    'state', 'written', 'created', m.created)
  call('ZADD', NS .. ':calls', call('INCR', NS .. ':n'), m.attempt)
  call('HSET', key, 'call', m.attempt, 'stage', 'calling',
    'attempts', (call('HGET', key, 'attempts') or '') .. m.attempt .. ' ')
  changed(m.request, 'open')
  return APPLIED
end

function MOVES.end_attempt(m)
  local state, request, kind, batch = unpack(call('HMGET', attempt_key(m.attempt), 'state', 'request', 'kind', 'batch'))
  if not state then return UNKNOWN end
  local next_state = advance('attempt', state, m.event)
  if not next_state then return state end
  local key = request_key(request)
  if m.fenced and is_anothers(call('HGET', key, 'lane')) then return LEASED end
  if next_state == 'sent' then
    call('HSET', attempt_key(m.attempt), 'state', next_state)
  else
    bury(m.attempt, request, kind, batch, next_state)
  end
  if m.ready then
    call('HSET', key, 'ready', m.ready)
    call('HINCRBY', key, 'tries', m.tries)
  end
  restage(request)
  if m.ledger then book(m.ledger) end
  return APPLIED
end

function MOVES.answer(m)
  local state, request, kind, batch = unpack(call('HMGET', attempt_key(m.attempt), 'state', 'request', 'kind', 'batch'))
  if not state then return UNKNOWN end
  local attempt_state = advance('attempt', state, 'answered')
  if not attempt_state then return state end
  local request_state = call('HGET', request_key(request), 'state')
  local next_state = advance('request', request_state, m.event)
  if not next_state then return request_state end
  bury(m.attempt, request, kind, batch, attempt_state)
  call('HSET', request_key(request), 'batch', batch)
  finish(request, next_state, m)
  book(m.ledger)
  return APPLIED
end

-- All or nothing: one request that is not open and queued any more, and the batch is not planned.
function MOVES.plan_batch(m)
  for _, attempt in ipairs(m.attempts) do
    local state, stage = unpack(call('HMGET', request_key(attempt[2]), 'state', 'stage'))
    if not state then return UNKNOWN end
    if state ~= 'open' then return state end
    if stage ~= 'queued' then return stage end
  end
  if is_anothers(m.lane) then return LEASED end
  set_all(batch_key(m.batch), m.set)
  call('HSET', batch_key(m.batch), 'lane', m.lane)
  call('ZADD', NS .. ':batches:open', call('INCR', NS .. ':n'), m.batch)
  call('INCR', NS .. ':batches:version')
  for _, attempt in ipairs(m.attempts) do
    local id, request, tier, created = unpack(attempt)
    local key = request_key(request)
    call('HSET', attempt_key(id), 'request', request, 'kind', 'line', 'tier', tier, 'batch', m.batch,
      'state', 'written', 'created', created)
    call('ZADD', lines_key(m.batch), 0, id)
    call('HSET', key, 'line', id, 'stage', 'staged', 'batch', m.batch,
      'attempts', (call('HGET', key, 'attempts') or '') .. id .. ' ')
    changed(request, 'open')
  end
  return APPLIED
end

-- Every written line of the batch is at the provider now. A request that is being called stays so.
local function send_lines(batch)
  for _, id in ipairs(call('ZRANGE', lines_key(batch), 0, -1)) do
    local state, request = unpack(call('HMGET', attempt_key(id), 'state', 'request'))
    if state == 'written' then
      call('HSET', attempt_key(id), 'state', 'sent')
      restage(request)
    end
  end
end

-- The batch will never be: its written lines are withdrawn, and their requests are free again.
local function give_back_lines(batch, ready, tries)
  for _, id in ipairs(call('ZRANGE', lines_key(batch), 0, -1)) do
    local state, request = unpack(call('HMGET', attempt_key(id), 'state', 'request'))
    if state == 'written' then
      bury(id, request, 'line', batch, 'withdrawn')
      call('HSET', request_key(request), 'ready', ready)
      call('HINCRBY', request_key(request), 'tries', tries)
      restage(request)
    end
  end
end

-- The batch is planned again: lines whose requests are final are wanted by nobody any more.
local function drop_unwanted_lines(batch)
  for _, id in ipairs(call('ZRANGE', lines_key(batch), 0, -1)) do
    local state, request = unpack(call('HMGET', attempt_key(id), 'state', 'request'))
    if state == 'written' and call('HGET', request_key(request), 'state') ~= 'open' then
      bury(id, request, 'line', batch, 'withdrawn')
    end
  end
end

function MOVES.move_batch(m)
  local key = batch_key(m.batch)
  local state, lane = unpack(call('HMGET', key, 'state', 'lane'))
  if not state then return UNKNOWN end
  local next_state = advance('batch', state, m.event)
  if not next_state then return state end
  if m.event == 'collected' and call('ZCARD', lines_key(m.batch)) > 0 then return state end
  if m.fenced and is_anothers(lane) then return LEASED end
  call('HSET', key, 'state', next_state)
  set_all(key, m.set)
  call('INCR', NS .. ':batches:version')
  if m.event == 'created' or m.event == 'found' then send_lines(m.batch) end
  if next_state == 'planned' then drop_unwanted_lines(m.batch) end
  if m.event == 'abandoned' then give_back_lines(m.batch, m.ready, m.tries) end
  if m.closed then
    call('ZREM', NS .. ':batches:open', m.batch)
    call('ZADD', NS .. ':batches:closed', m.closed, m.batch)
  end
  return APPLIED
end

function MOVES.postpone_batch(m)
  local state, lane = unpack(call('HMGET', batch_key(m.batch), 'state', 'lane'))
  if not state then return UNKNOWN end
  if call('ZSCORE', NS .. ':batches:open', m.batch) == false then return state end
  if is_anothers(lane) then return LEASED end
  set_all(batch_key(m.batch), m.set)
  call('INCR', NS .. ':batches:version')
  return APPLIED
end

local said = NS .. ':said:' .. ARGV[3]
local before = call('GET', said)
if before then return cmsgpack.unpack(before) end
local results = {}
for i, move in ipairs(cmsgpack.unpack(ARGV[1])) do results[i] = MOVES[move.move](move) end
call('SET', said, cmsgpack.pack(results), 'EX', TABLES.said_seconds)
return results
