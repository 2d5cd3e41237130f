-- What each script begins with. scripts.py writes the text of a key where its name stands, since Lua would look the
-- name up for each function that uses it; and it puts in RQ's own prefix, and EMAIL_QUEUE["QUEUE_PREFIX"].
keys.PREFIX = '{PREFIX}'
keys.JOB = '{RQ}:job:'
keys.QUEUE = '{RQ}:queue:{PREFIX}'
keys.SCHEDULED = '{RQ}:scheduled:{PREFIX}'
keys.WIP = '{RQ}:wip:{PREFIX}'
keys.EXECUTION = '{RQ}:execution:'
keys.FINISHED = '{RQ}:finished:{PREFIX}'
keys.FAILED = '{RQ}:failed:{PREFIX}'
keys.WORKER = '{RQ}:worker:'
keys.WORKERS = '{RQ}:workers'
keys.QUEUES = '{RQ}:queues'
keys.SUSPENDED = '{RQ}:suspended'
keys.LEASES = 'emailqueue:leases'
keys.TOKEN = 'emailqueue:token'
keys.LIMIT = 'emailqueue:limit'
keys.INBOX = 'emailqueue:dead'
keys.REDELIVERED = 'emailqueue:redelivered'
keys.COMMITTED = 'emailqueue:committed'
keys.COUNTERS = 'emailqueue:counters'
keys.WAKE = 'emailqueue:wake'
keys.FLOW = 'emailqueue:flow'
keys.OUTAGE = 'emailqueue:outage:'
keys.KNOWN = 'emailqueue:known:'
keys.THROTTLED = 'emailqueue:throttled'
keys.THROTTLED_DOMAIN = 'emailqueue:throttled:'
keys.PARKED = 'emailqueue:parked:'

local ask -- what a script was asked, if that is one JSON object

-- What RQ calls a queue: the field `origin` of a job. And the queue that it calls so.
local function rq_name(queue) return keys.PREFIX .. queue end
local function queue_of(name)
  return string.sub(name, 1, #keys.PREFIX) == keys.PREFIX and string.sub(name, #keys.PREFIX + 1) or name
end

-- All fields of a hash, or {}.
local function read_hash(key)
  local fields = redis.call('HGETALL', key)
  local found = {}
  for i = 1, #fields, 2 do
    found[fields[i]] = fields[i + 1]
  end
  return found
end

-- How many of the queues have something under `key` and their name. One command for all: idle workers must cost little.
local function how_many(key, queues)
  local names = {}
  for i, queue in ipairs(queues) do
    names[i] = key .. queue
  end
  return #names > 0 and redis.call('EXISTS', unpack(names)) or 0
end

-- Whether the job is in the hands of the worker that claimed it with this token.
local function has_lease(id, its_token)
  local place, held_by = unpack(redis.call('HMGET', keys.JOB .. id, 'place', 'lease'))
  return place == 'lease' and held_by == its_token
end

-- The list holds one element at most: one wake-up is enough, since a claim that leaves work behind wakes the next.
local function wake()
  if redis.call('LLEN', keys.WAKE) == 0 then
    redis.call('LPUSH', keys.WAKE, 1)
  end
end
