"""Which Redis the queue uses, and how we connect to it."""

from emailqueue.redis.connection import connect, current_source, revive, standing_in
from emailqueue.redis.discovery import RedisSource, find_redis, rq_queues

__all__ = ["RedisSource", "connect", "current_source", "find_redis", "revive", "rq_queues", "standing_in"]
