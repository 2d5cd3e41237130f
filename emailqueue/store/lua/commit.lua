-- Make the staged jobs of one bulk call visible, all or none.
-- ARGV  staging key, number of jobs, id of the call or ''
-- Result  1, 0 when the call is known already, or -1 when the staging has expired
-- needs: adding staging
local key, expected, call = ARGV[1], tonumber(ARGV[2]), ARGV[3]
if call ~= '' and redis.call('EXISTS', keys.KNOWN .. call) == 1 then
  redis.call('DEL', key)
  return 0
end
if not staging.commit(key, expected) then
  return -1
end
if call ~= '' then
  adding.is_new_key(call)
end
wake()
return 1
