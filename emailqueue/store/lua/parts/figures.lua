-- The figures that are shown of the queue, wherever they are shown: see figures.py.
-- needs: keys clock flow
local QUEUES = { 'critical', 'high', 'normal', 'low', 'events' }
local THROTTLED_AT_MOST = 100

local function figures()
  read_flow()
  local found = {
    now = now / 1000000,
    queues = {},
    counters = read_hash(COUNTERS),
    inbox = redis.call('HLEN', INBOX),
    flow = flow,
    throttled = redis.call('ZRANGEBYSCORE', THROTTLED, '(0', '+inf', 'WITHSCORES', 'LIMIT', 0, THROTTLED_AT_MOST),
  }
  for _, queue in ipairs(QUEUES) do
    found.queues[queue] = {
      waiting = redis.call('LLEN', queue_key(queue)),
      active = redis.call('ZCARD', wip_key(queue)),
      delayed = redis.call('ZCARD', scheduled_key(queue)),
      stock_failed = redis.call('ZCARD', failed_key(queue)),
    }
  end
  return found
end
