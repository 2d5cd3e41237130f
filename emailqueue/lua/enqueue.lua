-- Put jobs into their queues, all at once. Adding an id that is known already changes nothing.
-- ARGV  seconds that an idempotency key is remembered; then the jobs (see read_job)
-- Result  for each job 1 when it was added, 0 when it was known
-- Invariant  a call that is repeated after its reply was lost adds nothing twice.
local remember = ARGV[1]
local now = now_us()
local added = {}
local at = 2
while at <= #ARGV do
  local job
  job, at = read_job(at)
  local key = job_key(job.id)
  local known = redis.call('HEXISTS', key, 'place') == 1
  if not known and job.keyed then
    known = not redis.call('SET', known_key(job.id), '1', 'NX', 'EX', remember)
  end
  if known then
    added[#added + 1] = 0
  else
    local due = due_us(job.due, now)
    local waits = due > now
    redis.call('HSET', key, 'place', waits and 'scheduled' or 'queue', 'status', waits and 'scheduled' or 'queued',
      unpack(job.fields))
    redis.call('PERSIST', key) -- a bulk call that broke off may have staged it for a while
    redis.call('SADD', RQ .. ':queues', queue_key(job.queue))
    if waits then
      redis.call('ZADD', scheduled_key(job.queue), seconds(due), job.id)
    else
      redis.call('RPUSH', queue_key(job.queue), job.id)
    end
    count('queued', job.queue, job.label)
    added[#added + 1] = 1
  end
end
wake()
return added
