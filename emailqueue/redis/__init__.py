"""Which Redis the queue uses, and how we connect to it."""

from emailqueue.redis.connection import RedisSource, connect, current_source, find_redis, revive, rq_queues, standing_in

__all__ = ["RedisSource", "connect", "current_source", "find_redis", "revive", "rq_queues", "standing_in"]
