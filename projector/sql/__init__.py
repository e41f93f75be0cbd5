"""The SQL statements that only the projector sends: what to compare with, what was added, what to load."""

from readmodel import sql

_OWN = ("rendered", "named", "octets", "size")


def statement(name: str) -> str:
    """Return the text of `<name>.sql` with the shared expressions in place."""
    return sql.statement(name, __name__, _OWN)
