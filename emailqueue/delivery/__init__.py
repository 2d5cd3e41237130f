"""How a mail goes out: by SMTP, or by another of Django's backends."""
