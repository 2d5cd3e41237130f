-- How jobs leave their queues into the hands of a worker. `jobs` holds what it is given of each: names and values, and
-- in `fields` the values of those fields of the hash that it asked for.
-- needs: ask keys clock places leases domains circuit
local PARKED_AT_ONCE = 500
local jobs = {}
local parked = 0
local fair = 0 -- 1 while the oldest mail is handed out instead of the most urgent
local alone = 0 -- 1 when the next job needs a worker that has no other, or was handed to one

-- Hand out one id that was popped. 1: it was; 0: it stands there in vain; -1: it needs an empty worker and went back.
-- A job that its worker died with is alone in its worker: should it kill this one, too, it takes no other with it.
local function hand_out(id, queue)
  local job = redis.call('HMGET', job_key(id), 'place', 'crashes', 'order', 'domain', 'probe', unpack(ask.fields))
  local place, crashes, order, domain, probe = unpack(job)
  local gone = not place and redis.call('EXISTS', job_key(id)) == 0
  local held = place == 'lease' and redis.call('ZSCORE', LEASES, id)
  if gone or held or place == 'sent' then
    return 0
  end
  if domain and not probe and is_throttled(domain) then
    redis.call('HSET', job_key(id), 'order', order or next_order())
    park(id, queue, domain)
    parked = parked + 1
    return 0
  end
  local has_crashed = tonumber(crashes or 0) > 0
  alone = has_crashed and 1 or alone
  if has_crashed and ask.in_hand + #jobs > 0 then
    to_head(id, queue)
    return -1
  end
  if place == 'scheduled' then -- a dashboard put it into the queue before its time
    redis.call('ZREM', scheduled_key(queue), id)
  end
  lease(id, queue, order, ask)
  jobs[#jobs + 1] = { 'id', id, 'queue', queue, 'token', token, 'claimed_at', seconds(now), 'fair', fair,
    'fields', { unpack(job, 6) } }
  return 1
end

-- Take up to `wanted` jobs from one queue, and return how many it were.
local function take(queue, wanted)
  local taken = 0
  while taken < wanted and alone == 0 do
    if parked >= PARKED_AT_ONCE then -- enough for one call; the rest follows at once
      no_later_than(now)
      return taken
    end
    local id = redis.call('LPOP', queue_key(queue))
    if not id then
      return taken
    end
    taken = taken + math.max(0, hand_out(id, queue))
  end
  return taken
end

-- Take one mail as a probe of the mail server, and return how many it were.
local function take_probe(queues)
  for _ = 1, 100 do
    local id, queue = next_probe(queues)
    local handed_out = id and hand_out(id, queue) or -1
    if handed_out == 1 then
      is_probe_of_server(id, token)
    end
    if handed_out ~= 0 then
      return math.max(0, handed_out)
    end
  end
  return 0
end
