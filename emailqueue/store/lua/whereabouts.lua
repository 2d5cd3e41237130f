-- Say of jobs whether they may still run. It writes nothing.
-- ARGV  ids
-- Result  for each 0 unknown, 1 on its way, 2 sent, 3 ended lately; and last how many dead letters wait in the inbox
-- needs: ended
local answers = {}
for i, id in ipairs(ARGV) do
  local place = redis.call('HGET', keys.JOB .. id, 'place')
  if place then
    answers[i] = place == 'sent' and 2 or 1
  else
    answers[i] = ended.lately(id) and 3 or 0
  end
end
answers[#answers + 1] = redis.call('HLEN', keys.INBOX)
return answers
