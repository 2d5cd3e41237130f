-- The rate limit over all workers: GCRA (the leaky bucket as a meter). emailqueue:limit holds the time of the first
-- mail that has no token yet.
-- needs: ask clock flow
local interval, burst = ask.interval, ask.burst -- us between two mails, 0: no limit; mails that may go out at once
local first_without = now

-- What staff have set goes before what the worker asks for.
local function read_limit()
  local rate, at_once = string.match(flow.limit or '', '^(%S+) (%d+)$')
  if rate then
    interval, burst = tonumber(rate) > 0 and 1000000 / tonumber(rate) or 0, tonumber(at_once)
  end
end

local function keep_limit()
  local lasts = math.ceil((first_without - now) / 1000) + 60000
  redis.call('SET', 'emailqueue:limit', string.format('%.0f', first_without), 'PX', lasts)
end

-- How many of `wanted` mails may go out now.
local function tokens_for(wanted)
  if interval == 0 then
    return wanted
  end
  first_without = math.max(now, tonumber(redis.call('GET', 'emailqueue:limit') or 0))
  if first_without > now + burst * interval then -- the limit was lower before: it must not hold mail back any more
    first_without = now + burst * interval
    keep_limit()
  end
  return math.min(wanted, math.floor((now - first_without) / interval + burst))
end

local function spend_tokens(mails)
  if interval > 0 and mails > 0 then
    first_without = first_without + mails * interval
    keep_limit()
  end
end

local function next_token_at()
  return first_without - (burst - 1) * interval
end
