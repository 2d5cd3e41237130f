"""A job as Redis keeps it, and how an attempt at it can end."""
