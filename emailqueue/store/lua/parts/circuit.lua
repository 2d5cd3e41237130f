-- The circuit of a mail server. It opens with the first mail that finds the server away: then mail waits, and one mail
-- after the other is tried as a probe, until the server takes one. The hash outage_key(), which is there while the
-- circuit is open, has the fields
--   since (s), token: when it opened, and the newest fencing token then
--   failures, step (s), next (us): probes that failed, the wait after the last one, the time of the next one
--   probe: "ID:TOKEN" of the mail that is tried, or ''; alerted: 1 when it was said that our account is refused
-- needs: ask keys clock places
local AWAY, ACCOUNT_REFUSED, BACK = 2, 3, 4 -- what an end says about the server; see Settled in settlement.py
local circuit -- nil while it is closed
local server = ask.server

local function read_circuit()
  local found = read_hash(outage_key(server))
  circuit = found.next and found or nil
end

-- What a claim does with it.

local function probe_is_out()
  local id, its_token = string.match(circuit.probe or '', '^(.*):(%d+)$')
  return id and has_lease(id, its_token)
end

-- Whether a mail may be tried now. Else this worker comes back when the next probe is due; while one is out, its
-- settling wakes whom it concerns.
local function may_probe()
  if probe_is_out() then
    return false
  end
  local next_at = tonumber(circuit.next)
  if next_at > now then
    no_later_than(next_at)
    return false
  end
  return true
end

-- Take a mail out of its queue as a probe, another each time: one that the server does not bear must not keep the
-- circuit open. Return its id and its queue.
local function next_probe(queues)
  local lengths, total = {}, 0
  for i, queue in ipairs(queues) do
    lengths[i] = redis.call('LLEN', queue_key(queue))
    total = total + lengths[i]
  end
  if total == 0 then
    return nil
  end
  local at = (tonumber(circuit.failures) + 1) % math.min(total, 10)
  for i, queue in ipairs(queues) do
    if at < lengths[i] then
      local id = redis.call('LINDEX', queue_key(queue), at)
      redis.call('LREM', queue_key(queue), 1, id)
      return id, queue
    end
    at = at - lengths[i]
  end
end

local function is_probe_of_server(id, its_token)
  redis.call('HSET', outage_key(server), 'probe', id .. ':' .. its_token)
end

-- What a settlement does with it.

local function probe_again_in(step)
  circuit.step = step
  circuit.next = string.format('%.0f', now + step * 1000000 * (1 - ask.dice / 4))
  circuit.probe = ''
  redis.call('HSET', outage_key(server), 'step', step, 'next', circuit.next, 'probe', '', 'failures', circuit.failures)
  redis.call('HSET', FLOW, 'outage:' .. server, circuit.since .. ' ' .. seconds(tonumber(circuit.next)))
end

local function open_circuit()
  circuit = { since = seconds(now), token = redis.call('GET', 'emailqueue:token') or '0', failures = 0 }
  redis.call('HSET', outage_key(server), 'since', circuit.since, 'token', circuit.token)
  probe_again_in(ask.probing.first)
end

local function close_circuit()
  circuit = nil
  redis.call('DEL', outage_key(server))
  redis.call('HDEL', FLOW, 'outage:' .. server)
  wake()
end

-- Whether the entry says that the mail server is away.
local function is_outage(entry)
  return entry.verb == 'wait' and entry.due == 0
end

-- Whether a mail that waited for the server before is to blame itself, since that has taken others since.
local function blames_itself(entry, job)
  return is_outage(entry) and entry.otherwise and job.waited and not circuit
end

local function heed_outage(entry, is_probe)
  local says
  if not circuit then
    open_circuit()
    says = AWAY
  elseif is_probe then
    circuit.failures = tonumber(circuit.failures) + 1
    probe_again_in(math.min(tonumber(circuit.step) * 2, ask.probing.most))
  end
  if entry.alert and not circuit.alerted then
    circuit.alerted = '1'
    redis.call('HSET', outage_key(server), 'alerted', '1')
    says = ACCOUNT_REFUSED
  end
  return says
end

-- Do what the end of a mail says about the server, and return what that is, or nil.
local function heed_server(entry)
  local is_probe = circuit and circuit.probe == entry.id .. ':' .. entry.token
  if is_outage(entry) then
    return heed_outage(entry, is_probe)
  end
  -- A mail that was claimed before the circuit opened says nothing about the server since.
  if circuit and entry.reached and tonumber(entry.token) > tonumber(circuit.token) then
    close_circuit()
    return BACK
  end
  if is_probe then -- ended without a word to the server
    circuit.probe, circuit.next = '', string.format('%.0f', now)
    redis.call('HSET', outage_key(server), 'probe', '', 'next', circuit.next)
  end
end
