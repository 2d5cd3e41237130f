-- Bring committed jobs into their queues, some at a time: what a worker's claim does, for a caller that waits for it.
-- ARGV  staging key
-- Result  1 while that staging holds jobs
-- needs: staging
staging.drain()
wake()
return redis.call('EXISTS', ARGV[1])
