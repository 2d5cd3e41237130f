-- Return all that the statistics show, at one moment.
-- ARGV  minutes, hours: how far back the series go
-- Result  JSON: the figures (see parts/figures.lua), suspended, oldest {queue: since when its first job waits},
--   late {queue: number of its scheduled jobs that are late}, minutes and hours {number: fields, see parts/series.lua},
--   workers [{name, value, ...} as in RQ's hash]
-- Invariant  it writes nothing.
-- needs: clock series figures
local LATE = 60 -- seconds since its time after which a scheduled job is late

-- Since when the first job of a queue that is really there waits: when it was due (Unix time), or where nobody wrote
-- that, when it was made (ISO). Ids of cancelled ones may stand before it.
local function oldest(queue)
  for _, id in ipairs(redis.call('LRANGE', keys.QUEUE .. queue, 0, 9)) do
    local job = redis.call('HMGET', keys.JOB .. id, 'due_at', 'created_at')
    if job[1] or job[2] then
      return job[1] or job[2]
    end
  end
  return ''
end

local view = figures.read()
view.minutes = series.read('minute', 60, tonumber(ARGV[1]))
view.hours = series.read('hour', 3600, tonumber(ARGV[2]))
view.suspended = redis.call('EXISTS', keys.SUSPENDED) == 1
view.oldest, view.late = {}, {}
for _, queue in ipairs(figures.QUEUES) do
  view.oldest[queue] = oldest(queue)
  view.late[queue] = redis.call('ZCOUNT', keys.SCHEDULED .. queue, '-inf', clock.seconds(clock.now - LATE * 1000000))
end
view.workers = {}
for _, key in ipairs(redis.call('SMEMBERS', keys.WORKERS)) do
  local worker = read_hash(key)
  worker.name = string.sub(key, #keys.WORKER + 1)
  table.insert(view.workers, worker)
end
return cjson.encode(view)
