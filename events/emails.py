"""Which e-mails there are: six types, and the function that queues each."""

from emailqueue import EmailType, Priority, register
from emailqueue.schema import Link

VOTE_CONFIRMATION = register(
    EmailType(
        name="vote-confirmation",
        template="events/vote-confirmation.html",
        priority=Priority.NORMAL,
        needed={"model_name": str, "profile_url": Link},
        optional={"model_id": (str, int)},
        defaults={"profile_url": "{frontend_url}/models/{model_id}"},
        sample={"model_name": "Aurora", "profile_url": "https://example.com/models/7"},
    )
)
PROGRESS_UPDATE = register(
    EmailType(
        name="progress-update",
        template="events/progress-update.html",
        priority=Priority.LOW,
        needed={"model_name": str, "vote_count": int, "milestone": (int, str)},
        optional={"profile_url": Link},
        sample={
            "model_name": "Aurora",
            "vote_count": 1003,
            "milestone": 1000,
            "profile_url": "https://example.com/models/7",
        },
    )
)
RANK_UPDATE = register(
    EmailType(
        name="rank-update",
        template="events/rank-update.html",
        priority=Priority.CRITICAL,
        needed={"model_name": str, "rank_position": int, "previous_rank": int, "vote_count": int},
        optional={"profile_url": Link},
        sample={"model_name": "Aurora", "rank_position": 3, "previous_rank": 7, "vote_count": 1003},
    )
)
REWARD_DELIVERY = register(
    EmailType(
        name="reward-delivery",
        template="events/reward-delivery.html",
        priority=Priority.HIGH,
        needed={"reward_name": str, "claim_url": Link},
        optional={"reward_value": (str, float)},
        defaults={"claim_url": "{frontend_url}/rewards"},
        sample={
            "reward_name": "Early supporter badge",
            "reward_value": "€25",
            "claim_url": "https://example.com/rewards",
        },
    )
)
REFERRAL_JOIN = register(
    EmailType(
        name="referral-join",
        template="events/referral-join.html",
        priority=Priority.LOW,
        needed={"user_name": str},
        optional={"referrer_name": str, "referral_url": Link},
        sample={"user_name": "Ada", "referrer_name": "Grace", "referral_url": "https://example.com/join?ref=ADA"},
    )
)
REFERRAL_MILESTONE = register(
    EmailType(
        name="referral-milestone",
        template="events/referral-milestone.html",
        priority=Priority.CRITICAL,
        needed={"user_name": str, "referral_count": int},
        optional={"reward_name": str},
        sample={"user_name": "Ada", "referral_count": 5, "reward_name": "Gold badge"},
    )
)

queue_vote_confirmation = VOTE_CONFIRMATION.queue
queue_progress_update = PROGRESS_UPDATE.queue
queue_rank_update = RANK_UPDATE.queue
queue_reward_delivery = REWARD_DELIVERY.queue
queue_referral_join = REFERRAL_JOIN.queue
queue_referral_milestone = REFERRAL_MILESTONE.queue
