-- Domains that asked us to go slower. THROTTLED holds by domain when the next of its mails may be tried; 0: the domain
-- is free again, and its mails return. The hash THROTTLED_DOMAIN .. domain has the fields step (s), the wait, and
-- probe, the id of the mail that was tried last. That mail has the field `probe`; the others of the domain are parked.
-- needs: clock places
local BROUGHT_BACK_AT_ONCE = 500
local any_throttled

-- Have a mail wait in the schedule, where it can be seen, cancelled and moved, and in the line of its domain, from
-- where it returns. Should that line be lost, the schedule brings it back after an hour. `...`: see places.lua.
function domains.park(id, queue, domain, ...)
  places.to_schedule(id, queue, clock.now + 3600000000, 'parked', '1', 'enqueue_at_front', '1', ...)
  redis.call('RPUSH', keys.PARKED .. domain, id)
end

-- What a claim does with them.

-- Back to the head of its queue, unless it was cancelled or moved meanwhile. Return whether it was.
local function unpark(id)
  local place, parked, origin = unpack(redis.call('HMGET', keys.JOB .. id, 'place', 'parked', 'origin'))
  if place ~= 'scheduled' or parked ~= '1' then
    return false
  end
  local queue = queue_of(origin)
  redis.call('ZREM', keys.SCHEDULED .. queue, id)
  places.to_head(id, queue)
  return true
end

-- Let one mail of a domain try. The next one follows after the same wait, should this one never be heard of.
local function send_probe(domain)
  local step, probe = unpack(redis.call('HMGET', keys.THROTTLED_DOMAIN .. domain, 'step', 'probe'))
  local is_out = probe and redis.call('HGET', keys.JOB .. probe, 'probe') == '1'
  while not is_out do
    probe = redis.call('LPOP', keys.PARKED .. domain)
    if not probe then -- nothing waits: the next mail of the domain may try
      redis.call('ZREM', keys.THROTTLED, domain)
      return
    end
    is_out = unpark(probe)
  end
  step = tonumber(step or 60)
  redis.call('HSET', keys.JOB .. probe, 'probe', '1')
  redis.call('HSET', keys.THROTTLED_DOMAIN .. domain, 'probe', probe)
  redis.call('EXPIRE', keys.THROTTLED_DOMAIN .. domain, 2 * math.ceil(step) + 3600)
  redis.call('ZADD', keys.THROTTLED, clock.seconds(clock.now + step * 1000000), domain)
end

local function bring_back(domain)
  local ids = redis.call('LRANGE', keys.PARKED .. domain, 0, BROUGHT_BACK_AT_ONCE - 1)
  redis.call('LTRIM', keys.PARKED .. domain, BROUGHT_BACK_AT_ONCE, -1)
  for i = #ids, 1, -1 do
    unpark(ids[i])
  end
  if #ids < BROUGHT_BACK_AT_ONCE then
    redis.call('ZREM', keys.THROTTLED, domain)
  end
end

function domains.look_after()
  clock.when_due(keys.THROTTLED, function()
    local now = clock.seconds(clock.now)
    local due = redis.call('ZRANGEBYSCORE', keys.THROTTLED, '-inf', now, 'WITHSCORES', 'LIMIT', 0, 10)
    for i = 1, #due, 2 do
      local act = tonumber(due[i + 1]) == 0 and bring_back or send_probe
      act(due[i])
    end
  end)
end

function domains.is_throttled(domain)
  if any_throttled == nil then
    any_throttled = redis.call('EXISTS', keys.THROTTLED) == 1
  end
  local next_at = any_throttled and tonumber(redis.call('ZSCORE', keys.THROTTLED, domain) or 0) * 1000000 or 0
  if next_at > clock.now then
    clock.no_later_than(next_at)
  end
  return next_at > clock.now
end

-- What a settlement does with them. `job`: its fields domain and probe.

function domains.throttle(job)
  local next_at = tonumber(redis.call('ZSCORE', keys.THROTTLED, job.domain) or 0)
  if not job.probe and next_at * 1000000 > clock.now then
    return -- it was claimed before the domain was throttled
  end
  local step = tonumber(redis.call('HGET', keys.THROTTLED_DOMAIN .. job.domain, 'step'))
  step = step and math.min(step * 2, ask.throttling.most) or ask.throttling.first
  redis.call('HSET', keys.THROTTLED_DOMAIN .. job.domain, 'step', step)
  redis.call('EXPIRE', keys.THROTTLED_DOMAIN .. job.domain, 2 * math.ceil(step) + 3600)
  redis.call('ZADD', keys.THROTTLED, clock.seconds(clock.now + step * 1000000 * (1 - ask.dice / 4)), job.domain)
end

-- Do what the end of a probe says about its domain, unless it goes back into its queue: then it stays the probe.
function domains.heed(entry, job)
  redis.call('HDEL', keys.JOB .. entry.id, 'probe')
  if entry.reached then
    redis.call('ZADD', keys.THROTTLED, 'XX', 0, job.domain)
    redis.call('DEL', keys.THROTTLED_DOMAIN .. job.domain)
  else -- it ended without a word to the domain: another one at once
    redis.call('ZADD', keys.THROTTLED, 'XX', clock.seconds(clock.now), job.domain)
  end
  wake()
end
