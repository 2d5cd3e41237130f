-- Jobs that are stored and not visible, until the call or the subscriber that queued them has ended well.
-- COMMITTED lists the stagings whose jobs are on their way into the queues.
-- may need: adding
local DRAINED_AT_ONCE = 500

-- Decide that the staged jobs of a call or a subscriber become visible: from now on every claim drains them.
-- False when the staging holds another number of jobs than `expected`, because it has expired.
function staging.commit(key, expected)
  if redis.call('LLEN', key) ~= expected then
    return false
  end
  redis.call('PERSIST', key)
  redis.call('RPUSH', keys.COMMITTED, key)
  return true
end

-- Add some of the jobs whose staging is committed, oldest staging first; whether there are more.
function staging.drain()
  local key = redis.call('LINDEX', keys.COMMITTED, 0)
  if not key then
    return false
  end
  for _, text in ipairs(redis.call('LPOP', key, DRAINED_AT_ONCE) or {}) do
    adding.add(text, false)
  end
  if redis.call('EXISTS', key) == 0 then
    redis.call('LPOP', keys.COMMITTED)
  end
  return redis.call('EXISTS', keys.COMMITTED) == 1
end
