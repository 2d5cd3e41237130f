-- The time that decides everything, that of Redis, and when a worker should ask again.
local time = redis.call('TIME')
clock.now = tonumber(time[1]) * 1000000 + tonumber(time[2]) -- in microseconds, as all times but those that are stored
clock.ask_again_at = math.huge

function clock.seconds(us)
  return string.format('%.6f', us / 1000000)
end

-- `due`: '' now, '+5' in five seconds, '1700000000.5' at that time.
function clock.due_us(due)
  if due == '' then
    return 0
  end
  if string.sub(due, 1, 1) == '+' then
    return clock.now + tonumber(string.sub(due, 2)) * 1000000
  end
  return tonumber(due) * 1000000
end

function clock.no_later_than(us)
  clock.ask_again_at = math.min(clock.ask_again_at, us)
end

-- Call `act` when the first member of a sorted set by time is due, and have the worker ask again when the next one is.
function clock.when_due(key, act)
  local _, first = unpack(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES'))
  if first and tonumber(first) * 1000000 <= clock.now then
    act()
    _, first = unpack(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES'))
  end
  if first then
    clock.no_later_than(tonumber(first) * 1000000)
  end
end
