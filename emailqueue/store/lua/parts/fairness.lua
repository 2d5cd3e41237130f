-- Mail is taken in the order of priority. Where several queues have some, a share of the mails goes to the oldest ones
-- behind the most urgent queue. The millionths of a turn that are due are kept in Redis (`credit` in FLOW), so that the
-- share holds over all workers.
-- needs: flow take
local TURN = 1000000

-- Of the queues behind the most urgent one that has mail, the one whose first mail has waited longest.
local function longest_waiting(queues)
  local oldest, since
  local urgent = true
  for _, queue in ipairs(queues) do
    local id = redis.call('LINDEX', keys.QUEUE .. queue, 0)
    if id and not urgent then
      local due_at = tonumber(redis.call('HGET', keys.JOB .. id, 'due_at') or 0)
      if not since or due_at < since then
        oldest, since = queue, due_at
      end
    end
    urgent = urgent and not id
  end
  return oldest
end

-- Return how many of `wanted` mails were taken for their age, and the credit that is left.
local function take_fair_share(queues, wanted)
  local credit = tonumber(flow.fields.credit or 0) + wanted * ask.fair
  local taken = 0
  take.fair = 1
  while credit >= TURN and taken < wanted and take.alone == 0 do
    local queue = longest_waiting(queues)
    if not queue or take.from(queue, 1) == 0 then
      break
    end
    credit = credit - TURN
    taken = taken + 1
  end
  take.fair = 0
  return taken, credit
end

function fairness.take(queues, wanted)
  local mails, credit = take_fair_share(queues, wanted)
  mails = mails + take.in_order(queues, wanted - mails)
  if mails > 0 then
    -- What was asked for and not taken earns nothing; what could not be given is not saved up.
    credit = math.min(credit - (wanted - mails) * ask.fair, TURN)
    redis.call('HSET', keys.FLOW, 'credit', string.format('%.0f', math.max(0, credit)))
  end
  return mails
end
