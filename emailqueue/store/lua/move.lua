-- Cancel or reschedule one job that no worker has claimed yet.
-- ARGV  id, due (see read_job), or 'cancel'
-- Result  1, or the id of the dead letter that it was a retry of, or 0 when the job is claimed, sent or unknown
local id, due = ARGV[1], ARGV[2]
local key = job_key(id)
local place, queue, letter = unpack(redis.call('HMGET', key, 'place', 'origin', 'letter'))
if place ~= 'queue' and place ~= 'scheduled' then
  return 0
end
redis.call('LREM', queue_key(queue), 0, id)
redis.call('ZREM', scheduled_key(queue), id)
if due == 'cancel' then
  redis.call('DEL', key, known_key(id)) -- a cancelled mail may be queued again under its key
  remember_ended({ run_of(id, letter) }) -- and its outbox row must not bring it back
  return letter or 1
end
redis.call('HDEL', key, 'parked') -- it leaves the line of a throttled domain, too
local now = now_us()
local at = due_us(due, now)
redis.call('HSET', key, 'due_at', seconds(math.max(at, now)))
if at > now then
  redis.call('HSET', key, 'place', 'scheduled', 'status', 'scheduled')
  redis.call('ZADD', scheduled_key(queue), seconds(at), id)
else
  redis.call('HSET', key, 'place', 'queue', 'status', 'queued')
  redis.call('RPUSH', queue_key(queue), id)
end
wake()
return 1
