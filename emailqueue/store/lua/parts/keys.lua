-- What each script begins with: the names of keys, and ways to read them. scripts.py puts in RQ's own prefix, and that
-- of our queues, EMAIL_QUEUE["QUEUE_PREFIX"].
local PREFIX = '{PREFIX}'
local QUEUE, SCHEDULED, WIP = '{RQ}:queue:{PREFIX}', '{RQ}:scheduled:{PREFIX}', '{RQ}:wip:{PREFIX}'
local FINISHED, FAILED = '{RQ}:finished:{PREFIX}', '{RQ}:failed:{PREFIX}'
local JOB, EXECUTION = '{RQ}:job:', '{RQ}:execution:'
local WORKER, WORKERS, QUEUES, SUSPENDED = '{RQ}:worker:', '{RQ}:workers', '{RQ}:queues', '{RQ}:suspended'
local LEASES, TOKEN, LIMIT = 'emailqueue:leases', 'emailqueue:token', 'emailqueue:limit'
local INBOX, REDELIVERED, COMMITTED = 'emailqueue:dead', 'emailqueue:redelivered', 'emailqueue:committed'
local COUNTERS, WAKE, FLOW = 'emailqueue:counters', 'emailqueue:wake', 'emailqueue:flow'
local OUTAGE, KNOWN = 'emailqueue:outage:', 'emailqueue:known:'
local THROTTLED, THROTTLED_DOMAIN, PARKED = 'emailqueue:throttled', 'emailqueue:throttled:', 'emailqueue:parked:'
local ask -- what a script was asked, if that is one JSON object

-- What RQ calls a queue: the field `origin` of a job. And the queue that it calls so.
local function rq_name(queue) return PREFIX .. queue end
local function queue_of(name)
  return string.sub(name, 1, #PREFIX) == PREFIX and string.sub(name, #PREFIX + 1) or name
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
  local place, held_by = unpack(redis.call('HMGET', JOB .. id, 'place', 'lease'))
  return place == 'lease' and held_by == its_token
end
