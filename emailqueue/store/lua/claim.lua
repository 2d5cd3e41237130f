-- Give a worker the next jobs, and say how long to wait for more.
-- ARGV  one JSON object: see ClaimRequest in claim.py
-- Result  names and values: wait (us), left (1: mail waits for a token or to be drained), suspended (1: all workers
--   are), alone (1: the next job needs an empty worker), inbox (how many dead letters wait there), figures (JSON, or ''
--   where none were asked for), jobs: see take.lua
-- Invariant  a job is in one place only; of the ids in a queue each job is handed out once, as often as it may
--   stand there.
-- needs: ask keys clock flow staging schedule leases domains limit circuit take fairness figures

-- Most claims find nothing at all. One command is enough then, so that an idle worker costs little.
local function nothing_is_there()
  local keys = { SUSPENDED, COMMITTED, LEASES }
  for _, queue in ipairs({ ask.events, unpack(ask.queues) }) do
    keys[#keys + 1] = queue_key(queue)
    keys[#keys + 1] = scheduled_key(queue)
  end
  return redis.call('EXISTS', unpack(keys)) == 0
end

local function show_worker()
  redis.call('HSET', worker_key(ask.worker), 'last_heartbeat', ask.now, 'state', ask.state)
  redis.call('EXPIRE', worker_key(ask.worker), ask.ttl)
end

local left, suspended = 0, 0
local mail_queues, event_queue, served -- without those that are paused; served: all of them, events first

local function bring_what_is_due()
  if how_many(scheduled_key, served) > 0 then
    look_after_domains()
    promote(served)
  end
  reap()
end

-- `full`: how many of the queues have work.
local function take_jobs(full)
  local events = event_queue and take(event_queue, math.min(ask.event_room, ask.room)) or 0
  local room = ask.room - events
  local tokens = tokens_for(room)
  if flow['outage:' .. server] then
    read_circuit()
  end
  local passes = not circuit or may_probe()
  local mails = 0
  if passes and alone == 0 and tokens > 0 then
    mails = circuit and take_probe(mail_queues) or take_mails(mail_queues, tokens, full)
  end
  spend_tokens(mails)
  local is_limited = passes and interval > 0 and mails < room and mails >= tokens and not (circuit and mails > 0)
  if is_limited and how_many(queue_key, mail_queues) > 0 then
    left = 1
    no_later_than(next_token_at())
  elseif #jobs > 0 and (mails == room or events == ask.event_room) and how_many(queue_key, served) > 0 then
    wake()
  end
end

local function serve()
  read_flow()
  read_limit()
  mail_queues = not_paused(ask.queues)
  event_queue = ask.events ~= '' and not_paused({ ask.events })[1]
  served = event_queue and { event_queue, unpack(mail_queues) } or mail_queues
  if drain() then
    left = 1
    no_later_than(now)
  end
  if redis.call('EXISTS', SUSPENDED) == 1 then
    left, suspended = 0, 1
    no_later_than(now + 1000000)
    return
  end
  bring_what_is_due()
  local full = how_many(queue_key, served)
  if full > 0 then
    take_jobs(full)
  end
end

if ask.state ~= '' then
  show_worker()
end
if ask.figures or not nothing_is_there() then
  serve()
end
local found = ask.figures and figures()
local wait = math.max(0, math.min(ask.idle * 1000, ask_again_at - now))
return {
  'wait', math.ceil(wait), 'left', left, 'suspended', suspended, 'alone', alone,
  'inbox', found and found.inbox or redis.call('HLEN', INBOX), 'figures', found and cjson.encode(found) or '',
  'jobs', jobs,
}
