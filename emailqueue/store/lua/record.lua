-- Add one entry to the trail of an event.
-- ARGV  trail key, seconds that it lives (0: nothing is kept), the event as JSON, name of the entry, the entry as JSON,
--       counters and the counter to raise by one, or '' for none
-- Result  1 when the entry is new
-- Invariant  an attempt that is run again after its worker died replaces its entry, and is counted once.
local trail, lives, event, name, entry, counters, counter = unpack(ARGV)
local new = 1
if tonumber(lives) > 0 then
  redis.call('HSETNX', trail, 'event', event)
  new = redis.call('HSET', trail, name, entry)
  redis.call('EXPIRE', trail, lives)
end
if counter ~= '' and new == 1 then
  redis.call('HINCRBY', counters, counter, 1)
end
return new
