-- How a new job gets into its queue.
-- needs: clock places counters ended
local REMEMBER = 24 * 60 * 60 -- seconds that an idempotency key is known

-- Whether the id, or that of a call, stands for an idempotency key that was not known yet.
function adding.is_new_key(id)
  return redis.call('SET', keys.KNOWN .. id, '1', 'NX', 'EX', REMEMBER) and true
end

-- Add one job, written as JSON: [id, queue, counted_in, label, due, keyed, dead_letter, ambiguous, fields and values].
--   counted_in the queue in whose figures it counts: a subscriber that waits among the mails is no mail
--   due     see clock.lua
--   keyed   true when the id stands for an idempotency key, which is then remembered
--   relayed whether it comes out of the outbox, and not from the call itself
-- Returns 1 when it was added, 0 when it is on its way already, 2 when it has ended.
function adding.add(text, relayed)
  local id, queue, counted_in, label, due, keyed, dead_letter, ambiguous, fields = unpack(cjson.decode(text))
  local key = keys.JOB .. id
  local place, earlier = unpack(redis.call('HMGET', key, 'place', 'dead_letter'))
  if place == 'sent' and dead_letter ~= '' and earlier ~= dead_letter then -- sent before, and redriven as a dead letter
    redis.call('DEL', key)
  elseif place then
    return place == 'sent' and 2 or 0
  end
  local run = ended.run_of(id, dead_letter)
  if keyed and not relayed then
    if not adding.is_new_key(id) then
      return 2
    end
    ended.forget(run) -- it was cancelled: that has freed the key
  elseif ended.lately(run) or (keyed and not adding.is_new_key(id)) then
    return 2
  end
  redis.call('SADD', keys.QUEUES, keys.QUEUE .. queue)
  local at = clock.due_us(due)
  if at > clock.now then
    places.to_schedule(id, queue, at, 'origin', rq_name(queue), unpack(fields))
  else
    places.to_end(id, queue, 'origin', rq_name(queue), unpack(fields))
  end
  counters.count('queued', counted_in, label)
  if ambiguous then
    counters.count('ambiguous', counted_in, label)
  end
  return 1
end
