"""The example project with leases of a few seconds, for workers that tests kill."""

from config.settings import *  # noqa: F403
from config.settings import EMAIL_QUEUE

EMAIL_QUEUE["LEASE"] = 4
