"""What a project can listen to."""

from django.dispatch import Signal

dead_lettered = Signal()
"""
Sent by a worker for each new dead letter, after its commit: sender is DeadLetter, `dead_letter` the row.

Receivers run in the worker's housekeeping thread, one after the other, so they should be quick. One that raises
is logged and stops nothing. A worker that is killed between the commit and the signal leaves it out; it is
never sent twice.
"""

outage_began = Signal()
"""
The mail server is away, or refuses our account: mail waits, uncharged.

Sent by the worker that met it, with `server`, `account_refused` (whether only staff can end it) and `error`.
Once an outage, and once more when the account is refused later in it.
"""

outage_ended = Signal()
"""The mail server takes mail again. Sent by the worker that met it, with `server`."""
