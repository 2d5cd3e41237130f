-- Make the staged jobs of one bulk call visible, all or none.
-- ARGV  staging key, queue, label, due (see read_job), number of jobs, id of the call or '', seconds to remember it
-- Result  1 when they were released, 0 when the call is known already, -1 when pieces are missing
local staging, queue, label, due = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local expected, call, remember = tonumber(ARGV[5]), ARGV[6], ARGV[7]
if call ~= '' and redis.call('EXISTS', known_key(call)) == 1 then
  return 0
end
if redis.call('LLEN', staging) ~= expected then
  return -1
end
if call ~= '' then
  redis.call('SET', known_key(call), '1', 'EX', remember)
end
local now = now_us()
local at = due_us(due, now)
local waits = at > now
local released = 0
local chunk = 1000 -- unpack() has a limit of some thousand values
for first = 0, expected - 1, chunk do
  local ids, scored = {}, {}
  for _, id in ipairs(redis.call('LRANGE', staging, first, first + chunk - 1)) do
    local job = redis.call('HMGET', job_key(id), 'origin', 'place')
    if job[1] and not job[2] then -- else it came by the outbox before, see stage.lua
      redis.call('PERSIST', job_key(id))
      redis.call('HSET', job_key(id), 'place', waits and 'scheduled' or 'queue', 'status', waits and 'scheduled' or 'queued')
      ids[#ids + 1] = id
      scored[#scored + 1] = seconds(at)
      scored[#scored + 1] = id
    end
  end
  if #ids > 0 and waits then
    redis.call('ZADD', scheduled_key(queue), unpack(scored))
  elseif #ids > 0 then
    redis.call('RPUSH', queue_key(queue), unpack(ids))
  end
  released = released + #ids
end
redis.call('SADD', RQ .. ':queues', queue_key(queue))
redis.call('HINCRBY', COUNTERS, queue .. ':queued', released)
redis.call('HINCRBY', COUNTERS, 'queued=' .. label, released)
redis.call('DEL', staging)
wake()
return 1
