"""What the catalog must hold for our triggers to be whole, and what to say where it does not: functions of values."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from projector.tail.sql import statement
from readmodel.postgres.columns import Found, found_columns, misfit

ROW, BEFORE, INSERT, DELETE, UPDATE, TRUNCATE = 1, 2, 4, 8, 16, 32
"""Bits of pg_trigger.tgtype (src/include/catalog/pg_trigger.h); without BEFORE and INSTEAD it is AFTER."""

MEND = "run `readside install`"
OF_VERSION_0_1 = f"The triggers are those of version 0.1: {MEND}."

_KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table"}
_ORDINARY = "is not ENABLE ALWAYS"
_STATES = {"D": "is disabled", "O": _ORDINARY, "R": _ORDINARY}
_SILENCED = ", so that what is written under session_replication_role = replica is missed"
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


def triggers(schema: str) -> tuple[Trigger, ...]:
    """Our triggers; each bears the schema's name, so that two deployments live on one database."""
    name = schema.__add__
    return (
        Trigger("sessions", name("_insert"), INSERT, "sessions_inserted", added="added"),
        Trigger("sessions", name("_update"), UPDATE | ROW, "sessions_updated"),
        Trigger("sessions", name("_delete"), DELETE, "sessions_deleted", removed="removed"),
        Trigger("sessions", name("_truncate"), TRUNCATE, "truncated"),
        Trigger("events", name("_insert"), INSERT, "events_inserted", added="added"),
        Trigger("events", name("_update"), UPDATE, "events_updated", removed="removed", added="added"),
        Trigger("events", name("_delete"), DELETE, "events_deleted", removed="removed"),
        Trigger("events", name("_truncate"), TRUNCATE, "truncated"),
    )


def row_triggers(schema: str) -> tuple[Trigger, ...]:
    """Those that a partitioned table has beside them, and each of its partitions by Postgres' own doing."""
    return (
        Trigger("sessions", f"{schema}_row", ROW | INSERT | DELETE, "sessions_row"),
        Trigger("events", f"{schema}_row", ROW | INSERT | DELETE, "events_row"),
        Trigger("events", f"{schema}_move", ROW | BEFORE | UPDATE, "events_row"),
    )


RELATIONS = ("letters_0", "letters_1", "letters_2", "presence", "skips", "reader", "incarnation")
"""The letters' tables in turn, and the sequences whose last value everybody sees at once."""


@dataclass(frozen=True, slots=True)
class Function:
    """One function as pg_proc must hold it: its body to the letter, its SET clauses as `name=value`."""

    name: str
    arguments: str
    result: str
    source: str
    settings: tuple[str, ...]

    @property
    def signature(self) -> str:
        return f"{self.name}({self.arguments})"


@lru_cache(maxsize=16)
def functions(schema: str) -> tuple[Function, ...]:
    """Read our functions out of triggers.sql, so that what is compared is what is installed."""
    pattern = (
        rf'CREATE OR REPLACE FUNCTION "{schema}"\.(\w+)\((.*?)\) RETURNS (\w+)\n'
        r"LANGUAGE plpgsql SECURITY DEFINER(.*?) AS \$\$(.*?)\$\$;"
    )
    return tuple(
        Function(
            name,
            re.sub(r"\w+ (\w+)", r"\1", arguments),
            result,
            source,
            tuple(f"{key}={value}" for key, value in re.findall(r"SET (\w+) = (.+?)(?= SET|$)", clauses)),
        )
        for name, arguments, result, clauses, source in re.findall(
            pattern, statement("triggers", schema=schema), re.DOTALL
        )
    )


Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """One of the write side's tables: a row of triggers_tables.sql."""

    name: str
    full_name: str
    oid: int | None
    columns: Found
    facts: Row

    @classmethod
    def read(cls, row: Row) -> Table:
        return cls(row["name"], row["full_name"], row["oid"], found_columns(row["columns"]), row)

    @property
    def is_partitioned(self) -> bool:
        return bool(self.facts["kind"] == "p")

    def unfit(self, schemas: Sequence[str]) -> str | None:
        """Say in one sentence why readside cannot tail this table; `schemas` are where it was looked for."""
        if self.oid is None:
            return f"Table {self.name} was not found in {_search(schemas)}."
        if (nature := self._nature()) is not None:
            return (
                f"{self.full_name} is {nature}: statement triggers would not see all its rows, so readside refuses it."
            )
        if (partitions := self._unfit_partitions()) is not None:
            return partitions
        if (wrong := misfit(self.name, self.full_name, self.columns)) is not None:
            return wrong
        if subscriptions := self.facts["subscriptions"]:
            return (
                f"Table {self.full_name} is fed by the logical replication subscription {', '.join(subscriptions)}, "
                "which fires no statement triggers: readside must be installed where the rows are written."
            )
        return None

    def _unfit_partitions(self) -> str | None:
        if (foreign := self.facts["foreign_partition"]) is not None:
            return f"Table {self.full_name} has the foreign table {foreign} as a partition: its rows change elsewhere."
        if self.name == "sessions" and self.is_partitioned and not self.facts["has_unique_ids"]:
            return (
                f"Table {self.full_name} is partitioned and has no unique index on id alone, so two sessions may have "
                "one id: partition it by id."
            )
        return None

    def _nature(self) -> str | None:
        if self.facts["kind"] not in {"r", "p"}:
            return _KINDS.get(self.facts["kind"], "not a table")
        if self.facts["is_temporary"]:
            return "a temporary table"
        return "a partition, or part of an inheritance tree" if self.facts["is_inherited"] else None


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition of one of the tables, at whatever depth: a row of triggers_tree.sql; `triggers` are ours, by name."""

    table: str
    full_name: str
    oid: int
    parent: int
    is_leaf: bool
    is_owned: bool
    triggers: Mapping[str, Row]

    @classmethod
    def read(cls, row: Row) -> Partition:
        kept = (row["name"], row["full_name"], row["oid"], row["parent"], row["kind"] != "p", row["is_owned"])
        return cls(*kept, json.loads(row["triggers"]))


@dataclass(frozen=True, slots=True)
class Relation:
    """A table that was a partition of events: a row of triggers_left.sql."""

    oid: int
    full_name: str


@dataclass(frozen=True, slots=True)
class Catalog:
    """What the catalog holds of ours.

    Rows of triggers_found.sql, …_functions.sql, …_relations.sql, …_loose.sql and …_tree.sql.
    """

    tables: Sequence[Table]
    triggers: Sequence[Row]
    functions: Sequence[Row]
    relations: Sequence[Row]
    loose: Sequence[Row]
    partitions: Sequence[Partition] = ()

    def late(self, schema: str) -> list[Partition]:
        """The partitions that are seen row by row, and that the owner of events may alter; parents first."""
        return late_partitions(schema, self.partitions)

    def is_of_version_0_1(self, schema: str) -> bool:
        """Tell whether these are the triggers of version 0.1, which had no letters and sent their news by NOTIFY."""
        names = {function.name for function in functions(schema)}
        ours = [row for row in self.functions if row["name"] in names]
        return bool(ours and self.triggers) and not self.relations and not any(row["is_definer"] for row in ours)


def differences(schema: str, catalog: Catalog) -> list[str]:
    """Say what is missing, disabled, altered or open to others; empty when all is exactly ours."""
    expected = functions(schema)
    by_signature = {f"{row['name']}({row['arguments']})": row for row in catalog.functions}
    by_relation = {row["name"]: row for row in catalog.relations}
    if not catalog.triggers and not any(function.signature in by_signature for function in expected):
        return [f"the triggers are not installed on {' and '.join(table.full_name for table in catalog.tables)}"]
    owner = next((table.facts["owner"] for table in catalog.tables if table.name == "events"), "")
    wrong = _wrong_triggers(schema, catalog) + _wrong_partitions(schema, catalog.partitions)
    for function in expected:
        if (verdict := _judge_function(function, by_signature.get(function.signature), owner)) is not None:
            wrong.append(f"function {schema}.{function.signature} {verdict}")
    for name in RELATIONS:
        if (verdict := _judge_relation(by_relation.get(name), owner)) is not None:
            thing = "table" if name.startswith("letters") else "sequence"
            wrong.append(f"{thing} {schema}.{name} {verdict}")
    return wrong + [row["description"] for row in catalog.loose]


def sentence(wrong: Sequence[str]) -> str:
    """Make one sentence of `differences`, with the way to mend them."""
    named = ", ".join(wrong[:_NAMED_AT_MOST])
    more = f" and {len(wrong) - _NAMED_AT_MOST} more" if len(wrong) > _NAMED_AT_MOST else ""
    why = _SILENCED if any(one.endswith(_ORDINARY) for one in wrong) else ""
    return f"{named[0].upper()}{named[1:]}{more}{why}; {MEND}."


def _wrong_triggers(schema: str, catalog: Catalog) -> list[str]:
    by_place = {(row["table_oid"], row["name"]): row for row in catalog.triggers}
    table_by_name = {table.name: table for table in catalog.tables}
    wrong = []
    for trigger in (*triggers(schema), *row_triggers(schema)):
        table = table_by_name[trigger.table]
        if trigger.type & ROW and trigger in row_triggers(schema) and not table.is_partitioned:
            continue
        verdict = _judge_trigger(trigger, by_place.get((table.oid, trigger.name)))
        if verdict is not None:
            wrong.append(f"trigger {trigger.name} on {table.full_name} {verdict}")
    return wrong


def _wrong_partitions(schema: str, partitions: Sequence[Partition]) -> list[str]:
    """Say which partitions could be written to unseen.

    A partition of events is seen by its row trigger, or by statement triggers on it and all that it is a part of. The
    trigger that tells of rows that move is on each.
    """
    by_oid = {partition.oid: partition for partition in partitions}
    cloned = [trigger for trigger in (*triggers(schema), *row_triggers(schema)) if trigger.type & ROW]
    wrong = []
    for partition in (partition for partition in partitions if partition.is_leaf):
        is_quick = partition.table == "events" and all(_is_quick(schema, each) for each in _line(partition, by_oid))
        for trigger in (trigger for trigger in cloned if trigger.table == partition.table):
            if is_quick and trigger.name == f"{schema}_row":
                continue
            verdict = _judge_trigger(trigger, partition.triggers.get(trigger.name))
            if verdict is not None:
                wrong.append(f"trigger {trigger.name} on partition {partition.full_name} {verdict}")
    return wrong


def late_partitions(schema: str, partitions: Sequence[Partition]) -> list[Partition]:
    """The partitions of events that came after `install`, and are ours to alter: each row has its price there."""
    by_oid = {partition.oid: partition for partition in partitions}
    late = []
    for partition in (partition for partition in partitions if partition.table == "events"):
        line = _line(partition, by_oid)
        rests = not partition.is_leaf or partition.triggers.get(f"{schema}_row", {}).get("enabled") == "D"
        if all(each.is_owned for each in line) and not (rests and _is_quick(schema, partition)):
            late.append(partition)
    return late


def _line(partition: Partition, by_oid: Mapping[int, Partition]) -> list[Partition]:
    """A partition and all that it is a part of, but for the table itself."""
    line = [partition]
    while (parent := by_oid.get(line[-1].parent)) is not None:
        line.append(parent)
    return line


def _is_quick(schema: str, partition: Partition) -> bool:
    """Tell whether statements that name this partition of events are seen by statement triggers."""
    wanted = (trigger for trigger in triggers(schema) if trigger.table == "events" and trigger.type != TRUNCATE)
    return all(_judge_trigger(trigger, partition.triggers.get(trigger.name)) is None for trigger in wanted)


def _judge_trigger(trigger: Trigger, row: Row | None) -> str | None:
    if row is None:
        return "is missing"
    if row["enabled"] in _STATES:
        return _STATES[row["enabled"]]
    expected = (trigger.type, trigger.function, trigger.removed, trigger.added, True)
    actual = tuple(row[key] for key in ("type", "function", "old_table", "new_table", "is_plain"))
    return None if actual == expected else "was altered"


def _judge_function(function: Function, row: Row | None, owner: str) -> str | None:
    if row is None:
        return "is missing"
    actual = tuple(row[key] for key in ("result", "source", "is_definer", "is_plain"))
    if actual != (function.result, function.source, True, True) or tuple(row["settings"]) != function.settings:
        return "was altered"
    return None if row["owner"] == owner else f"belongs to {row['owner']} and not to {owner}"


def _judge_relation(row: Row | None, owner: str) -> str | None:
    if row is None:
        return "is missing"
    if not row["is_whole"]:
        return "was altered"
    return None if row["owner"] == owner else f"belongs to {row['owner']} and not to {owner}"


def _search(schemas: Sequence[str]) -> str:
    if not schemas:
        return "any schema: the search_path of this connection names none that exists"
    return f"schema{'s' if len(schemas) > 1 else ''} {', '.join(schemas)} (the search_path of this connection)"
