-- Put jobs into their queues, all at once. Adding an id that is known already changes nothing.
-- ARGV  id of the call or '' (a bulk call with a key of its own), '1' when the jobs come out of the outbox, then the
--       jobs (see parts/adding.lua)
-- Result  for each job 1 when it was added, 0 when it is on its way already, 2 when it has ended or its call is known
-- Invariant  a call that is repeated after its reply was lost adds nothing twice.
-- needs: adding
local call, relayed = ARGV[1], ARGV[2] == '1'
local known = call ~= '' and not adding.is_new_key(call)
local added = {}
for i = 3, #ARGV do
  added[#added + 1] = known and 2 or adding.add(ARGV[i], relayed)
end
wake()
return added
