-- Give a worker the next jobs, and say how long to wait for more.
-- ARGV  one JSON object: see ClaimRequest in claim.py
-- Result  names and values: wait (us), left (1: mail waits for a token or to be drained), suspended (1: all workers
--   are), alone (1: the next job needs an empty worker), inbox (how many dead letters wait there), figures (JSON, or ''
--   where none were asked for), token and claimed_at (Unix time) of all jobs, jobs (see parts/take.lua)
-- Invariant  a job is in one place only; each is handed out once, however often its id stands in a queue.
-- needs: clock flow leases limit take
-- may need: staging schedule domains circuit fairness figures
ask = cjson.decode(ARGV[1])

-- Most claims find nothing at all. One command is enough then, so that an idle worker costs little.
local function nothing_is_there()
  local names = { keys.SUSPENDED, keys.COMMITTED, keys.LEASES }
  for _, queue in ipairs({ ask.events, unpack(ask.queues) }) do
    table.insert(names, keys.QUEUE .. queue)
    table.insert(names, keys.SCHEDULED .. queue)
  end
  return redis.call('EXISTS', unpack(names)) == 0
end

local function show_worker()
  redis.call('HSET', keys.WORKER .. ask.worker, 'last_heartbeat', ask.now, 'state', ask.state)
  redis.call('EXPIRE', keys.WORKER .. ask.worker, ask.ttl)
end

local left, suspended, alone, jobs, token = 0, 0, 0, {}, ''
local mail_queues, event_queue, served -- without those that are paused; served: all of them, events first

local function bring_what_is_due()
  if how_many(keys.SCHEDULED, served) > 0 then
    domains.look_after()
    schedule.promote(served)
  end
  leases.reap()
end

-- `full`: how many of the queues have work, so that fairness costs nothing where one has it.
local function take_mails(wanted, full)
  if full > 1 and ask.fair > 0 and how_many(keys.QUEUE, mail_queues) > 1 then
    return fairness.take(mail_queues, wanted)
  end
  return take.in_order(mail_queues, wanted)
end

local function take_jobs(full)
  local events = event_queue and take.from(event_queue, math.min(ask.event_room, ask.room)) or 0
  local room = ask.room - events
  local tokens = limit.tokens_for(room)
  local is_away = flow.fields['outage:' .. ask.server] and circuit.read()
  local passes = not is_away or circuit.may_probe()
  local mails = 0
  if passes and take.alone == 0 and tokens > 0 then
    mails = is_away and take.probe(mail_queues) or take_mails(tokens, full)
  end
  limit.spend(mails)
  local used_up = limit.is_set() and mails < room and mails >= tokens
  if passes and used_up and not (is_away and mails > 0) and how_many(keys.QUEUE, mail_queues) > 0 then
    left = 1
    clock.no_later_than(limit.next_token_at())
  elseif #take.jobs > 0 and (mails == room or events == ask.event_room) and how_many(keys.QUEUE, served) > 0 then
    wake()
  end
end

local function serve()
  flow.read()
  limit.read()
  mail_queues = flow.not_paused(ask.queues)
  event_queue = ask.events ~= '' and flow.not_paused({ ask.events })[1]
  served = event_queue and { event_queue, unpack(mail_queues) } or mail_queues
  if redis.call('EXISTS', keys.COMMITTED) == 1 and staging.drain() then
    left = 1
    clock.no_later_than(clock.now)
  end
  if redis.call('EXISTS', keys.SUSPENDED) == 1 then
    left, suspended = 0, 1
    clock.no_later_than(clock.now + 1000000)
    return
  end
  bring_what_is_due()
  local full = how_many(keys.QUEUE, served)
  if full > 0 then
    take_jobs(full)
    alone, jobs, token = take.alone, take.jobs, leases.token or ''
  end
end

if ask.state ~= '' then
  show_worker()
end
if ask.figures or not nothing_is_there() then
  serve()
end
local found = ask.figures and figures.read()
local wait = math.max(0, math.min(ask.idle * 1000, clock.ask_again_at - clock.now))
return {
  'wait', math.ceil(wait), 'left', left, 'suspended', suspended, 'alone', alone,
  'inbox', found and found.inbox or redis.call('HLEN', keys.INBOX), 'figures', found and cjson.encode(found) or '',
  'token', token, 'claimed_at', clock.seconds(clock.now), 'jobs', jobs,
}
