"""What an event of each topic carries."""

from dataclasses import dataclass

from emailqueue.schema import Address, Link


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteCreated:
    """Somebody voted for a model."""

    voter_email: Address
    model_name: str
    model_id: str | int
    profile_url: Link | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelProgressMilestone:
    """A model reached a number of votes worth a mail."""

    model_id: str | int
    model_name: str
    vote_count: int
    milestone: int | str
    subscriber_emails: list[Address]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRankChanged:
    """A model rose or fell in the ranking."""

    model_id: str | int
    model_name: str
    new_rank: int
    old_rank: int
    vote_count: int
    supporter_emails: list[Address]


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardEarned:
    """A user earned a reward."""

    user_email: Address
    reward_name: str
    reward_value: str | float | None = None
    claim_url: Link | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRegistered:
    """A user signed up, perhaps by the invitation of another."""

    user_email: Address
    user_name: str
    referrer_name: str | None = None
    referral_code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferralMilestone:
    """The invitations of a user reached a number worth a mail."""

    user_email: Address
    user_name: str
    referral_count: int
    reward_name: str | None = None
