"""What other apps can be told of."""

from django.dispatch import Signal

dead_lettered = Signal()
"""
Sent by a worker for each new dead letter, after its commit: sender is DeadLetter, `letter` the letter.

Receivers run in the worker's housekeeping thread, one after the other, so they should be quick. One that raises
is logged and stops nothing. A worker that is killed between the commit and the signal leaves it out; it is
never sent twice.
"""
