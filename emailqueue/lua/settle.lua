-- Write what became of jobs that a worker had.
-- ARGV  one JSON object: worker, now (its clock, for display), keep (s that a sent job stays visible), batch: a list of
--   {id, queue, counted_in (see add), label, token, letter, verb, seconds (that it ran), ...} with verb
--     sent    staging, staged: key and number of the jobs that it queued, which become visible now; '' for none
--     retry   history, due (s from now), charged (false: held, no attempt was used)
--     head    back to the head of its queue, as if it had not been claimed
--     dead    death: id of this death, record: the entry for the inbox
-- Result  for each 1, or 0 when it changed nothing because the lease was lost
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
  ends(entry, 'completed')
  note('sent', entry.counted_in)
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
  note_latency(entry.counted_in, redis.call('HGET', key, 'asked_at'), now)
  completes(entry)
  return true
end

function verbs.retry(entry)
  local key = job_key(entry.id)
  redis.call('HDEL', key, 'lease', 'fence', 'worker_name', 'started_at')
  redis.call('HSET', key, 'place', 'scheduled', 'status', 'scheduled', 'enqueue_at_front', '1', 'history', entry.history)
  redis.call('ZADD', scheduled_key(entry.queue), seconds(now + entry.due * 1000000), entry.id)
  if entry.ambiguous then
    redis.call('HSET', key, 'ambiguous', '1')
    count('ambiguous', entry.counted_in, entry.label)
  end
  count(entry.charged and 'retried' or 'held', entry.counted_in, entry.label)
  if entry.charged then
    note('retried', entry.counted_in)
  end
  return true
end

function verbs.head(entry)
  to_head(entry.id, entry.queue)
  return true
end

function verbs.dead(entry)
  redis.call('HSET', INBOX, entry.death, entry.record)
  redis.call('DEL', job_key(entry.id))
  ends(entry, 'failed')
  note('dead', entry.counted_in)
  failed = failed + 1
  return true
end

-- Of a job that Redis has forgotten only the end counts. What it queued is forgotten, too; see `always` in submit.py.
local forgotten = { sent = completes, dead = verbs.dead }

-- Backwards, so that jobs which return to the head keep their order.
for i = #ask.batch, 1, -1 do
  local entry = ask.batch[i]
  local job = redis.call('HMGET', job_key(entry.id), 'place', 'lease')
  if job[1] == 'lease' and job[2] == entry.token then
    release(entry.id, entry.queue, entry.token)
    settled[i] = verbs[entry.verb](entry) and 1 or 0
  elseif entry.verb == 'sent' and job[1] and job[1] ~= 'sent' then
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
  ran = ran + entry.seconds
end

write_series(now)
remember_ended(ended)
if redis.call('EXISTS', COMMITTED) == 1 then
  wake()
end

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
