-- Write what became of jobs that a worker had.
-- ARGV  one JSON object: worker, now (its clock, for display), keep (s that a sent job stays visible),
--   server (name of the mail server), probing: {first, most} (s between two probes), throttling: the same of a domain,
--   dice (0 to 1), batch: a list of entries, see Settlement in settlement.py
-- Result  for each 1, or 0 when it changed nothing because the lease was lost; more: see Settled in settlement.py
-- Invariant  only the holder of the lease moves a job, except that sent always wins; repeating a batch changes nothing.
-- needs: ask keys clock places counters series ended staging leases domains circuit ends
local ran = 0
local verbs = {}

local function forget_worker(entry)
  redis.call('HDEL', job_key(entry.id), 'lease', 'fence', 'worker_name', 'started_at')
end

local function schedule(entry, due)
  forget_worker(entry)
  to_schedule(entry.id, entry.queue, now + due * 1000000, 'history', entry.history, 'enqueue_at_front', '1')
end

-- False when what it queued has expired: then it runs again.
function verbs.sent(entry)
  if entry.staging ~= '' and not commit(entry.staging, entry.staged) then
    to_head(entry.id, entry.queue)
    return false
  end
  ends_visibly(entry)
  return true
end

function verbs.retry(entry)
  schedule(entry, entry.due)
  if entry.reached then
    redis.call('HDEL', job_key(entry.id), 'waited')
  end
  if entry.ambiguous then
    redis.call('HSET', job_key(entry.id), 'ambiguous', '1')
    count('ambiguous', entry.counted_in, entry.label)
  end
  count('retried', entry.counted_in, entry.label)
  note('retried', entry.counted_in)
  return true
end

function verbs.wait(entry)
  if is_outage(entry) then
    redis.call('HSET', job_key(entry.id), 'history', entry.history, 'waited', '1')
    to_head(entry.id, entry.queue)
  else
    schedule(entry, entry.due)
  end
  count('waited', entry.counted_in, entry.label)
  return true
end

function verbs.throttle(entry, job)
  if job.domain then
    forget_worker(entry)
    throttle(job)
    park(entry.id, entry.queue, job.domain, 'history', entry.history)
  else
    schedule(entry, ask.throttling.first)
  end
  redis.call('HDEL', job_key(entry.id), 'waited', 'probe')
  count('throttled', entry.counted_in, entry.label)
  return true
end

function verbs.back(entry)
  to_head(entry.id, entry.queue)
  return true
end

function verbs.dead(entry)
  ends_dead(entry)
  return true
end

-- Of a job that Redis has forgotten only the end counts. What it queued is forgotten, too; see `always` in submit.py.
local forgotten = { sent = ends_well, dead = ends_dead }

-- Whether it has changed anything. `job`: place, lease, domain and probe of its hash.
local function settle(entry, job)
  if job.place == 'lease' and job.lease == entry.token then
    release(entry.id, entry.queue, entry.token)
    return verbs[entry.verb](entry, job)
  end
  if job.place and job.place ~= 'sent' and entry.verb == 'sent' and not entry.skipped then
    if job.place == 'lease' then
      release(entry.id, entry.queue, job.lease)
    else
      redis.call('LREM', queue_key(entry.queue), 0, entry.id)
      redis.call('ZREM', scheduled_key(entry.queue), entry.id)
    end
    return verbs.sent(entry)
  end
  if not job.place and forgotten[entry.verb] and not ended_lately(run_of(entry.id, entry.dead_letter)) then
    forgotten[entry.verb](entry)
    return true
  end
  return false
end

local function settle_and_heed(entry)
  local job = redis.call('HMGET', job_key(entry.id), 'place', 'lease', 'waited', 'domain', 'probe')
  job = { place = job[1], lease = job[2], waited = job[3], domain = job[4], probe = job[5] }
  entry = blames_itself(entry, job) and entry.otherwise or entry
  if not settle(entry, job) then
    return 0
  end
  if not is_outage(entry) and entry.verb ~= 'back' and entry.verb ~= 'throttle' then
    heed_domain(entry, job)
  end
  return heed_server(entry) or 1
end

local function count_for_worker()
  local key = worker_key(ask.worker)
  if redis.call('EXISTS', key) == 1 then -- else a late settlement would bring a dead worker back
    redis.call('HINCRBY', key, 'successful_job_count', ended_well)
    redis.call('HINCRBY', key, 'failed_job_count', dead)
    redis.call('HINCRBYFLOAT', key, 'total_working_time', ran)
  end
end

local settled, of_queue = {}, {}
read_circuit()
for i = #ask.batch, 1, -1 do -- backwards, so that jobs which return to the head keep their order
  local entry = ask.batch[i]
  settled[i] = settle_and_heed(entry)
  ran = ran + entry.seconds
  of_queue[entry.queue] = of_queue[entry.queue] or entry.verb == 'sent'
end
remember_ended(ended)
if redis.call('EXISTS', COMMITTED) == 1 then
  wake()
end
write_series()
for queue, has_sent in pairs(of_queue) do
  if has_sent then
    tidy(queue)
  end
end
count_for_worker()
return settled
