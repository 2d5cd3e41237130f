-- Prolong the leases of the jobs that a worker knows of.
-- ARGV  seconds, id, token, id, token, ...
-- Result  for each 1, or 0 when the lease is lost
local until_when = seconds(now_us() + tonumber(ARGV[1]) * 1000000)
local renewed = {}
for i = 2, #ARGV, 2 do
  local job = redis.call('HMGET', job_key(ARGV[i]), 'place', 'lease')
  if job[1] == 'lease' and job[2] == ARGV[i + 1] then
    redis.call('ZADD', LEASES, until_when, ARGV[i])
    renewed[#renewed + 1] = 1
  else
    renewed[#renewed + 1] = 0
  end
end
return renewed
