"""What tests and demonstrations use: a mail server that does as it is told."""

from emailqueue.testing.mailserver import MailServer, ReceivedMail

__all__ = ["MailServer", "ReceivedMail"]
