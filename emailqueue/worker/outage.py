"""Which mail server a worker speaks to, and what it says when that goes away and comes back."""

import json
import logging
from collections.abc import Callable

from emailqueue.conf import Settings
from emailqueue.delivery.mailers import new_backend
from emailqueue.signals import outage_began, outage_ended
from emailqueue.store import Settled, Settlement

logger = logging.getLogger("emailqueue.worker")


def server_name(settings: Settings) -> str:
    """Return the name under which all workers know the mail server: HOST:PORT, or the mailer without one."""
    name = settings.mailer or "default"
    try:
        backend = new_backend(settings)
    except Exception:  # noqa: BLE001  a backend that cannot be made is each mail's error, not the worker's end
        return name
    host, port = getattr(backend, "host", None), getattr(backend, "port", None)
    return f"{host}:{port}" if host else name


def announce(changed: Settled, settlement: Settlement, *, server: str) -> Callable[[], object]:
    """Log that an outage began or ended, and return what tells the project: its receivers may take their time."""
    if changed is Settled.OUTAGE_ENDED:
        logger.warning("mail server is back", extra={"server": server})
        return lambda: outage_ended.send_robust(sender=None, server=server)
    refused = changed is Settled.ACCOUNT_REFUSED
    error = str(json.loads(settlement.history or "[{}]")[-1].get("message", ""))
    if refused:
        logger.critical("mail server refuses our account, mail waits", extra={"server": server, "error": error})
    else:
        logger.error("mail server is away, mail waits", extra={"server": server, "error": error})
    return lambda: outage_began.send_robust(sender=None, server=server, account_refused=refused, error=error)
