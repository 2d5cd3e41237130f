-- Write what became of jobs that a worker had.
-- ARGV  one JSON object: worker, now (its clock, for display), keep (s that a sent job stays visible),
--   server (name of the mail server), probing: {first, most} (s between two probes), throttling: likewise, of a domain,
--   dice (0 to 1), batch: a list of
--   {id, queue, counted_in (see add), label, token, letter, verb, seconds (that it ran), reached (the server answered as
--   one that takes mail), ...} with verb
--     sent    skipped: true when there was no mail to send after all;
--             staging, staged: key and number of the jobs that it queued, which become visible now; '' for none
--     retry   history, due (s from now)
--     wait    history: what it needs is away, and no attempt is charged. due (s from now): a part of ours; 0: the mail
--             server. Then also alert (our account is refused) and otherwise: another entry, for a mail that is to blame
--             itself
--     throttle  history: its domain asks us to go slower, and no attempt is charged
--     back    to the head of its queue, as if it had not been claimed
--     dead    death: id of this death, record: the entry for the inbox
-- Result  for each 1, or 0 when it changed nothing because the lease was lost; 2 when it opened the circuit of the mail
--   server, 3 when our account is refused for the first time in this outage, 4 when it closed the circuit
-- Invariant  only the holder of the lease moves a job, except that sent always wins; repeating a batch changes nothing.
--   What a Redis that has forgotten the job is told of its end is kept, too: it was sent, or it is a dead letter.
local ask = cjson.decode(ARGV[1])
local now = now_us()
local settled = {}
local done, failed, ran = 0, 0, 0
local ended = {}

-- What is left to do for a job whose end is known, wherever its hash is.
local function ends(entry, what)
  ended[#ended + 1] = run_of(entry.id, entry.letter)
  count(what, entry.counted_in, entry.label)
  if entry.ambiguous then
    count('ambiguous', entry.counted_in, entry.label)
  end
end

local function completes(entry)
  if entry.letter ~= '' then
    redis.call('RPUSH', 'emailqueue:redelivered', entry.letter)
  end
  if entry.skipped then
    ends(entry, 'skipped')
  else
    ends(entry, 'completed')
    note('sent', entry.counted_in)
  end
  done = done + 1
end

local verbs = {}

-- False when what it queued has expired: then it runs again.
function verbs.sent(entry)
  if entry.staging ~= '' and not commit(entry.staging, entry.staged) then
    to_head(entry.id, entry.queue)
    return false
  end
  local key = job_key(entry.id)
  redis.call('HDEL', key, 'lease', 'fence')
  redis.call('HSET', key, 'place', 'sent', 'status', 'finished', 'ended_at', ask.now)
  redis.call('EXPIRE', key, ask.keep)
  local finished = RQ .. ':finished:' .. entry.queue
  redis.call('ZADD', finished, seconds(now + ask.keep * 1000000), entry.id)
  if entry.skipped then
    redis.call('HSET', key, 'skipped', '1')
  else
    note_latency(entry.counted_in, redis.call('HGET', key, 'due_at'), now)
  end
  completes(entry)
  return true
end

local function schedule(entry)
  local key = job_key(entry.id)
  redis.call('HDEL', key, 'lease', 'fence', 'worker_name', 'started_at')
  redis.call('HSET', key, 'place', 'scheduled', 'status', 'scheduled', 'enqueue_at_front', '1', 'history', entry.history)
  if entry.reached then
    redis.call('HDEL', key, 'waited')
  end
  redis.call('ZADD', scheduled_key(entry.queue), seconds(now + entry.due * 1000000), entry.id)
end

function verbs.retry(entry)
  schedule(entry)
  if entry.ambiguous then
    redis.call('HSET', job_key(entry.id), 'ambiguous', '1')
    count('ambiguous', entry.counted_in, entry.label)
  end
  count('retried', entry.counted_in, entry.label)
  note('retried', entry.counted_in)
  return true
end

function verbs.back(entry)
  to_head(entry.id, entry.queue)
  return true
end

-- Whether the mail server is away: no fault of this mail.
local function is_outage(entry)
  return entry.verb == 'wait' and entry.due == 0
end

function verbs.wait(entry)
  if is_outage(entry) then
    redis.call('HSET', job_key(entry.id), 'history', entry.history, 'waited', '1')
    to_head(entry.id, entry.queue)
  else
    schedule(entry)
  end
  count('waited', entry.counted_in, entry.label)
  return true
end

local function throttle(domain, is_probe)
  local next_at = tonumber(redis.call('ZSCORE', THROTTLED, domain) or 0)
  if not is_probe and next_at * 1000000 > now then
    return -- it was claimed before the domain was throttled
  end
  local step = tonumber(redis.call('HGET', throttled_key(domain), 'step'))
  step = step and math.min(step * 2, ask.throttling.most) or ask.throttling.first
  redis.call('HSET', throttled_key(domain), 'step', step)
  redis.call('EXPIRE', throttled_key(domain), 2 * math.ceil(step) + 3600)
  redis.call('ZADD', THROTTLED, seconds(now + step * 1000000 * (1 - ask.dice / 4)), domain)
end

function verbs.throttle(entry, job)
  local key = job_key(entry.id)
  redis.call('HDEL', key, 'lease', 'fence', 'worker_name', 'started_at', 'waited', 'probe')
  redis.call('HSET', key, 'history', entry.history)
  count('throttled', entry.counted_in, entry.label)
  if job.domain then
    throttle(job.domain, job.probe)
    park(entry.id, entry.queue, job.domain, now)
  else
    redis.call('HSET', key, 'place', 'scheduled', 'status', 'scheduled', 'enqueue_at_front', '1')
    redis.call('ZADD', scheduled_key(entry.queue), seconds(now + ask.throttling.first * 1000000), entry.id)
  end
  return true
end

-- What the end of a probe says about its domain. One that goes back into its queue stays the probe.
local function heed_domain_probe(entry, job)
  if not (job.probe and job.domain) or entry.verb == 'back' or entry.verb == 'throttle' or is_outage(entry) then
    return
  end
  redis.call('HDEL', job_key(entry.id), 'probe')
  if entry.reached then
    redis.call('ZADD', THROTTLED, 'XX', 0, job.domain)
    redis.call('DEL', throttled_key(job.domain))
  else -- it ended without a word to the domain: another one at once
    redis.call('ZADD', THROTTLED, 'XX', seconds(now), job.domain)
  end
  wake()
end

function verbs.dead(entry)
  redis.call('HSET', INBOX, entry.death, entry.record)
  redis.call('DEL', job_key(entry.id))
  ends(entry, 'failed')
  note('dead', entry.counted_in)
  failed = failed + 1
  return true
end

-- `circuit` is nil while the server takes mail.
local server = ask.server or ''
local circuit = redis.call('EXISTS', outage_key(server)) == 1 and read_circuit(server) or nil

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

-- What the end of a mail says about the server. Return the entry's result.
local function heed(entry)
  local is_probe = circuit and circuit.probe == entry.id .. ':' .. entry.token
  local result = 1
  if is_outage(entry) then
    if not circuit then
      open_circuit()
      result = 2
    elseif is_probe then
      circuit.failures = tonumber(circuit.failures) + 1
      probe_again_in(math.min(tonumber(circuit.step) * 2, ask.probing.most))
    end
    if entry.alert and not circuit.alerted then
      circuit.alerted = '1'
      redis.call('HSET', outage_key(server), 'alerted', '1')
      result = 3
    end
  -- A mail that was claimed before the circuit opened says nothing about the server since.
  elseif circuit and entry.reached and tonumber(entry.token) > tonumber(circuit.token) then
    close_circuit()
    result = 4
  elseif is_probe then -- ended without a word to the server
    circuit.probe, circuit.next = '', string.format('%.0f', now)
    redis.call('HSET', outage_key(server), 'probe', '', 'next', circuit.next)
  end
  return result
end

-- A mail that waited for the server before, while that has taken others since, is to blame itself.
local function fairly(entry, has_waited)
  if is_outage(entry) and entry.otherwise and has_waited and not circuit then
    return entry.otherwise
  end
  return entry
end
-- Of a job that Redis has forgotten only the end counts. What it queued is forgotten, too; see `always` in submit.py.
local forgotten = { sent = completes, dead = verbs.dead }

-- Backwards, so that jobs which return to the head keep their order.
for i = #ask.batch, 1, -1 do
  local entry = ask.batch[i]
  local job = redis.call('HMGET', job_key(entry.id), 'place', 'lease', 'waited', 'domain', 'probe')
  local about = { domain = job[4], probe = job[5] }
  if job[1] == 'lease' and job[2] == entry.token then
    entry = fairly(entry, job[3])
    release(entry.id, entry.queue, entry.token)
    settled[i] = verbs[entry.verb](entry, about) and 1 or 0
  elseif entry.verb == 'sent' and not entry.skipped and job[1] and job[1] ~= 'sent' then
    if job[1] == 'lease' then
      release(entry.id, entry.queue, job[2])
    else
      redis.call('LREM', queue_key(entry.queue), 0, entry.id)
      redis.call('ZREM', scheduled_key(entry.queue), entry.id)
    end
    settled[i] = verbs.sent(entry) and 1 or 0
  elseif not job[1] and forgotten[entry.verb] and not ended_lately(run_of(entry.id, entry.letter)) then
    forgotten[entry.verb](entry)
    settled[i] = 1
  else
    settled[i] = 0
  end
  if settled[i] == 1 then
    heed_domain_probe(entry, about)
    settled[i] = heed(entry)
  end
  ran = ran + entry.seconds
end

remember_ended(ended)
if redis.call('EXISTS', COMMITTED) == 1 then
  wake()
end
write_series(now)

-- RQ's registry of finished jobs keeps the newest thousand of each queue, and their hashes no longer.
local tidied = {}
for _, entry in ipairs(ask.batch) do
  if entry.verb == 'sent' and not tidied[entry.queue] then
    tidied[entry.queue] = true
    local finished = RQ .. ':finished:' .. entry.queue
    redis.call('ZREMRANGEBYSCORE', finished, '-inf', seconds(now))
    local excess = redis.call('ZCARD', finished) - 1000
    if excess > 0 then
      for _, id in ipairs(redis.call('ZRANGE', finished, 0, excess - 1)) do
        redis.call('DEL', job_key(id))
      end
      redis.call('ZREMRANGEBYRANK', finished, 0, excess - 1)
    end
  end
end

local worker_key = RQ .. ':worker:' .. ask.worker
if redis.call('EXISTS', worker_key) == 1 then -- else a late settle would bring a dead worker back
  redis.call('HINCRBY', worker_key, 'successful_job_count', done)
  redis.call('HINCRBY', worker_key, 'failed_job_count', failed)
  redis.call('HINCRBYFLOAT', worker_key, 'total_working_time', ran)
end
return settled
