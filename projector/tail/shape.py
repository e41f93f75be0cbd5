"""What rows read as: what a migration of the owners can change of it without touching a row.

The tail reads it in the snapshot that gives the as-of. While it stays the same, so does what every row that was not
written reads as. When it changes, the term ends before as-of moves, and the next one loads every hot session anew. It
is kept with the view's position, so that a change while no projector ran is seen too.
"""

from __future__ import annotations

from collections.abc import Sequence

from projector.tail.sql import statement
from readmodel.postgres.columns import COLUMNS
from readmodel.postgres.sql import Tables, literal


def shape_sql(tables: Tables) -> str:
    """A scalar SQL expression: 32 hex digits."""
    return _filled("shape", tables)


def layouts_sql(tables: Tables) -> str:
    """A query of what rows of each partition read as."""
    return _filled("layouts", tables)


def _filled(name: str, tables: Tables) -> str:
    text = statement(name)
    for table, qualified in (("sessions", tables.sessions), ("events", tables.events)):
        columns = _names([column.name for column in COLUMNS[table]])
        text = text.replace(f":{table}_name", literal(qualified)).replace(f":{table}_columns", columns)
    return text


def _names(columns: Sequence[str]) -> str:
    return f"'{{{','.join(columns)}}}'::name[]"
