-- The names of the keys, and how they are read. scripts.py puts a line above it that sets RQ, RQ's own prefix ("rq"), and
-- PREFIX, with which RQ's names of our queues begin: EMAIL_QUEUE["QUEUE_PREFIX"].
local LEASES = 'emailqueue:leases'
local INBOX = 'emailqueue:dead'
local COUNTERS = 'emailqueue:counters'
local WAKE = 'emailqueue:wake'
local FLOW = 'emailqueue:flow'
local COMMITTED = 'emailqueue:committed'
local THROTTLED = 'emailqueue:throttled'
local SUSPENDED = RQ .. ':suspended'

local function job_key(id) return RQ .. ':job:' .. id end
local function rq_name(queue) return PREFIX .. queue end
local function queue_key(queue) return RQ .. ':queue:' .. rq_name(queue) end
local function scheduled_key(queue) return RQ .. ':scheduled:' .. rq_name(queue) end
local function wip_key(queue) return RQ .. ':wip:' .. rq_name(queue) end
local function finished_key(queue) return RQ .. ':finished:' .. rq_name(queue) end
local function failed_key(queue) return RQ .. ':failed:' .. rq_name(queue) end
local function worker_key(name) return RQ .. ':worker:' .. name end
local function throttled_key(domain) return 'emailqueue:throttled:' .. domain end
local function parked_key(domain) return 'emailqueue:parked:' .. domain end
local function outage_key(server) return 'emailqueue:outage:' .. server end
local function known_key(id) return 'emailqueue:known:' .. id end

-- The queue that RQ calls so: the field `origin` of a job.
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

-- How many of the queues have something under key_of(queue). One command for all: idle workers must cost little.
local function how_many(key_of, queues)
  local keys = {}
  for i, queue in ipairs(queues) do
    keys[i] = key_of(queue)
  end
  return #keys > 0 and redis.call('EXISTS', unpack(keys)) or 0
end

-- Whether the job is in the hands of the worker that claimed it with this token.
local function has_lease(id, its_token)
  local place, held_by = unpack(redis.call('HMGET', job_key(id), 'place', 'lease'))
  return place == 'lease' and held_by == its_token
end
