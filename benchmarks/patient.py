"""The example project with a worker that looks by itself only every two minutes; see hosted.py."""

from config.settings import *  # noqa: F403
from config.settings import EMAIL_QUEUE

EMAIL_QUEUE |= {"IDLE_INTERVAL": 120, "STATS_INTERVAL": 120}
