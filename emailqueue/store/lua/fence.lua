-- Mark jobs as about to be sent, each only if the lease is still the asker's.
-- ARGV  id, token, id, token, ...
-- Result  for each 1 or 0. Asking again with the same token says the same.
local granted = {}
for i = 1, #ARGV, 2 do
  local key, token = job_key(ARGV[i]), ARGV[i + 1]
  local job = redis.call('HMGET', key, 'place', 'lease')
  if job[1] == 'lease' and job[2] == token then
    redis.call('HSET', key, 'fence', token)
    granted[#granted + 1] = 1
  else
    granted[#granted + 1] = 0
  end
end
return granted
