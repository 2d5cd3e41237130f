"""A mail that is often queued."""

from __future__ import annotations

ADA = "ada@example.com"
VOTE = {"model_name": "Ada", "profile_url": "https://front.example/models/1"}
