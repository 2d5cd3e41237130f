"""What an error of the database means, in a sentence."""

import re

from django.db import DatabaseError

_ABSENT = ("42P01", "42703")
"""PostgreSQL's codes of a table and of a column that do not exist; its messages may be in any language."""


def explain(error: DatabaseError) -> str:
    """Return what is wrong, and what to do where tables of the queue are missing or of an old version."""
    text = " ".join(str(error).split("\n")[0].split()).rstrip(".")
    if _lacks_tables(error):
        return f"The tables of the queue are missing or old ({text}). Run: manage.py migrate"
    return f"The database did not do what was asked: {text or type(error).__name__}."


def _lacks_tables(error: DatabaseError) -> bool:
    cause = error.__cause__
    code = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)  # psycopg 3, psycopg 2
    return code in _ABSENT or re.match("no such (table|column): |table .* has no column named ", str(error)) is not None
