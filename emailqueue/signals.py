"""What a project can listen to."""

from django.dispatch import Signal

outage_began = Signal()
"""
The mail server is away, or refuses our account: mail waits, uncharged.

Sent by the worker that met it, with `server`, `account_refused` (whether only staff can end it) and `error`.
Once an outage, and once more when the account is refused later in it.
"""

outage_ended = Signal()
"""The mail server takes mail again. Sent by the worker that met it, with `server`."""
