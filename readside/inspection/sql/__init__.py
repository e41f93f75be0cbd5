"""The SQL statements of those who look at a session, and change nothing."""

from readmodel.postgres import sql


def statement(name: str, tables: sql.Tables) -> str:
    """Return the text of `<name>.sql` with the tables and the shared expressions in place."""
    return sql.statement(name, tables, __name__)
