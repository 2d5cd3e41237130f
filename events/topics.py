"""Which topics there are. Each is a Django signal."""

from emailqueue.events import Topic
from events import payloads

VOTE_CREATED = Topic("vote.created", payload=payloads.VoteCreated)
MODEL_PROGRESS_MILESTONE = Topic("model.progress_milestone", payload=payloads.ModelProgressMilestone)
MODEL_RANK_CHANGED = Topic("model.rank_changed", payload=payloads.ModelRankChanged)
REWARD_EARNED = Topic("reward.earned", payload=payloads.RewardEarned)
USER_REGISTERED = Topic("user.registered", payload=payloads.UserRegistered)
REFERRAL_MILESTONE = Topic("referral.milestone", payload=payloads.ReferralMilestone)
