-- Which runs have ended lately, whatever became of them: in sets by time, of which the present one and the one before
-- count. What is put in again later than that, by an outbox row, is not known here; relay.py says what follows.
-- A run is a job, or the retry of one as a dead letter.
-- needs: clock
local ENDED_SPAN = 600 -- seconds of one set

local function ended_key(back)
  return 'emailqueue:ended:' .. math.floor(now / 1000000 / ENDED_SPAN) - back
end

local function run_of(id, dead_letter)
  return (dead_letter and dead_letter ~= '') and id .. ':' .. dead_letter or id
end

local function ended_lately(run)
  return redis.call('SISMEMBER', ended_key(0), run) == 1 or redis.call('SISMEMBER', ended_key(1), run) == 1
end

local function forget_ended(run)
  redis.call('SREM', ended_key(0), run)
  redis.call('SREM', ended_key(1), run)
end

local function remember_ended(runs)
  if #runs > 0 then
    redis.call('SADD', ended_key(0), unpack(runs))
    redis.call('EXPIRE', ended_key(0), 2 * ENDED_SPAN)
  end
end
