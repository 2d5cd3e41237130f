"""System checks and doctor: whether the queue can do its work, and what to do where it cannot."""
