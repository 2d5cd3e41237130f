-- Prolong the leases of the jobs that a worker knows of.
-- ARGV  seconds, id, token, id, token, ...
-- Result  for each 1, or 0 when the lease is lost
-- needs: clock
local until_when = clock.seconds(clock.now + tonumber(ARGV[1]) * 1000000)
local renewed = {}
for i = 2, #ARGV, 2 do
  local is_ours = has_lease(ARGV[i], ARGV[i + 1])
  if is_ours then
    redis.call('ZADD', keys.LEASES, until_when, ARGV[i])
  end
  table.insert(renewed, is_ours and 1 or 0)
end
return renewed
