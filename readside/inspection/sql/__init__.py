"""The SQL statements of those who look at a session, and change nothing."""

from readmodel import sql


def statement(name: str) -> str:
    """Return the text of `<name>.sql` with the shared expressions in place."""
    return sql.statement(name, __name__)
