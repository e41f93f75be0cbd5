"""The columns that readside reads, and what each must be: everybody who opens the tables holds them against this."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Column(NamedTuple):
    """A column by name, the types that it may have (as `format_type` names them), and whether it may hold NULL."""

    name: str
    types: tuple[str, ...]
    nullable: bool = False


_TEXT = ("character varying", "text")
COLUMNS: Mapping[str, Sequence[Column]] = {
    "sessions": (
        Column("id", ("uuid",)),
        Column("status", _TEXT),
        Column("created_at", ("timestamp with time zone",)),
    ),
    "events": (
        Column("id", ("uuid",)),
        Column("session_id", ("uuid",)),
        Column("step_id", ("uuid",), nullable=True),
        Column("event_type", _TEXT),
        Column("event_data", ("jsonb",)),
        Column("message", _TEXT, nullable=True),
        Column("timestamp", ("timestamp with time zone",)),
    ),
}
"""By table."""

Found = Mapping[str, Mapping[str, Any]]
"""Columns as the catalog has them, by name: `type`, `not_null`, and `unvalidated`, the NOT NULL that is NOT VALID."""


def found_columns(text: str) -> Found:
    """Read what the catalog's statements give as JSON."""
    found: Found = json.loads(text)
    return found


def misfit(table: str, full_name: str, found: Found) -> str | None:
    """Say in one sentence what of a table's columns is not as readside needs it, and what to do."""
    wrong = [*_of_other_types(table, found), *_with_nulls(table, full_name, found)]
    return f"Table {full_name} is not as readside needs it: {', '.join(wrong)}." if wrong else None


def _of_other_types(table: str, found: Found) -> list[str]:
    wrong = []
    for column in COLUMNS[table]:
        if column.name not in found:
            wrong.append(f"column {column.name} is missing")
        elif found[column.name]["type"] not in column.types:
            wrong.append(
                f"column {column.name} is {found[column.name]['type']} and must be {' or '.join(column.types)}"
            )
    return wrong


def _with_nulls(table: str, full_name: str, found: Found) -> list[str]:
    """Name the columns that may hold NULL, with the statement that ends it; a CHECK tells the catalog nothing."""
    strict = [column.name for column in COLUMNS[table] if column.name in found and not column.nullable]
    nullable = [name for name in strict if not found[name]["not_null"]]
    unvalidated = [name for name in strict if name not in nullable and found[name]["unvalidated"]]
    wrong = []
    if nullable:
        changes = ", ".join(f"ALTER COLUMN {name} SET NOT NULL" for name in nullable)
        wrong.append(
            f"{_list(nullable)} must be NOT NULL (once no row holds NULL there: `ALTER TABLE {full_name} {changes}`)"
        )
    if unvalidated:
        changes = ", ".join(f"VALIDATE CONSTRAINT {found[name]['unvalidated']}" for name in unvalidated)
        wrong.append(
            f"{_list(unvalidated)} must be NOT NULL in older rows too (once no row holds NULL there: "
            f"`ALTER TABLE {full_name} {changes}`)"
        )
    return wrong


def _list(names: Sequence[str]) -> str:
    return f"column {names[0]}" if len(names) == 1 else f"columns {', '.join(names[:-1])} and {names[-1]}"
