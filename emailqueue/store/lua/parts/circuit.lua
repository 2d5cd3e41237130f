-- The circuit of a mail server. It opens with the first mail that finds the server away: then mail waits, and one mail
-- after the other is tried as a probe, until the server takes one. The hash of the server, which is there while the
-- circuit is open, has the fields
--   since (s), token: when it opened, and the newest fencing token then
--   failures, step (s), next (us): probes that failed, the wait after the last one, the time of the next one
--   probe: "ID:TOKEN" of the mail that is tried, or ''; alerted: 1 when it was said that our account is refused
-- needs: clock
local AWAY, ACCOUNT_REFUSED, BACK = 2, 3, 4 -- what an end says about the server; see Settled in settle.py
local state -- its fields; nil while it is closed

-- Return whether it is open.
function circuit.read()
  local found = read_hash(keys.OUTAGE .. ask.server)
  state = found.next and found or nil
  return state ~= nil
end

-- What a claim does with it.

local function probe_is_out()
  local id, its_token = string.match(state.probe or '', '^(.*):(%d+)$')
  return id and has_lease(id, its_token)
end

-- Whether a mail may be tried now. Else this worker comes back when the next probe is due; while one is out, its
-- settling wakes whom it concerns.
function circuit.may_probe()
  if probe_is_out() then
    return false
  end
  local next_at = tonumber(state.next)
  if next_at > clock.now then
    clock.no_later_than(next_at)
    return false
  end
  return true
end

-- Take a mail out of its queue as a probe, another each time: one that the server does not bear must not keep the
-- circuit open. Return its id and its queue.
function circuit.next_probe(queues)
  local lengths, total = {}, 0
  for i, queue in ipairs(queues) do
    lengths[i] = redis.call('LLEN', keys.QUEUE .. queue)
    total = total + lengths[i]
  end
  if total == 0 then
    return nil
  end
  local at = (tonumber(state.failures) + 1) % math.min(total, 10)
  for i, queue in ipairs(queues) do
    if at < lengths[i] then
      local id = redis.call('LINDEX', keys.QUEUE .. queue, at)
      redis.call('LREM', keys.QUEUE .. queue, 1, id)
      return id, queue
    end
    at = at - lengths[i]
  end
end

function circuit.try_with(id, its_token)
  redis.call('HSET', keys.OUTAGE .. ask.server, 'probe', id .. ':' .. its_token)
end

-- What a settlement does with it.

local function probe_again_in(step)
  state.step = step
  state.next = string.format('%.0f', clock.now + step * 1000000 * (1 - ask.dice / 4))
  state.probe = ''
  local key = keys.OUTAGE .. ask.server
  redis.call('HSET', key, 'step', step, 'next', state.next, 'probe', '', 'failures', state.failures)
  redis.call('HSET', keys.FLOW, 'outage:' .. ask.server, state.since .. ' ' .. clock.seconds(tonumber(state.next)))
end

local function open()
  state = { since = clock.seconds(clock.now), token = redis.call('GET', keys.TOKEN) or '0', failures = 0 }
  redis.call('HSET', keys.OUTAGE .. ask.server, 'since', state.since, 'token', state.token)
  probe_again_in(ask.probing.first)
end

local function close()
  state = nil
  redis.call('DEL', keys.OUTAGE .. ask.server)
  redis.call('HDEL', keys.FLOW, 'outage:' .. ask.server)
  wake()
end

-- Whether a mail that waited for the server before is to blame itself, since that has taken others since.
function circuit.blames_itself(entry, job)
  return entry.otherwise and job.waited and not state
end

local function heed_outage(entry, is_probe)
  local says
  if not state then
    open()
    says = AWAY
  elseif is_probe then
    state.failures = tonumber(state.failures) + 1
    probe_again_in(math.min(tonumber(state.step) * 2, ask.probing.most))
  end
  if entry.alert and not state.alerted then
    state.alerted = '1'
    redis.call('HSET', keys.OUTAGE .. ask.server, 'alerted', '1')
    says = ACCOUNT_REFUSED
  end
  return says
end

-- Do what the end of a mail says about the ask.server, and return what that is, or nil.
function circuit.heed(entry)
  local is_probe = state and state.probe == entry.id .. ':' .. entry.token
  if entry.is_outage then
    return heed_outage(entry, is_probe)
  end
  -- A mail that was claimed before the circuit opened says nothing about the server since.
  if state and entry.reached and tonumber(entry.token) > tonumber(state.token) then
    close()
    return BACK
  end
  if is_probe then -- ended without a word to the server
    state.probe, state.next = '', string.format('%.0f', clock.now)
    redis.call('HSET', keys.OUTAGE .. ask.server, 'probe', '', 'next', state.next)
  end
end
