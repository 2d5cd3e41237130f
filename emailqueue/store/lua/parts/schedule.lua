-- Jobs whose time has come leave the schedule. A retry goes to the head of its queue: it stood in line before. A
-- scheduled mail goes to the end.
-- needs: clock places
local PROMOTED_AT_ONCE = 500

local function promote_due(queue)
  local due = clock.seconds(clock.now)
  local ids = redis.call('ZRANGEBYSCORE', keys.SCHEDULED .. queue, '-inf', due, 'LIMIT', 0, PROMOTED_AT_ONCE)
  redis.call('ZREM', keys.SCHEDULED .. queue, unpack(ids))
  local to_the_end = {}
  for i = #ids, 1, -1 do
    local place, at_front = unpack(redis.call('HMGET', keys.JOB .. ids[i], 'place', 'enqueue_at_front'))
    local is_misplaced = place == 'lease' or place == 'sent' -- a dashboard scheduled it
    if not is_misplaced and at_front == '1' then
      places.to_head(ids[i], queue)
    elseif not is_misplaced then
      to_the_end[i] = true
    end
  end
  for i, id in ipairs(ids) do
    if to_the_end[i] and redis.call('EXISTS', keys.JOB .. id) == 1 then
      places.to_end(id, queue)
    end
  end
end

function schedule.promote(queues)
  for _, queue in ipairs(queues) do
    clock.when_due(keys.SCHEDULED .. queue, function() promote_due(queue) end)
  end
end
