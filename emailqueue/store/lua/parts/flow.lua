-- What holds mail back, in one hash, so that one command tells of all of it: see flow.py.
-- needs: keys
local flow

local function read_flow()
  flow = flow or read_hash(FLOW)
end

-- Those queues that nobody has paused.
local function not_paused(queues)
  local running = {}
  for _, queue in ipairs(queues) do
    if not flow['paused:' .. queue] then
      running[#running + 1] = queue
    end
  end
  return running
end
