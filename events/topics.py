"""Which topics there are; each is a Django signal."""

from __future__ import annotations

from emailqueue.events import Topic
from events.payloads import (
    ModelProgressMilestone,
    ModelRankChanged,
    ReferralMilestone,
    RewardEarned,
    UserRegistered,
    VoteCreated,
)

VOTE_CREATED = Topic("vote.created", payload=VoteCreated)
MODEL_PROGRESS_MILESTONE = Topic("model.progress_milestone", payload=ModelProgressMilestone)
MODEL_RANK_CHANGED = Topic("model.rank_changed", payload=ModelRankChanged)
REWARD_EARNED = Topic("reward.earned", payload=RewardEarned)
USER_REGISTERED = Topic("user.registered", payload=UserRegistered)
REFERRAL_MILESTONE = Topic("referral.milestone", payload=ReferralMilestone)
