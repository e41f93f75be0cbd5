"""The SQL statements that only the projector sends: what to compare with, what was added, what to load.

Arrays are sent as those of text: for any other type asyncpg looks into the catalog first, by statements of its own.
"""

from readmodel.postgres import sql

_OWN = ("rendered", "named", "octets", "size", "place", "at_places", "repeated")


def statement(name: str, tables: sql.Tables) -> str:
    """Return the text of `<name>.sql` with the tables and the shared expressions in place."""
    return sql.statement(name, tables, __name__, _OWN)
