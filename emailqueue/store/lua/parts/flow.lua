-- What holds mail back, in one hash, so that one command tells of all of it: see flow.py.
flow.fields = nil -- until they are read

function flow.read()
  flow.fields = flow.fields or read_hash(keys.FLOW)
end

-- Those queues that nobody has paused.
function flow.not_paused(queues)
  local running = {}
  for _, queue in ipairs(queues) do
    if not flow.fields['paused:' .. queue] then
      running[#running + 1] = queue
    end
  end
  return running
end
