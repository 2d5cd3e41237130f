-- Give a worker the next jobs, and tell it how long to wait for more.
-- ARGV  one JSON object:
--   worker, ttl (s): name and lifetime of the worker's entry; now: its clock, for display
--   state: busy or idle, for display, or '' when nothing is to be written
--   queues: mail queues in the order of priority; events: name of the event queue, or '' when it is not served
--   room: how many jobs it takes in all; event_room: how many of them may be event jobs; in_hand: jobs that it has already
--   lease (s); interval (us between two mails, 0 no limit); burst; idle (ms); figures: whether to count
-- Result  {wait (us), left, alone, letters in the inbox, figures as JSON or '', job, job, ...}
--   left: 1 when mail waits for a token or to be drained, 2 when all workers are suspended; alone: 1 when the next job
--   wants an empty worker
--   job: {id, queue, token, label, data, plan, history, crashes, ambiguous, letter, created_at, cause}
-- Invariant  a job is in one place only; of the ids in a queue each job is handed out once, however often it stands there.
local ask = cjson.decode(ARGV[1])
local now = now_us()
local worker_key = RQ .. ':worker:' .. ask.worker
local wait = ask.idle * 1000

local function no_later_than(us)
  wait = math.max(0, math.min(wait, us - now))
end

-- Due jobs leave the schedule. A retry goes to the head: it stood in line before. A scheduled mail goes to the end.
local function promote(queue)
  local scheduled = scheduled_key(queue)
  local first = redis.call('ZRANGE', scheduled, 0, 0, 'WITHSCORES')
  if first[1] and tonumber(first[2]) * 1000000 <= now then
    local ids = redis.call('ZRANGEBYSCORE', scheduled, '-inf', seconds(now), 'LIMIT', 0, 500)
    redis.call('ZREM', scheduled, unpack(ids))
    for i = #ids, 1, -1 do
      local job = redis.call('HMGET', job_key(ids[i]), 'place', 'enqueue_at_front')
      if job[1] == 'lease' or job[1] == 'sent' then -- a stranger scheduled it
        ids[i] = false
      elseif job[2] == '1' then
        to_head(ids[i], queue)
        ids[i] = false
      end
    end
    for _, id in ipairs(ids) do
      if id and redis.call('EXISTS', job_key(id)) == 1 then
        redis.call('HSET', job_key(id), 'place', 'queue', 'status', 'queued')
        redis.call('RPUSH', queue_key(queue), id)
      end
    end
    first = redis.call('ZRANGE', scheduled, 0, 0, 'WITHSCORES')
  end
  if first[1] then
    no_later_than(tonumber(first[2]) * 1000000)
  end
end

-- Jobs of workers that died go back to the head. One that was fenced may have been sent: ambiguous.
local function reap()
  local first = redis.call('ZRANGE', LEASES, 0, 0, 'WITHSCORES')
  if first[1] and tonumber(first[2]) * 1000000 <= now then
    local ids = redis.call('ZRANGEBYSCORE', LEASES, '-inf', seconds(now), 'LIMIT', 0, 100)
    for i = #ids, 1, -1 do
      local id = ids[i]
      local job = redis.call('HMGET', job_key(id), 'place', 'lease', 'fence', 'origin', 'description')
      if job[1] == 'lease' then
        release(id, job[4], job[2])
        redis.call('HINCRBY', job_key(id), 'crashes', 1)
        if job[3] == job[2] then
          redis.call('HSET', job_key(id), 'ambiguous', 1)
          count('ambiguous', job[4], job[5])
        end
        to_head(id, job[4])
      else
        redis.call('ZREM', LEASES, id)
      end
    end
    first = redis.call('ZRANGE', LEASES, 0, 0, 'WITHSCORES')
  end
  if first[1] then
    no_later_than(tonumber(first[2]) * 1000000)
  end
end

local jobs = {}
local token
local alone = 0

local function lease(id, queue)
  token = token or string.format('%.0f', redis.call('INCR', 'emailqueue:token'))
  local execution = id .. ':' .. token
  local key = job_key(id)
  redis.call('ZADD', LEASES, seconds(now + ask.lease * 1000000), id)
  redis.call('HSET', key, 'place', 'lease', 'lease', token, 'claimed_at', seconds(now),
    'status', 'started', 'started_at', ask.now, 'worker_name', ask.worker, 'origin', queue)
  -- Not in rq:worker:NAME:executions: django-rq's page of a worker fails on a running job whose data is JSON.
  redis.call('ZADD', RQ .. ':wip:' .. queue, FAR_FUTURE, execution)
  redis.call('HSET', RQ .. ':execution:' .. execution, 'id', token, 'job_id', id, 'created_at', seconds(now),
    'last_heartbeat', seconds(now), 'worker_name', ask.worker)
  redis.call('EXPIRE', RQ .. ':execution:' .. execution, 86400)
end

-- Take up to `wanted` jobs from one queue. False when the queue still holds work that this worker must not take.
local function take(queue, wanted)
  local taken = 0
  while taken < wanted do
    local id = redis.call('LPOP', queue_key(queue))
    if not id then
      return taken
    end
    local job = redis.call('HMGET', job_key(id),
      'place', 'crashes', 'description', 'data', 'plan', 'history', 'ambiguous', 'letter', 'created_at', 'cause')
    local place, crashes = job[1], tonumber(job[2] or 0)
    local gone = not place and redis.call('EXISTS', job_key(id)) == 0
    local held = place == 'lease' and redis.call('ZSCORE', LEASES, id)
    if not (gone or held or place == 'sent') then
      if crashes > 0 and ask.in_hand + #jobs > 0 then
        redis.call('LPUSH', queue_key(queue), id)
        alone = 1
        return taken
      end
      if place == 'scheduled' then -- a dashboard put it into the queue before its time
        redis.call('ZREM', scheduled_key(queue), id)
      end
      lease(id, queue)
      jobs[#jobs + 1] = { id, queue, token, job[3], job[4], job[5], job[6], crashes, job[7], job[8], job[9], job[10] }
      taken = taken + 1
      if crashes > 0 then -- alone in its worker: should it kill this one, too, it takes no other with it
        alone = 1
        return taken
      end
    end
  end
  return taken
end

-- Whether any of the queues has something under key_of(queue). One command for all: idle workers must cost little.
local function any(key_of, queues)
  local keys = {}
  for i, queue in ipairs(queues) do
    keys[i] = key_of(queue)
  end
  return #keys > 0 and redis.call('EXISTS', unpack(keys)) > 0
end

if ask.state ~= '' then
  redis.call('HSET', worker_key, 'last_heartbeat', ask.now, 'state', ask.state)
  redis.call('EXPIRE', worker_key, ask.ttl)
end

local served = { unpack(ask.queues) }
if ask.events ~= '' then
  table.insert(served, 1, ask.events)
end

local left = 0
if drain(now) then
  left = 1
  no_later_than(now)
end
if redis.call('EXISTS', RQ .. ':suspended') == 1 then
  left = 2
  no_later_than(now + 1000000)
else
  if any(scheduled_key, served) then
    for _, queue in ipairs(served) do
      promote(queue)
    end
  end
  reap()
end

if left ~= 2 and any(queue_key, served) then
  local events = 0
  if ask.events ~= '' and ask.event_room > 0 then
    events = take(ask.events, math.min(ask.event_room, ask.room))
  end

  -- GCRA (the leaky bucket as a meter): `next_at` is the time of the first mail that has no token yet.
  local room = ask.room - events
  local tokens = room
  local next_at = now
  if ask.interval > 0 then
    next_at = math.max(now, tonumber(redis.call('GET', 'emailqueue:limit') or 0))
    tokens = math.min(tokens, math.floor((now - next_at) / ask.interval + ask.burst))
  end
  local mails = 0
  for _, queue in ipairs(ask.queues) do
    if alone == 0 and mails < tokens then
      mails = mails + take(queue, tokens - mails)
    end
  end
  if ask.interval > 0 and mails > 0 then
    next_at = next_at + mails * ask.interval
    redis.call('SET', 'emailqueue:limit', string.format('%.0f', next_at), 'PX', math.ceil((next_at - now) / 1000) + 60000)
  end

  local limited = ask.interval > 0 and mails < room and mails >= tokens
  if limited and any(queue_key, ask.queues) then
    left = 1
    no_later_than(next_at - (ask.burst - 1) * ask.interval)
  elseif #jobs > 0 and (mails == room or events == ask.event_room) then
    if any(queue_key, served) then
      wake()
    end
  end
end

local figures = ''
if ask.figures then
  local counted = { rate = ask.interval > 0 and 1000000 / ask.interval or 0, queues = {} }
  for _, queue in ipairs({ 'critical', 'high', 'normal', 'low', 'events' }) do
    counted.queues[queue] = {
      waiting = redis.call('LLEN', queue_key(queue)),
      active = redis.call('ZCARD', RQ .. ':wip:' .. queue),
      delayed = redis.call('ZCARD', scheduled_key(queue)),
      foreign = redis.call('ZCARD', RQ .. ':failed:' .. queue),
    }
  end
  local counters = redis.call('HGETALL', COUNTERS)
  counted.counters = {}
  for i = 1, #counters, 2 do
    counted.counters[counters[i]] = tonumber(counters[i + 1])
  end
  figures = cjson.encode(counted)
end

return { math.ceil(wait), left, alone, redis.call('HLEN', INBOX), figures, unpack(jobs) }
