-- Tell all that the statistics show, at one moment.
-- ARGV  minutes, hours: how far back the series go
-- Result  JSON: now (Unix time), queues {name: {waiting, active, delayed, oldest}}, counters, inbox, suspended,
--   flow (see flow.py), throttled [domain, Unix time, ...], minutes and hours {number: fields, see series.lua},
--   workers [{name, value, ...} as in RQ's hash]
-- Invariant  it writes nothing.
local now = now_us()

local function hash(key)
  local fields = redis.call('HGETALL', key)
  local found = {}
  for i = 1, #fields, 2 do
    found[fields[i]] = fields[i + 1]
  end
  return found
end

local function series(kind, seconds_each, count)
  local found = {}
  local last = math.floor(now / 1000000 / seconds_each)
  for number = last - count + 1, last do
    local key = string.format('%.0f', number)
    found[key] = hash('emailqueue:' .. kind .. ':' .. key)
  end
  return found
end

-- Since when the first job of a queue that is really there waits: when it was due (Unix time), or where nobody wrote
-- that, when it was made (ISO). Ids of cancelled ones may stand before it.
local function oldest(queue)
  for _, id in ipairs(redis.call('LRANGE', queue_key(queue), 0, 9)) do
    local job = redis.call('HMGET', job_key(id), 'due_at', 'created_at')
    if job[1] or job[2] then
      return job[1] or job[2]
    end
  end
  return ''
end

local view = {
  now = now / 1000000,
  queues = {},
  counters = hash(COUNTERS),
  inbox = redis.call('HLEN', INBOX),
  suspended = redis.call('EXISTS', RQ .. ':suspended') == 1,
  flow = hash(FLOW),
  throttled = redis.call('ZRANGEBYSCORE', THROTTLED, '(0', '+inf', 'WITHSCORES', 'LIMIT', 0, 100),
  minutes = series('minute', 60, tonumber(ARGV[1])),
  hours = series('hour', 3600, tonumber(ARGV[2])),
  workers = {},
}
for _, queue in ipairs({ 'critical', 'high', 'normal', 'low', 'events' }) do
  view.queues[queue] = {
    waiting = redis.call('LLEN', queue_key(queue)),
    active = redis.call('ZCARD', RQ .. ':wip:' .. queue),
    delayed = redis.call('ZCARD', scheduled_key(queue)),
    oldest = oldest(queue),
  }
end
for _, key in ipairs(redis.call('SMEMBERS', RQ .. ':workers')) do
  local worker = hash(key)
  worker.name = string.sub(key, #(RQ .. ':worker:') + 1)
  view.workers[#view.workers + 1] = worker
end
return cjson.encode(view)
