-- Give a worker the next jobs, and tell it how long to wait for more.
-- ARGV  one JSON object:
--   worker, ttl (s): name and lifetime of the worker's entry; now: its clock, for display
--   state: busy or idle, for display, or '' when nothing is to be written
--   server: name of the mail server, for its circuit
--   queues: mail queues in the order of priority; events: name of the event queue, or '' when it is not served
--   room: how many jobs it takes in all; event_room: how many of them may be event jobs; in_hand: jobs that it has already
--   lease (s); interval (us between two mails, 0 no limit) and burst, unless staff have set a limit; idle (ms)
--   figures: whether to count; fair: millionths of the mails that go to other queues than the most urgent one
-- Result  {wait (us), left, alone, letters in the inbox, figures as JSON or '', job, job, ...}
--   left: 1 when mail waits for a token or to be drained, 2 when all workers are suspended; alone: 1 when the next job
--   wants an empty worker
--   job: {id, queue, token, label, data, plan, history, crashes, ambiguous, letter, created_at, cause, due_at, claimed_at,
--   fair}
-- Invariant  a job is in one place only; of the ids in a queue each job is handed out once, however often it stands there.
local ask = cjson.decode(ARGV[1])
local now = now_us()
local worker_key = RQ .. ':worker:' .. ask.worker
local wait = ask.idle * 1000

-- Most claims find nothing at all. One command tells, so that an idle worker costs little.
local function nothing_is_there()
  local keys = { RQ .. ':suspended', COMMITTED, LEASES }
  for _, queue in ipairs({ ask.events, unpack(ask.queues) }) do
    keys[#keys + 1] = queue_key(queue)
    keys[#keys + 1] = scheduled_key(queue)
  end
  return redis.call('EXISTS', unpack(keys)) == 0
end

local idle = not ask.figures and nothing_is_there()
local flow = idle and {} or read_flow()

local function no_later_than(us)
  wait = math.max(0, math.min(wait, us - now))
end

-- The limit in force: microseconds between two mails, and how many may go out at once.
local function limit_in_force()
  local rate, burst = string.match(flow.limit or '', '^(%S+) (%d+)$')
  if not rate then
    return ask.interval, ask.burst
  end
  return tonumber(rate) > 0 and 1000000 / tonumber(rate) or 0, tonumber(burst)
end

-- Those queues that nobody has paused.
local function not_paused(queues)
  local running = {}
  for _, queue in ipairs(queues) do
    if not flow['paused:' .. queue] then
      running[#running + 1] = queue
    end
  end
  return running
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

-- Back to the head of its queue, unless it was cancelled or moved meanwhile. Return whether it was.
local function unpark(id)
  local job = redis.call('HMGET', job_key(id), 'place', 'parked', 'origin')
  if job[1] ~= 'scheduled' or job[2] ~= '1' then
    return false
  end
  redis.call('ZREM', scheduled_key(job[3]), id)
  to_head(id, job[3])
  return true
end

-- Let one mail of a throttled domain try. The next one follows after the same wait, should this one never be heard of.
local function send_probe(domain)
  local step, probe = unpack(redis.call('HMGET', throttled_key(domain), 'step', 'probe'))
  local is_out = probe and redis.call('HGET', job_key(probe), 'probe') == '1'
  while not is_out do
    probe = redis.call('LPOP', parked_key(domain))
    if not probe then -- nothing waits: the next mail of the domain may try
      redis.call('ZREM', THROTTLED, domain)
      return
    end
    is_out = unpark(probe)
  end
  redis.call('HSET', job_key(probe), 'probe', '1')
  redis.call('HSET', throttled_key(domain), 'probe', probe)
  redis.call('EXPIRE', throttled_key(domain), 2 * math.ceil(tonumber(step or 60)) + 3600)
  redis.call('ZADD', THROTTLED, seconds(now + tonumber(step or 60) * 1000000), domain)
end

local function bring_back(domain)
  local ids = redis.call('LRANGE', parked_key(domain), 0, 499)
  redis.call('LTRIM', parked_key(domain), 500, -1)
  for i = #ids, 1, -1 do
    unpark(ids[i])
  end
  if #ids < 500 then
    redis.call('ZREM', THROTTLED, domain)
  end
end

local function look_after_domains()
  local due = redis.call('ZRANGEBYSCORE', THROTTLED, '-inf', seconds(now), 'WITHSCORES', 'LIMIT', 0, 10)
  for i = 1, #due, 2 do
    if tonumber(due[i + 1]) == 0 then
      bring_back(due[i])
    else
      send_probe(due[i])
    end
  end
  local first = redis.call('ZRANGE', THROTTLED, 0, 0, 'WITHSCORES')
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
local numbered = 0
local alone = 0
local parked = 0
local any_throttled
local fair = 0 -- 1 while the oldest mail is handed out instead of the most urgent

-- Where the job stood in its queue when it was first taken out of it. It keeps the number when it goes back.
local function next_order()
  token = token or string.format('%.0f', redis.call('INCR', 'emailqueue:token'))
  numbered = numbered + 1
  return string.format('%.0f', tonumber(token) * 10000 + numbered)
end

local function lease(id, queue, order)
  order = order or next_order()
  token = token or string.format('%.0f', redis.call('INCR', 'emailqueue:token'))
  local execution = id .. ':' .. token
  local key = job_key(id)
  redis.call('ZADD', LEASES, seconds(now + ask.lease * 1000000), id)
  redis.call('HSET', key, 'place', 'lease', 'lease', token, 'claimed_at', seconds(now),
    'status', 'started', 'started_at', ask.now, 'worker_name', ask.worker, 'origin', queue, 'order', order)
  -- Not in rq:worker:NAME:executions: django-rq's page of a worker fails on a running job whose data is JSON.
  redis.call('ZADD', RQ .. ':wip:' .. queue, FAR_FUTURE, execution)
  redis.call('HSET', RQ .. ':execution:' .. execution, 'id', token, 'job_id', id, 'created_at', seconds(now),
    'last_heartbeat', seconds(now), 'worker_name', ask.worker)
  redis.call('EXPIRE', RQ .. ':execution:' .. execution, 86400)
end

local function is_throttled(domain)
  if any_throttled == nil then
    any_throttled = redis.call('EXISTS', THROTTLED) == 1
  end
  local next_at = any_throttled and tonumber(redis.call('ZSCORE', THROTTLED, domain) or 0) * 1000000 or 0
  if next_at > now then
    no_later_than(next_at)
  end
  return next_at > now
end

-- Hand out one id that was popped. 1: it was; 0: it stands there in vain; -1: it wants an empty worker and went back.
local function hand_out(id, queue)
  local job = redis.call('HMGET', job_key(id),
    'place', 'crashes', 'description', 'data', 'plan', 'history', 'ambiguous', 'letter', 'created_at', 'due_at', 'order',
    'domain', 'probe', 'cause')
  local place, crashes = job[1], tonumber(job[2] or 0)
  local gone = not place and redis.call('EXISTS', job_key(id)) == 0
  local held = place == 'lease' and redis.call('ZSCORE', LEASES, id)
  if gone or held or place == 'sent' then
    return 0
  end
  if job[12] and not job[13] and is_throttled(job[12]) then
    redis.call('HSET', job_key(id), 'order', job[11] or next_order())
    park(id, queue, job[12], now)
    parked = parked + 1
    return 0
  end
  if crashes > 0 and ask.in_hand + #jobs > 0 then
    to_head(id, queue)
    alone = 1
    return -1
  end
  if place == 'scheduled' then -- a dashboard put it into the queue before its time
    redis.call('ZREM', scheduled_key(queue), id)
  end
  lease(id, queue, job[11])
  jobs[#jobs + 1] =
    { id, queue, token, job[3], job[4], job[5], job[6], crashes, job[7], job[8], job[9], job[14], job[10], seconds(now),
      fair }
  if crashes > 0 then -- alone in its worker: should it kill this one, too, it takes no other with it
    alone = 1
  end
  return 1
end

-- Take up to `wanted` jobs from one queue, and return how many it were.
local function take(queue, wanted)
  local taken = 0
  while taken < wanted and alone == 0 do
    if parked >= 500 then -- enough for one call; the rest follows at once
      no_later_than(now)
      return taken
    end
    local id = redis.call('LPOP', queue_key(queue))
    if not id then
      return taken
    end
    taken = taken + math.max(0, hand_out(id, queue))
  end
  return taken
end

-- How many of the queues have something under key_of(queue). One command for all: idle workers must cost little.
local function how_many(key_of, queues)
  local keys = {}
  for i, queue in ipairs(queues) do
    keys[i] = key_of(queue)
  end
  return #keys > 0 and redis.call('EXISTS', unpack(keys)) or 0
end

local function any(key_of, queues)
  return how_many(key_of, queues) > 0
end

-- Of the queues behind the most urgent one that has mail, the one whose first mail has waited longest.
local function longest_waiting(queues)
  local oldest, since
  local urgent = true
  for _, queue in ipairs(queues) do
    local id = redis.call('LINDEX', queue_key(queue), 0)
    if id and not urgent then
      local due_at = tonumber(redis.call('HGET', job_key(id), 'due_at') or 0)
      if not since or due_at < since then
        oldest, since = queue, due_at
      end
    end
    urgent = urgent and not id
  end
  return oldest
end

-- Where several queues have mail, a share goes to the oldest. The millionths of a turn that are due are kept in Redis,
-- so that the share holds over all workers. Return how many of `wanted` were taken so.
local function take_fair_share(queues, wanted)
  local credit = tonumber(flow.credit or 0) + wanted * ask.fair
  local taken = 0
  fair = 1
  while credit >= 1000000 and taken < wanted and alone == 0 do
    local queue = longest_waiting(queues)
    if not queue or take(queue, 1) == 0 then
      break
    end
    credit = credit - 1000000
    taken = taken + 1
  end
  fair = 0
  flow.credit = credit
  return taken
end

-- `full`: how many queues have work, so that fairness costs nothing where one has it.
local function take_mails(queues, wanted, full)
  local mails = 0
  local shared = full > 1 and wanted > 0 and (ask.fair or 0) > 0 and how_many(queue_key, queues) > 1
  if shared then
    mails = take_fair_share(queues, wanted)
  end
  for _, queue in ipairs(queues) do
    if alone == 0 and mails < wanted then
      mails = mails + take(queue, wanted - mails)
    end
  end
  if shared and mails > 0 then
    -- What was asked for and not taken earns nothing; what could not be given is not saved up.
    local credit = math.min(flow.credit - (wanted - mails) * ask.fair, 1000000)
    redis.call('HSET', FLOW, 'credit', string.format('%.0f', math.max(0, credit)))
  end
  return mails
end

local function probe_is_out(circuit)
  local id, its_token = string.match(circuit.probe or '', '^(.*):(%d+)$')
  if not id then
    return false
  end
  local job = redis.call('HMGET', job_key(id), 'place', 'lease')
  return job[1] == 'lease' and job[2] == its_token
end

-- Whether the circuit lets a mail through now. Else this worker comes back when the next probe is due; while one is out,
-- its settling wakes whom it concerns.
local function may_probe(circuit)
  if probe_is_out(circuit) then
    return false
  end
  local next_at = tonumber(circuit.next)
  if next_at > now then
    no_later_than(next_at)
    return false
  end
  return true
end

-- Take one mail as a probe, another each time: one that the server does not bear must not keep the circuit open.
local function take_probe(queues, circuit)
  for attempt = 1, 100 do
    local lengths, total = {}, 0
    for i, queue in ipairs(queues) do
      lengths[i] = redis.call('LLEN', queue_key(queue))
      total = total + lengths[i]
    end
    if total == 0 then
      return 0
    end
    local at = (tonumber(circuit.failures) + 1) % math.min(total, 10)
    for i, queue in ipairs(queues) do
      if at < lengths[i] then
        local id = redis.call('LINDEX', queue_key(queue), at)
        redis.call('LREM', queue_key(queue), 1, id)
        local handed_out = hand_out(id, queue)
        if handed_out == 1 then
          redis.call('HSET', outage_key(ask.server), 'probe', id .. ':' .. token)
        end
        if handed_out ~= 0 then
          return math.max(0, handed_out)
        end
        break
      end
      at = at - lengths[i]
    end
  end
  return 0
end

if ask.state ~= '' then
  redis.call('HSET', worker_key, 'last_heartbeat', ask.now, 'state', ask.state)
  redis.call('EXPIRE', worker_key, ask.ttl)
end

local interval, burst = limit_in_force()
local mail_queues = not_paused(ask.queues)
local event_queue = flow['paused:' .. ask.events] and '' or ask.events
local served = { unpack(mail_queues) }
if event_queue ~= '' then
  table.insert(served, 1, event_queue)
end

local left = 0
if not idle and drain(now) then
  left = 1
  no_later_than(now)
end
if not idle and redis.call('EXISTS', RQ .. ':suspended') == 1 then
  left = 2
  no_later_than(now + 1000000)
elseif not idle then
  if any(scheduled_key, served) then
    look_after_domains()
    for _, queue in ipairs(served) do
      promote(queue)
    end
  end
  reap()
end

local full = not idle and left ~= 2 and how_many(queue_key, served) or 0
if full > 0 then
  local events = 0
  if event_queue ~= '' and ask.event_room > 0 then
    events = take(event_queue, math.min(ask.event_room, ask.room))
  end

  -- GCRA (the leaky bucket as a meter): `next_at` is the time of the first mail that has no token yet.
  local room = ask.room - events
  local tokens = room
  local next_at = now
  if interval > 0 then
    next_at = math.max(now, tonumber(redis.call('GET', 'emailqueue:limit') or 0))
    if next_at > now + burst * interval then -- the limit was lower before: it must not hold mail back any more
      next_at = now + burst * interval
      redis.call('SET', 'emailqueue:limit', string.format('%.0f', next_at), 'PX', 60000)
    end
    tokens = math.min(tokens, math.floor((now - next_at) / interval + burst))
  end
  local circuit = flow['outage:' .. (ask.server or '')] and read_circuit(ask.server)
  local lets_through = not circuit or may_probe(circuit)
  local mails = 0
  if lets_through and alone == 0 and tokens > 0 then
    mails = circuit and take_probe(mail_queues, circuit) or take_mails(mail_queues, tokens, full)
  end
  if interval > 0 and mails > 0 then
    next_at = next_at + mails * interval
    redis.call('SET', 'emailqueue:limit', string.format('%.0f', next_at), 'PX', math.ceil((next_at - now) / 1000) + 60000)
  end

  local limited = lets_through and interval > 0 and mails < room and mails >= tokens and not (circuit and mails > 0)
  if limited and any(queue_key, mail_queues) then
    left = 1
    no_later_than(next_at - (burst - 1) * interval)
  elseif #jobs > 0 and (mails == room or events == ask.event_room) then
    if any(queue_key, served) then
      wake()
    end
  end
end

local figures = ''
if ask.figures then
  local counted = { rate = interval > 0 and 1000000 / interval or 0, flow = flow, queues = {} }
  counted.throttled = redis.call('ZRANGEBYSCORE', THROTTLED, '(0', '+inf', 'LIMIT', 0, 5)
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
