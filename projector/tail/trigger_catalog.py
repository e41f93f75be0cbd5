"""What the catalog must hold for our triggers to be whole, and what to say where it does not: functions of values."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from projector.tail.sql import statement

ROW, INSERT, DELETE, UPDATE, TRUNCATE = 1, 4, 8, 16, 32
"""Bits of pg_trigger.tgtype (src/include/catalog/pg_trigger.h); without BEFORE and INSTEAD it is AFTER."""

MEND = "run `readside install`"

_TEXT = ("character varying", "text")
_COLUMNS: dict[str, dict[str, tuple[tuple[str, ...], bool]]] = {
    "sessions": {
        "id": (("uuid",), True),
        "status": (_TEXT, False),
        "created_at": (("timestamp with time zone",), False),
    },
    "events": {
        "id": (("uuid",), True),
        "session_id": (("uuid",), True),
        "step_id": (("uuid",), False),
        "event_type": (_TEXT, False),
        "event_data": (("jsonb",), False),
        "message": (_TEXT, False),
        "timestamp": (("timestamp with time zone",), False),
    },
}
"""Per table and column that readside reads: the types it may have, and whether it must be NOT NULL."""

_KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table", "p": "a partitioned table"}
_STATES = {"D": "is disabled", "O": "is not ENABLE ALWAYS", "R": "is not ENABLE ALWAYS"}
_NAMED_AT_MOST = 3


@dataclass(frozen=True, slots=True)
class Trigger:
    """One trigger as pg_trigger must hold it; `removed` and `added` are its transition tables."""

    table: str
    name: str
    type: int
    function: str
    removed: str | None = None
    added: str | None = None


TRIGGERS = (
    Trigger("sessions", "readside_insert", INSERT, "readside.sessions_inserted", added="added"),
    Trigger("sessions", "readside_update", UPDATE | ROW, "readside.sessions_updated"),
    Trigger("sessions", "readside_delete", DELETE, "readside.sessions_deleted", removed="removed"),
    Trigger("sessions", "readside_truncate", TRUNCATE, "readside.truncated"),
    Trigger("events", "readside_insert", INSERT, "readside.events_inserted", added="added"),
    Trigger("events", "readside_update", UPDATE, "readside.events_updated", removed="removed", added="added"),
    Trigger("events", "readside_delete", DELETE, "readside.events_deleted", removed="removed"),
    Trigger("events", "readside_truncate", TRUNCATE, "readside.truncated"),
)


@dataclass(frozen=True, slots=True)
class Function:
    """One trigger function as pg_proc must hold it: its body to the letter, its SET clauses as `name=value`."""

    name: str
    source: str
    settings: tuple[str, ...]


def functions() -> tuple[Function, ...]:
    """Read our functions out of triggers.sql, so that what is compared is what is installed."""
    pattern = (
        r"CREATE OR REPLACE FUNCTION readside\.(\w+)\(\) RETURNS trigger\nLANGUAGE plpgsql (.*?) AS \$\$(.*?)\$\$;"
    )
    return tuple(
        Function(
            name, source, tuple(f"{key}={value}" for key, value in re.findall(r"SET (\w+) = (.+?)(?= SET|$)", clauses))
        )
        for name, clauses, source in re.findall(pattern, statement("triggers"), re.DOTALL)
    )


Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """One of the write side's tables: a row of triggers_tables.sql."""

    name: str
    full_name: str
    oid: int | None
    columns: Mapping[str, Mapping[str, Any]]
    facts: Row

    @classmethod
    def read(cls, row: Row) -> Table:
        return cls(row["name"], row["full_name"], row["oid"], json.loads(row["columns"]), row)

    def unfit(self, schemas: Sequence[str]) -> str | None:
        """Say in one sentence why readside cannot tail this table; `schemas` are where it was looked for."""
        if self.oid is None:
            return f"Table {self.name} was not found in {_search(schemas)}."
        if (nature := self._nature()) is not None:
            return (
                f"{self.full_name} is {nature}: statement triggers would not see all its rows, so readside refuses it."
            )
        if (wrong := self._wrong_columns()) != "":
            return f"Table {self.full_name} is not as readside needs it: {wrong}."
        if subscriptions := self.facts["subscriptions"]:
            return (
                f"Table {self.full_name} is fed by the logical replication subscription {', '.join(subscriptions)}, "
                "which fires no statement triggers: readside must be installed where the rows are written."
            )
        return None

    def _nature(self) -> str | None:
        if self.facts["kind"] != "r":
            return _KINDS.get(self.facts["kind"], "not a table")
        if self.facts["is_temporary"]:
            return "a temporary table"
        return "a partition, or part of an inheritance tree" if self.facts["is_inherited"] else None

    def _wrong_columns(self) -> str:
        wrong = []
        for name, (types, must_be_set) in _COLUMNS[self.name].items():
            column = self.columns.get(name)
            if column is None:
                wrong.append(f"column {name} is missing")
            elif column["type"] not in types:
                wrong.append(f"column {name} is {column['type']} and must be {' or '.join(types)}")
            elif must_be_set and not column["not_null"]:
                wrong.append(f"column {name} must be NOT NULL")
        return ", ".join(wrong)


def differences(tables: Sequence[Table], found: Sequence[Row], found_functions: Sequence[Row]) -> list[str]:
    """Say what is missing, disabled or altered; empty when triggers and functions are exactly ours."""
    by_place = {(row["table_oid"], row["name"]): row for row in found}
    by_name = {row["name"]: row for row in found_functions}
    table_by_name = {table.name: table for table in tables}
    if not found and not any(function.name in by_name for function in functions()):
        return [f"the triggers are not installed on {' and '.join(table.full_name for table in tables)}"]
    wrong = []
    for trigger in TRIGGERS:
        table = table_by_name[trigger.table]
        verdict = _judge_trigger(trigger, by_place.get((table.oid, trigger.name)))
        if verdict is not None:
            wrong.append(f"trigger {trigger.name} on {table.full_name} {verdict}")
    for function in functions():
        verdict = _judge_function(function, by_name.get(function.name))
        if verdict is not None:
            wrong.append(f"function readside.{function.name}() {verdict}")
    return wrong


def sentence(wrong: Sequence[str]) -> str:
    """Make one sentence of `differences`, with the way to mend them."""
    named = ", ".join(wrong[:_NAMED_AT_MOST])
    more = f" and {len(wrong) - _NAMED_AT_MOST} more" if len(wrong) > _NAMED_AT_MOST else ""
    return f"{named[0].upper()}{named[1:]}{more}; {MEND}."


def _judge_trigger(trigger: Trigger, row: Row | None) -> str | None:
    if row is None:
        return "is missing"
    if row["enabled"] in _STATES:
        return _STATES[row["enabled"]]
    expected = (trigger.type, trigger.function, trigger.removed, trigger.added, True)
    actual = tuple(row[key] for key in ("type", "function", "old_table", "new_table", "is_plain"))
    return None if actual == expected else "was altered"


def _judge_function(function: Function, row: Row | None) -> str | None:
    if row is None:
        return "is missing"
    actual = (row["source"], tuple(row["settings"]), row["is_plain"])
    return None if actual == (function.source, function.settings, True) else "was altered"


def _search(schemas: Sequence[str]) -> str:
    if not schemas:
        return "any schema: the search_path of this connection names none that exists"
    return f"schema{'s' if len(schemas) > 1 else ''} {', '.join(schemas)} (the search_path of this connection)"
