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
local COMMITTED = 'emailqueue:committed' -- stagings whose jobs are on their way into the queues
local DRAINED_AT_ONCE = 500
local REMEMBER = 24 * 60 * 60 -- seconds that an idempotency key is known
local ENDED_SPAN = 600 -- seconds of one set of ended runs
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
local function throttled_key(domain) return 'emailqueue:throttled:' .. domain end
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

-- Domains that asked us to go slower. THROTTLED holds when the next mail may be tried, by domain; 0: the domain is free
-- again, and its mails return. throttled_key() has step (s), the wait, and probe, the id of the mail that was tried last.
local THROTTLED = 'emailqueue:throttled'

-- A mail of a throttled domain waits in the schedule, where it can be seen, cancelled and moved, and in the line of its
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
  local length = redis.call('LLEN', line)
  -- Those that went back before stand at the head in their order; then come those that were never claimed.
  local function goes_behind(at)
    local its_order = redis.call('HGET', job_key(redis.call('LINDEX', line, at)), 'order')
    return not its_order or tonumber(its_order) > order
  end
  if length == 0 or goes_behind(0) then
    redis.call('LPUSH', line, id)
    return
  end
  local before, behind = 0, length
  while behind - before > 1 do
    local middle = math.floor((before + behind) / 2)
    if goes_behind(middle) then
      behind = middle
    else
      before = middle
    end
  end
  if behind == length then
    redis.call('RPUSH', line, id)
  else
    redis.call('LINSERT', line, 'BEFORE', redis.call('LINDEX', line, behind), id)
  end
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

-- Which runs have ended lately, whatever became of them: in sets by time, of which the present one and the one before
-- count. What is put in again later than that, by an outbox row, is not known here; relay.py says what follows.
-- A run is a job, or the retry of one as a dead letter.
local function ended_key(back)
  return 'emailqueue:ended:' .. math.floor(tonumber(redis.call('TIME')[1]) / ENDED_SPAN) - back
end

local function run_of(id, letter)
  return (letter and letter ~= '') and id .. ':' .. letter or id
end

local function ended_lately(run)
  return redis.call('SISMEMBER', ended_key(0), run) == 1 or redis.call('SISMEMBER', ended_key(1), run) == 1
end

local function remember_ended(runs)
  if #runs > 0 then
    redis.call('SADD', ended_key(0), unpack(runs))
    redis.call('EXPIRE', ended_key(0), 2 * ENDED_SPAN)
  end
end

-- Add one job, written as JSON: [id, queue, counted_in, label, due, keyed, letter, ambiguous, fields and values].
--   counted_in the queue in whose figures it counts: a subscriber that waits among the mails is no mail
--   due     '' now, '+5' in five seconds of Redis time, '1700000000.5' at that time
--   keyed   true when the id stands for an idempotency key, which is then remembered for REMEMBER seconds
--   relayed whether it comes out of the outbox, and not from the call itself
-- Returns 1 when it was added, 0 when it is on its way already, 2 when it has ended.
local function add(text, now, relayed)
  local id, queue, counted_in, label, due, keyed, letter, ambiguous, fields = unpack(cjson.decode(text))
  local key = job_key(id)
  local place, earlier = unpack(redis.call('HMGET', key, 'place', 'letter'))
  if place == 'sent' and letter ~= '' and earlier ~= letter then -- sent before, and to be sent again as a dead letter
    redis.call('DEL', key)
  elseif place then
    return place == 'sent' and 2 or 0
  end
  local run = run_of(id, letter)
  if keyed and not relayed then
    if not redis.call('SET', known_key(id), '1', 'NX', 'EX', REMEMBER) then
      return 2
    end
    redis.call('SREM', ended_key(0), run) -- it was cancelled: that has freed the key
    redis.call('SREM', ended_key(1), run)
  elseif ended_lately(run) or (keyed and not redis.call('SET', known_key(id), '1', 'NX', 'EX', REMEMBER)) then
    return 2
  end
  local at = due_us(due, now)
  local waits = at > now
  redis.call('HSET', key, 'place', waits and 'scheduled' or 'queue', 'status', waits and 'scheduled' or 'queued',
    unpack(fields))
  redis.call('SADD', RQ .. ':queues', queue_key(queue))
  if waits then
    redis.call('ZADD', scheduled_key(queue), seconds(at), id)
  else
    redis.call('RPUSH', queue_key(queue), id)
  end
  count('queued', counted_in, label)
  if ambiguous then
    count('ambiguous', counted_in, label)
  end
  return 1
end

-- Add some of the jobs whose staging is committed, oldest staging first; whether there are more.
local function drain(now)
  local staging = redis.call('LINDEX', COMMITTED, 0)
  if not staging then
    return false
  end
  for _, text in ipairs(redis.call('LPOP', staging, DRAINED_AT_ONCE) or {}) do
    add(text, now, false)
  end
  if redis.call('EXISTS', staging) == 0 then
    redis.call('LPOP', COMMITTED)
  end
  return redis.call('EXISTS', COMMITTED) == 1
end

-- Decide that the staged jobs of a call or a subscriber become visible: from now on every claim drains them.
-- False when the staging holds another number of jobs than `expected`, because it has expired.
local function commit(staging, expected)
  if redis.call('LLEN', staging) ~= expected then
    return false
  end
  redis.call('PERSIST', staging)
  redis.call('RPUSH', COMMITTED, staging)
  return true
end
