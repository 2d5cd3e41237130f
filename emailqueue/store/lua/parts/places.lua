-- Where a job is (field `place` of its hash), of which only these scripts decide:
--   queue      its id is in the list of its queue
--   scheduled  its id waits in rq:scheduled:QUEUE for its time
--   lease      a worker has it: see leases.lua
--   sent       it has ended well; the hash stays for a while, for RQ's dashboard
-- needs: clock

-- `...`, here and below: more fields of the hash, and their values.
function places.to_end(id, queue, ...)
  redis.call('HSET', keys.JOB .. id, 'place', 'queue', 'status', 'queued', ...)
  redis.call('RPUSH', keys.QUEUE .. queue, id)
end

function places.to_schedule(id, queue, at, ...)
  redis.call('HSET', keys.JOB .. id, 'place', 'scheduled', 'status', 'scheduled', ...)
  redis.call('ZADD', keys.SCHEDULED .. queue, clock.seconds(at), id)
end

-- Put the job at the head of its queue, as one that waited there before: behind those that were claimed before it first
-- (`order`), so that the order holds although several workers give their jobs back, each at its time.
function places.to_head(id, queue)
  redis.call('HDEL', keys.JOB .. id, 'lease', 'fence', 'worker_name', 'started_at', 'parked')
  redis.call('HSET', keys.JOB .. id, 'place', 'queue', 'status', 'queued')
  local line = keys.QUEUE .. queue
  local order = tonumber(redis.call('HGET', keys.JOB .. id, 'order') or 0)
  local length = redis.call('LLEN', line)
  -- Those that went back before stand at the head in their order; then come those that were never claimed.
  local function goes_behind(at)
    local its_order = redis.call('HGET', keys.JOB .. redis.call('LINDEX', line, at), 'order')
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
