-- Write what became of jobs that a worker had.
-- ARGV  one JSON object: worker, now (its clock, for display), keep (s that a sent job stays visible),
--   server (name of the mail server), probing: {first, most} (s between two probes), throttling: the same of a domain,
--   dice (0 to 1), batch: a list of entries, see Settlement in settle.py
-- Result  for each 1, or 0 when it changed nothing because the lease was lost; more: see Settled in settle.py
-- Invariant  only the holder of the lease moves a job, except that sent always wins; repeating a batch changes nothing.
-- needs: clock counters series ended leases ends
-- may need: places staging domains circuit
ask = cjson.decode(ARGV[1])
local verbs = {}
local is_away = redis.call('EXISTS', keys.OUTAGE .. ask.server) == 1 and circuit.read() -- when the batch begins

local function forget_worker(entry)
  redis.call('HDEL', keys.JOB .. entry.id, 'lease', 'fence', 'worker_name', 'started_at')
end

local function wait_until(entry, due)
  forget_worker(entry)
  local at = clock.now + due * 1000000
  places.to_schedule(entry.id, entry.queue, at, 'history', entry.history, 'enqueue_at_front', '1')
end

-- False when what it queued has expired: then it runs again.
function verbs.sent(entry)
  if entry.staging ~= '' and not staging.commit(entry.staging, entry.staged) then
    places.to_head(entry.id, entry.queue)
    return false
  end
  ends.visibly(entry)
  return true
end

function verbs.retry(entry)
  wait_until(entry, entry.due)
  if entry.reached then
    redis.call('HDEL', keys.JOB .. entry.id, 'waited')
  end
  if entry.ambiguous then
    redis.call('HSET', keys.JOB .. entry.id, 'ambiguous', '1')
    counters.count('ambiguous', entry.counted_in, entry.label)
  end
  counters.count('retried', entry.counted_in, entry.label)
  series.note('retried', entry.counted_in)
  return true
end

function verbs.wait(entry)
  if entry.is_outage then
    redis.call('HSET', keys.JOB .. entry.id, 'history', entry.history, 'waited', '1')
    places.to_head(entry.id, entry.queue)
  else
    wait_until(entry, entry.due)
  end
  counters.count('waited', entry.counted_in, entry.label)
  return true
end

function verbs.throttle(entry, job)
  if job.domain then
    forget_worker(entry)
    domains.throttle(job)
    domains.park(entry.id, entry.queue, job.domain, 'history', entry.history)
  else
    wait_until(entry, ask.throttling.first)
  end
  redis.call('HDEL', keys.JOB .. entry.id, 'waited', 'probe')
  counters.count('throttled', entry.counted_in, entry.label)
  return true
end

function verbs.back(entry)
  places.to_head(entry.id, entry.queue)
  return true
end

function verbs.dead(entry)
  ends.dead(entry)
  return true
end

-- Of a job that Redis has forgotten only the end counts. What it queued is forgotten, too; see `always` in submit.py.
local forgotten = { sent = ends.well, dead = ends.dead }

-- Whether it has changed anything. `job`: place, lease, domain and probe of its hash.
local function settle(entry, job)
  if job.place == 'lease' and job.lease == entry.token then
    leases.release(entry.id, entry.queue, entry.token)
    return verbs[entry.verb](entry, job)
  end
  if job.place and job.place ~= 'sent' and entry.verb == 'sent' and not entry.skipped then
    if job.place == 'lease' then
      leases.release(entry.id, entry.queue, job.lease)
    else
      redis.call('LREM', keys.QUEUE .. entry.queue, 0, entry.id)
      redis.call('ZREM', keys.SCHEDULED .. entry.queue, entry.id)
    end
    return verbs.sent(entry)
  end
  if not job.place and forgotten[entry.verb] and not ended.lately(ended.run_of(entry.id, entry.dead_letter)) then
    forgotten[entry.verb](entry)
    return true
  end
  return false
end

local function settle_and_heed(entry)
  local job = redis.call('HMGET', keys.JOB .. entry.id, 'place', 'lease', 'waited', 'domain', 'probe')
  job = { place = job[1], lease = job[2], waited = job[3], domain = job[4], probe = job[5] }
  if entry.otherwise and circuit.blames_itself(entry, job) then
    entry = entry.otherwise
  end
  if not settle(entry, job) then
    return 0
  end
  if job.probe and job.domain and entry.verb ~= 'back' and entry.verb ~= 'throttle' and not entry.is_outage then
    domains.heed(entry, job)
  end
  return (is_away or entry.is_outage) and circuit.heed(entry) or 1
end

local settled, of_queue, ran = {}, {}, 0
for i = #ask.batch, 1, -1 do -- backwards, so that jobs which return to the head keep their order
  local entry = ask.batch[i]
  settled[i] = settle_and_heed(entry)
  ran = ran + entry.seconds
  of_queue[entry.queue] = of_queue[entry.queue] or entry.verb == 'sent'
end
if redis.call('EXISTS', keys.COMMITTED) == 1 then
  wake()
end
series.write()
for queue, has_sent in pairs(of_queue) do
  if has_sent then
    ends.tidy(queue)
  end
end
ends.finish(ask.worker, ran)
return settled
