-- What every script begins with: key names, and the moves that several scripts make.
-- store.py puts one line above it that sets RQ, the key prefix of RQ ("rq").
-- The places of a job (field `place` of its hash), of which only these scripts decide:
--   queue      its id is in the list of its queue
--   scheduled  its id waits in rq:scheduled:QUEUE for its time
--   lease      a worker has it; its id is in LEASES and the field `lease` holds the fencing token
--   sent       done; the hash stays for a while, for RQ's dashboard
local LEASES = 'emailqueue:leases'
local INBOX = 'emailqueue:dead'
local COUNTERS = 'emailqueue:counters'
local WAKE = 'emailqueue:wake'
local FLOW = 'emailqueue:flow' -- what holds mail back: see flow.py
local FAR_FUTURE = 253402300799 -- of the entries in rq:wip, so that RQ's own recovery never touches them

local function now_us()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local function seconds(us)
  return string.format('%.6f', us / 1000000)
end

local function job_key(id) return RQ .. ':job:' .. id end
local function queue_key(queue) return RQ .. ':queue:' .. queue end
local function scheduled_key(queue) return RQ .. ':scheduled:' .. queue end
local function slowed_key(domain) return 'emailqueue:slowed:' .. domain end
local function parked_key(domain) return 'emailqueue:parked:' .. domain end
local function outage_key(server) return 'emailqueue:outage:' .. server end
local function known_key(id) return 'emailqueue:known:' .. id end

-- One command tells of all that holds mail back, so that an idle worker costs little.
local function read_flow()
  local flow = {}
  local pairs_of = redis.call('HGETALL', FLOW)
  for i = 1, #pairs_of, 2 do
    flow[pairs_of[i]] = pairs_of[i + 1]
  end
  return flow
end

-- The circuit of a mail server, or nil while it is closed. Its fields:
--   since (s), token: when it opened, and the newest fencing token then
--   failures, step (s), next (us): probes that failed, the wait after the last one, the time of the next one
--   probe: "ID:TOKEN" of the mail that is tried, or ''; alerted: 1 when it was told that our account is refused
local function read_circuit(server)
  local circuit = {}
  local pairs_of = redis.call('HGETALL', outage_key(server))
  for i = 1, #pairs_of, 2 do
    circuit[pairs_of[i]] = pairs_of[i + 1]
  end
  return circuit.next and circuit or nil
end

-- Domains that asked us to go slower. SLOWED holds when the next mail may be tried, by domain; 0: the domain is free
-- again, and its mails return. slowed_key() has step (s), the wait, and scout, the id of the mail that was tried last.
local SLOWED = 'emailqueue:slowed'

-- A mail of a slowed domain waits in the schedule, where it can be seen, cancelled and moved, and in the line of its
-- domain, from which it returns. Should that line be lost, the schedule brings it back after an hour.
local function park(id, queue, domain, now)
  redis.call('HSET', job_key(id), 'place', 'scheduled', 'status', 'scheduled', 'parked', '1', 'enqueue_at_front', '1')
  redis.call('ZADD', scheduled_key(queue), seconds(now + 3600000000), id)
  redis.call('RPUSH', parked_key(domain), id)
end

-- Counted since the beginning, by queue ("low:completed") and by label ("completed=progress-update").
local function count(what, queue, label)
  redis.call('HINCRBY', COUNTERS, queue .. ':' .. what, 1)
  if label and label ~= '' then
    redis.call('HINCRBY', COUNTERS, what .. '=' .. label, 1)
  end
end

-- The list holds one element at most: one wake-up is enough, since a claim that leaves work behind wakes the next.
local function wake()
  if redis.call('LLEN', WAKE) == 0 then
    redis.call('LPUSH', WAKE, 1)
  end
end

-- Forget who has the job: the lease, and what RQ's dashboard shows of it.
local function release(id, queue, token)
  redis.call('ZREM', LEASES, id)
  local execution = id .. ':' .. token
  redis.call('ZREM', RQ .. ':wip:' .. queue, execution)
  redis.call('DEL', RQ .. ':execution:' .. execution)
end

-- Put the job at the head of its queue, as one that waited there before: behind those that were claimed before it first
-- (`order`), so that the order holds although several workers give their jobs back, each at its time.
local function to_head(id, queue)
  redis.call('HDEL', job_key(id), 'lease', 'fence', 'worker_name', 'started_at', 'parked')
  redis.call('HSET', job_key(id), 'place', 'queue', 'status', 'queued')
  local line = queue_key(queue)
  local order = tonumber(redis.call('HGET', job_key(id), 'order') or 0)
  for at = 0, 1000 do
    local other = redis.call('LINDEX', line, at)
    if not other or at == 1000 or order < tonumber(redis.call('HGET', job_key(other), 'order') or FAR_FUTURE * 10000) then
      if at == 0 then
        redis.call('LPUSH', line, id)
      elseif other then
        redis.call('LINSERT', line, 'BEFORE', other, id)
      else
        redis.call('RPUSH', line, id)
      end
      return
    end
  end
end

-- Jobs come as ARGV: id, queue, label, due, keyed, n, then n fields and values.
-- due: '' now, '+5' in five seconds of Redis time, '1700000000.5' at that time. keyed: '1' when the id stands for an
-- idempotency key, which is then remembered.
local function read_job(at)
  local job = { id = ARGV[at], queue = ARGV[at + 1], label = ARGV[at + 2], due = ARGV[at + 3], keyed = ARGV[at + 4] == '1' }
  local last = at + 5 + 2 * tonumber(ARGV[at + 5])
  job.fields = { unpack(ARGV, at + 6, last) }
  return job, last + 1
end

local function due_us(due, now)
  if due == '' then
    return 0
  end
  if string.sub(due, 1, 1) == '+' then
    return now + tonumber(string.sub(due, 2)) * 1000000
  end
  return tonumber(due) * 1000000
end
