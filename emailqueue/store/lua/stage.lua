-- Store one piece of many jobs, invisible until they are committed.
-- ARGV  staging key, seconds that it lives uncommitted, then the jobs (see parts/adding.lua)
-- Invariant  whoever dies before the commit leaves nothing but a key that expires.
redis.call('RPUSH', ARGV[1], unpack(ARGV, 3))
redis.call('EXPIRE', ARGV[1], ARGV[2])
return 1
