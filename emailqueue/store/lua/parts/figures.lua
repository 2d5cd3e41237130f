-- The figures that are shown of the queue, wherever they are shown: see counts.py.
-- needs: clock flow
figures.QUEUES = { 'critical', 'high', 'normal', 'low', 'events' }
local DOMAINS_AT_MOST = 100

function figures.read()
  flow.read()
  local found = {
    now = clock.now / 1000000,
    queues = {},
    counters = read_hash(keys.COUNTERS),
    inbox = redis.call('HLEN', keys.INBOX),
    flow = flow.fields,
    throttled = redis.call('ZRANGEBYSCORE', keys.THROTTLED, '(0', '+inf', 'WITHSCORES', 'LIMIT', 0, DOMAINS_AT_MOST),
  }
  for _, queue in ipairs(figures.QUEUES) do
    found.queues[queue] = {
      waiting = redis.call('LLEN', keys.QUEUE .. queue),
      active = redis.call('ZCARD', keys.WIP .. queue),
      delayed = redis.call('ZCARD', keys.SCHEDULED .. queue),
      stock_failed = redis.call('ZCARD', keys.FAILED .. queue),
    }
  end
  return found
end
