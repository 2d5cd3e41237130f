-- How jobs end: sent (or skipped, when there was no mail to send after all), or as dead letters.
-- needs: ask keys clock counters series ended
local SHOWN_AT_MOST = 1000 -- of each queue, in RQ's registry of finished jobs
local ended = {}
local ended_well, dead = 0, 0


local function ends(entry, what)
  table.insert(ended, run_of(entry.id, entry.dead_letter))
  count(what, entry.counted_in, entry.label)
  if entry.ambiguous then
    count('ambiguous', entry.counted_in, entry.label)
  end
end

local function ends_well(entry)
  if entry.dead_letter ~= '' then
    redis.call('RPUSH', 'emailqueue:redelivered', entry.dead_letter)
  end
  ends(entry, entry.skipped and 'skipped' or 'completed')
  if not entry.skipped then
    note('sent', entry.counted_in)
  end
  ended_well = ended_well + 1
end

-- The hash of the job stays for a while, for RQ's dashboard.
local function ends_visibly(entry)
  local key = job_key(entry.id)
  redis.call('HDEL', key, 'lease', 'fence')
  redis.call('HSET', key, 'place', 'sent', 'status', 'finished', 'ended_at', ask.now)
  redis.call('EXPIRE', key, ask.keep)
  redis.call('ZADD', finished_key(entry.queue), seconds(now + ask.keep * 1000000), entry.id)
  if entry.skipped then
    redis.call('HSET', key, 'skipped', '1')
  else
    note_latency(entry.counted_in, redis.call('HGET', key, 'due_at'))
  end
  ends_well(entry)
end

local function ends_dead(entry)
  redis.call('HSET', INBOX, entry.death, entry.record)
  redis.call('DEL', job_key(entry.id))
  ends(entry, 'failed')
  note('dead', entry.counted_in)
  dead = dead + 1
end

-- RQ's registry keeps the newest jobs, and their hashes no longer.
local function tidy(queue)
  redis.call('ZREMRANGEBYSCORE', finished_key(queue), '-inf', seconds(now))
  local excess = redis.call('ZCARD', finished_key(queue)) - SHOWN_AT_MOST
  if excess > 0 then
    for _, id in ipairs(redis.call('ZRANGE', finished_key(queue), 0, excess - 1)) do
      redis.call('DEL', job_key(id))
    end
    redis.call('ZREMRANGEBYRANK', finished_key(queue), 0, excess - 1)
  end
end
