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
  redis.call('HSET', job_key(job.id), unpack(job.fields))
  redis.call('EXPIRE', job_key(job.id), lifetime)
  redis.call('RPUSH', staging, job.id)
end
redis.call('EXPIRE', staging, lifetime)
return 1
