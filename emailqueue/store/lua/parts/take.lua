-- How jobs leave their queues into the hands of a worker.
-- needs: clock leases
-- may need: places domains circuit
local PARKED_AT_ONCE = 500
local parked = 0
take.jobs = {} -- {id, queue, fair, the fields of the hash that the worker asked for} each
take.fair = 0 -- 1 while the oldest mail is handed out instead of the most urgent
take.alone = 0 -- 1 when the next job needs a worker that has no other, or was handed to one

-- Hand out one id that was popped. 1: it was; 0: it stands there in vain; -1: it needs an empty worker and went back.
-- A job that its worker died with is alone in its worker: should it kill this one, too, it takes no other with it.
local function hand_out(id, queue)
  local job = redis.call('HMGET', keys.JOB .. id, 'place', 'crashes', 'order', 'domain', 'probe', unpack(ask.fields))
  local place, crashes, order, domain, probe = unpack(job)
  local gone = not place and redis.call('EXISTS', keys.JOB .. id) == 0
  local held = place == 'lease' and redis.call('ZSCORE', keys.LEASES, id)
  if gone or held or place == 'sent' then
    return 0
  end
  if domain and not probe and domains.is_throttled(domain) then
    redis.call('HSET', keys.JOB .. id, 'order', order or leases.next_order())
    domains.park(id, queue, domain)
    parked = parked + 1
    return 0
  end
  local has_crashed = tonumber(crashes or 0) > 0
  take.alone = has_crashed and 1 or take.alone
  if has_crashed and ask.in_hand + #take.jobs > 0 then
    places.to_head(id, queue)
    return -1
  end
  if place == 'scheduled' then -- a dashboard put it into the queue before its time
    redis.call('ZREM', keys.SCHEDULED .. queue, id)
  end
  leases.take(id, queue, order, ask)
  take.jobs[#take.jobs + 1] = { id, queue, take.fair, unpack(job, 6) }
  return 1
end

-- Take up to `wanted` jobs from one queue, and return how many it were.
function take.from(queue, wanted)
  local taken = 0
  while taken < wanted and take.alone == 0 do
    if parked >= PARKED_AT_ONCE then -- enough for one call; the rest follows at once
      clock.no_later_than(clock.now)
      return taken
    end
    local id = redis.call('LPOP', keys.QUEUE .. queue)
    if not id then
      return taken
    end
    taken = taken + math.max(0, hand_out(id, queue))
  end
  return taken
end

-- Take up to `wanted` jobs from the queues, of the first ones first, and return how many it were.
function take.in_order(queues, wanted)
  local taken = 0
  for _, queue in ipairs(queues) do
    taken = taken + take.from(queue, wanted - taken)
  end
  return taken
end

-- Take one mail as a probe of the mail server, and return how many it were.
function take.probe(queues)
  for _ = 1, 100 do
    local id, queue = circuit.next_probe(queues)
    local handed_out = id and hand_out(id, queue) or -1
    if handed_out == 1 then
      circuit.try_with(id, leases.token)
    end
    if handed_out ~= 0 then
      return math.max(0, handed_out)
    end
  end
  return 0
end
