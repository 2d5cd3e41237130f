-- The rate limit over all workers: GCRA (the leaky bucket as a meter).
-- needs: clock flow
local interval, burst -- us between two mails, 0: no limit; mails that may go out at once
local first_without -- time of the first mail that has no token yet, as emailqueue:limit keeps it

-- What staff have set goes before what the worker asks for.
function limit.read()
  local rate, at_once = string.match(flow.fields.limit or '', '^(%S+) (%d+)$')
  interval, burst = ask.interval, ask.burst
  if rate then
    interval, burst = tonumber(rate) > 0 and 1000000 / tonumber(rate) or 0, tonumber(at_once)
  end
end

function limit.is_set()
  return interval > 0
end

local function keep_limit()
  local lasts = math.ceil((first_without - clock.now) / 1000) + 60000
  redis.call('SET', keys.LIMIT, string.format('%.0f', first_without), 'PX', lasts)
end

-- How many of `wanted` mails may go out now.
function limit.tokens_for(wanted)
  if interval == 0 then
    return wanted
  end
  first_without = math.max(clock.now, tonumber(redis.call('GET', keys.LIMIT) or 0))
  local at_most = clock.now + burst * interval
  if first_without > at_most then -- the limit was lower before: it must not hold mail back any more
    first_without = at_most
    keep_limit()
  end
  return math.min(wanted, math.floor((clock.now - first_without) / interval + burst))
end

function limit.spend(mails)
  if interval > 0 and mails > 0 then
    first_without = first_without + mails * interval
    keep_limit()
  end
end

function limit.next_token_at()
  return first_without - (burst - 1) * interval
end
