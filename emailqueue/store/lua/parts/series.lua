-- What became of mails in each minute of the last two hours, and in each hour of the last three days: the hashes
-- emailqueue:minute:N and emailqueue:hour:N, N counted since 1970, with the fields
--   sent, retried, dead   how many
--   latency:B             how many were sent from 1.25^B up to 1.25^(B+1) ms after they were queued
-- A batch is summed up here first, so that it costs a few commands, however many jobs are in it.
-- needs: clock
local SERIES = { { 'minute', 60, 7200 }, { 'hour', 3600, 259200 } }
local sums = {}

function series.note(what, queue)
  if queue ~= 'events' then
    sums[what] = (sums[what] or 0) + 1
  end
end

-- due_at: Unix time from which on the mail waited.
function series.note_latency(queue, due_at)
  local due = tonumber(due_at or nil)
  if due then
    local ms = math.max(1, clock.now / 1000 - due * 1000)
    series.note('latency:' .. math.floor(math.log(ms) / math.log(1.25)), queue)
  end
end

function series.write()
  for _, each in ipairs(next(sums) and SERIES or {}) do
    local name, span, kept = unpack(each)
    local key = string.format('emailqueue:%s:%.0f', name, math.floor(clock.now / 1000000 / span))
    for what, n in pairs(sums) do
      redis.call('HINCRBY', key, what, n)
    end
    redis.call('EXPIRE', key, kept)
  end
end

-- The hashes of the last `count` minutes or hours, by number.
function series.read(name, span, count)
  local found = {}
  local last = math.floor(clock.now / 1000000 / span)
  for number = last - count + 1, last do
    local key = string.format('%.0f', number)
    found[key] = read_hash('emailqueue:' .. name .. ':' .. key)
  end
  return found
end
