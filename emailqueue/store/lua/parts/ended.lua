-- Which runs have ended lately, whatever became of them: in sets by time, of which the present one and the one before
-- count. What is put in again later than that, by an outbox row, is not known here; relay.py says what follows.
-- A run is a job, or the retry of one as a dead letter.
-- needs: clock
local SPAN = 600 -- seconds of one set

local function ended_key(back)
  return 'emailqueue:ended:' .. math.floor(clock.now / 1000000 / SPAN) - back
end

function ended.run_of(id, dead_letter)
  return (dead_letter and dead_letter ~= '') and id .. ':' .. dead_letter or id
end

function ended.lately(run)
  return redis.call('SISMEMBER', ended_key(0), run) == 1 or redis.call('SISMEMBER', ended_key(1), run) == 1
end

function ended.forget(run)
  redis.call('SREM', ended_key(0), run)
  redis.call('SREM', ended_key(1), run)
end

function ended.remember(runs)
  if #runs > 0 then
    redis.call('SADD', ended_key(0), unpack(runs))
    redis.call('EXPIRE', ended_key(0), 2 * SPAN)
  end
end
