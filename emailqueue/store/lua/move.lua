-- Cancel or reschedule one job that no worker has claimed yet.
-- ARGV  id, due (see parts/clock.lua), or 'cancel'
-- Result  1, or the id of the dead letter that it was a retry of, or 0 when the job is claimed, sent or unknown
-- needs: clock places ended
local id, due = ARGV[1], ARGV[2]
local key = keys.JOB .. id
local place, origin, dead_letter = unpack(redis.call('HMGET', key, 'place', 'origin', 'dead_letter'))
if place ~= 'queue' and place ~= 'scheduled' then
  return 0
end
local queue = queue_of(origin)
redis.call('LREM', keys.QUEUE .. queue, 0, id)
redis.call('ZREM', keys.SCHEDULED .. queue, id)
if due == 'cancel' then
  redis.call('DEL', key, keys.KNOWN .. id) -- a cancelled mail may be queued again under its key
  ended.remember({ ended.run_of(id, dead_letter) }) -- and its outbox row must not bring it back
  return dead_letter or 1
end
redis.call('HDEL', key, 'parked') -- it leaves the line of a throttled domain, too
local at = clock.due_us(due)
local due_at = clock.seconds(math.max(at, clock.now))
if at > clock.now then
  places.to_schedule(id, queue, at, 'due_at', due_at)
else
  places.to_end(id, queue, 'due_at', due_at)
end
wake()
return 1
