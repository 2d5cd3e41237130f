-- Who has a job. A lease is an entry in LEASES, scored with its end, and the field `lease` of the job: its fencing
-- token, which grows with each claim. The field `fence` holds the token of the worker that began to send the job.
-- needs: clock
-- may need: places counters
local FAR_FUTURE = 253402300799 -- of the entries in rq:wip, so that RQ's own recovery never touches them
local REAPED_AT_ONCE = 100
local numbered = 0

-- The token of all leases that this script gives.
local function new_token()
  leases.token = leases.token or string.format('%.0f', redis.call('INCR', keys.TOKEN))
  return leases.token
end

-- Where the job stood in its queue when it was first taken out of it. It keeps the number when it goes back.
function leases.next_order()
  numbered = numbered + 1
  return string.format('%.0f', tonumber(new_token()) * 10000 + numbered)
end

-- `ask`: what claim.lua was asked.
function leases.take(id, queue, order, ask)
  local token, at = new_token(), clock.seconds(clock.now)
  local execution = id .. ':' .. token
  redis.call('ZADD', keys.LEASES, clock.seconds(clock.now + ask.lease * 1000000), id)
  redis.call('HSET', keys.JOB .. id, 'place', 'lease', 'lease', token, 'claimed_at', at, 'status', 'started',
    'started_at', ask.now, 'worker_name', ask.worker, 'origin', rq_name(queue), 'order', order or leases.next_order())
  -- Not in rq:worker:NAME:executions: django-rq's page of a worker fails on a running job whose data is JSON.
  redis.call('ZADD', keys.WIP .. queue, FAR_FUTURE, execution)
  redis.call('HSET', keys.EXECUTION .. execution, 'id', token, 'job_id', id, 'created_at', at,
    'last_heartbeat', at, 'worker_name', ask.worker)
  redis.call('EXPIRE', keys.EXECUTION .. execution, 86400)
end

-- Forget who has the job: the lease, and what RQ's dashboard shows of it.
function leases.release(id, queue, its_token)
  local execution = id .. ':' .. its_token
  redis.call('ZREM', keys.LEASES, id)
  redis.call('ZREM', keys.WIP .. queue, execution)
  redis.call('DEL', keys.EXECUTION .. execution)
end

-- Jobs of workers that died go back to the head. One that was fenced may have been sent: ambiguous.
local function reap_expired()
  local ids = redis.call('ZRANGEBYSCORE', keys.LEASES, '-inf', clock.seconds(clock.now), 'LIMIT', 0, REAPED_AT_ONCE)
  for i = #ids, 1, -1 do
    local id = ids[i]
    local place, its_token, fence, origin, label =
      unpack(redis.call('HMGET', keys.JOB .. id, 'place', 'lease', 'fence', 'origin', 'description'))
    if place == 'lease' then
      local queue = queue_of(origin)
      leases.release(id, queue, its_token)
      redis.call('HINCRBY', keys.JOB .. id, 'crashes', 1)
      if fence == its_token then
        redis.call('HSET', keys.JOB .. id, 'ambiguous', 1)
        counters.count('ambiguous', queue, label)
      end
      places.to_head(id, queue)
    else
      redis.call('ZREM', keys.LEASES, id)
    end
  end
end

function leases.reap()
  clock.when_due(keys.LEASES, reap_expired)
end
