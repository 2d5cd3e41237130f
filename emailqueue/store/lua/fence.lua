-- Mark jobs as about to be sent, each only if the lease is still the asker's.
-- ARGV  id, token, id, token, ...
-- Result  for each 1 or 0. Asking again with the same token says the same.
local granted = {}
for i = 1, #ARGV, 2 do
  local id, token = ARGV[i], ARGV[i + 1]
  local is_ours = has_lease(id, token)
  if is_ours then
    redis.call('HSET', keys.JOB .. id, 'fence', token)
  end
  table.insert(granted, is_ours and 1 or 0)
end
return granted
