-- Store one piece of a large bulk call, invisible until released.
-- ARGV  staging key, seconds that an unreleased piece lives, id of the call or '', then the jobs (see read_job)
-- Result  1, or 0 when the call's idempotency key is known: then there is nothing to do.
-- Invariant  a call that dies before its release leaves nothing but keys that expire.
local staging, lifetime, call = ARGV[1], ARGV[2], ARGV[3]
if call ~= '' and redis.call('EXISTS', known_key(call)) == 1 then
  return 0
end
local at = 4
while at <= #ARGV do
  local job
  job, at = read_job(at)
  local key = job_key(job.id)
  -- What came by the outbox, when Redis was away during an earlier call of the same key, stays as it is.
  if redis.call('HEXISTS', key, 'place') == 0 and redis.call('EXISTS', known_key(job.id)) == 0 then
    redis.call('HSET', key, unpack(job.fields))
    redis.call('EXPIRE', key, lifetime)
  end
  redis.call('RPUSH', staging, job.id)
end
redis.call('EXPIRE', staging, lifetime)
return 1
