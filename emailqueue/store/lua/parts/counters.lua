-- What was counted since the beginning, by queue ("low:completed") and by label ("completed=progress-update").
-- counts.py lists what is counted.
function counters.count(what, queue, label)
  redis.call('HINCRBY', keys.COUNTERS, queue .. ':' .. what, 1)
  if label and label ~= '' then
    redis.call('HINCRBY', keys.COUNTERS, what .. '=' .. label, 1)
  end
end
