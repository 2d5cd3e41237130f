-- How jobs end: sent (or skipped, when there was no mail to send after all), or as dead letters.
-- needs: clock counters series ended
local SHOWN_AT_MOST = 1000 -- of each queue, in RQ's registry of finished jobs
local runs = {}
local ended_well, dead = 0, 0

local function close(entry, what)
  table.insert(runs, ended.run_of(entry.id, entry.dead_letter))
  counters.count(what, entry.counted_in, entry.label)
  if entry.ambiguous then
    counters.count('ambiguous', entry.counted_in, entry.label)
  end
end

function ends.well(entry)
  if entry.dead_letter ~= '' then
    redis.call('RPUSH', keys.REDELIVERED, entry.dead_letter)
  end
  close(entry, entry.skipped and 'skipped' or 'completed')
  if not entry.skipped then
    series.note('sent', entry.counted_in)
  end
  ended_well = ended_well + 1
end

-- The hash of the job stays for a while, for RQ's dashboard.
function ends.visibly(entry)
  local key = keys.JOB .. entry.id
  redis.call('HDEL', key, 'lease', 'fence')
  redis.call('HSET', key, 'place', 'sent', 'status', 'finished', 'ended_at', ask.now)
  redis.call('EXPIRE', key, ask.keep)
  redis.call('ZADD', keys.FINISHED .. entry.queue, clock.seconds(clock.now + ask.keep * 1000000), entry.id)
  if entry.skipped then
    redis.call('HSET', key, 'skipped', '1')
  else
    series.note_latency(entry.counted_in, redis.call('HGET', key, 'due_at'))
  end
  ends.well(entry)
end

function ends.dead(entry)
  redis.call('HSET', keys.INBOX, entry.inbox_id, entry.record)
  redis.call('DEL', keys.JOB .. entry.id)
  close(entry, 'failed')
  series.note('dead', entry.counted_in)
  dead = dead + 1
end

-- RQ's registry keeps the newest jobs, and their hashes no longer.
function ends.tidy(queue)
  redis.call('ZREMRANGEBYSCORE', keys.FINISHED .. queue, '-inf', clock.seconds(clock.now))
  local excess = redis.call('ZCARD', keys.FINISHED .. queue) - SHOWN_AT_MOST
  if excess > 0 then
    for _, id in ipairs(redis.call('ZRANGE', keys.FINISHED .. queue, 0, excess - 1)) do
      redis.call('DEL', keys.JOB .. id)
    end
    redis.call('ZREMRANGEBYRANK', keys.FINISHED .. queue, 0, excess - 1)
  end
end

-- Once for a batch, which a worker has run for so many seconds.
function ends.finish(worker, seconds)
  ended.remember(runs)
  local key = keys.WORKER .. worker
  if redis.call('EXISTS', key) == 1 then -- else a late settlement would bring a dead worker back
    redis.call('HINCRBY', key, 'successful_job_count', ended_well)
    redis.call('HINCRBY', key, 'failed_job_count', dead)
    redis.call('HINCRBYFLOAT', key, 'total_working_time', seconds)
  end
end
