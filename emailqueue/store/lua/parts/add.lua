-- How a new job gets into its queue.
-- needs: keys clock places counters ended
local REMEMBER = 24 * 60 * 60 -- seconds that an idempotency key is known

-- Whether the id, or that of a call, stands for an idempotency key that was not known yet.
local function is_new_key(id)
  return redis.call('SET', known_key(id), '1', 'NX', 'EX', REMEMBER) and true
end

-- Add one job, written as JSON: [id, queue, counted_in, label, due, keyed, dead_letter, ambiguous, fields and values].
--   counted_in the queue in whose figures it counts: a subscriber that waits among the mails is no mail
--   due     see due_us()
--   keyed   true when the id stands for an idempotency key, which is then remembered
--   relayed whether it comes out of the outbox, and not from the call itself
-- Returns 1 when it was added, 0 when it is on its way already, 2 when it has ended.
local function add(text, relayed)
  local id, queue, counted_in, label, due, keyed, dead_letter, ambiguous, fields = unpack(cjson.decode(text))
  local key = job_key(id)
  local place, earlier = unpack(redis.call('HMGET', key, 'place', 'dead_letter'))
  if place == 'sent' and dead_letter ~= '' and earlier ~= dead_letter then -- sent before, and to be sent again as a dead letter
    redis.call('DEL', key)
  elseif place then
    return place == 'sent' and 2 or 0
  end
  local run = run_of(id, dead_letter)
  if keyed and not relayed then
    if not is_new_key(id) then
      return 2
    end
    forget_ended(run) -- it was cancelled: that has freed the key
  elseif ended_lately(run) or (keyed and not is_new_key(id)) then
    return 2
  end
  redis.call('SADD', RQ .. ':queues', queue_key(queue))
  local at = due_us(due)
  if at > now then
    to_schedule(id, queue, at, 'origin', rq_name(queue), unpack(fields))
  else
    to_end(id, queue, 'origin', rq_name(queue), unpack(fields))
  end
  count('queued', counted_in, label)
  if ambiguous then
    count('ambiguous', counted_in, label)
  end
  return 1
end
