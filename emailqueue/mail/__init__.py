"""How a type and a context, or one of Django's messages, become the bytes of a mail."""
