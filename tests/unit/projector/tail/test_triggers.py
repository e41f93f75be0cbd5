"""What the triggers' script holds, and which servers are refused, without a server."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from projector.tail.trigger_catalog import RELATIONS, Catalog, differences, functions, row_triggers, sentence, triggers
from projector.tail.triggers import fingerprint_sql, install, install_sql
from readmodel.errors import ConfigurationError, SchemaMissing, ServerInRecovery
from readmodel.postgres.client import Connection

SERVER = {
    "version": 150004,
    "in_recovery": False,
    "address": "10.0.0.5:5432",
    "max_prepared_transactions": 0,
    "schemas": ["public"],
}
NO_TABLE = {"name": "sessions", "full_name": "sessions", "oid": None, "columns": "{}"}


class FakeConnection:
    """Answers the first query with a server's facts, the next with a table that is not there, the rest with nothing."""

    def __init__(self, **facts: object) -> None:
        self._answers: list[list[dict[str, Any]]] = [[{**SERVER, **facts}], [NO_TABLE]]

    async def fetch(self, *_: object) -> list[dict[str, Any]]:
        return self._answers.pop(0) if self._answers else []

    async def execute(self, *_: object) -> None:
        """Do as told."""

    @asynccontextmanager
    async def transaction(self, **_: object) -> AsyncIterator[None]:
        """Begin and end."""
        yield


async def warnings_of(*, doorbell: bool = True, **facts: object) -> list[str]:
    """What `install` warns of on such a server, before it finds no table."""
    warnings: list[str] = []
    with pytest.raises(SchemaMissing, match="Table sessions was not found in schema public"):
        await install(cast("Connection", FakeConnection(**facts)), warn=warnings.append, doorbell=doorbell)
    return warnings


async def test_an_old_server_is_refused() -> None:
    """Its version and ours are in the sentence."""
    with pytest.raises(ConfigurationError, match=r"PostgreSQL at 10\.0\.0\.5:5432 is 14; readside needs 15 or newer"):
        await install(cast("Connection", FakeConnection(version=140012)), warn=pytest.fail)


async def test_a_standby_is_refused() -> None:
    """By name, with its address."""
    with pytest.raises(ServerInRecovery, match=r"10\.0\.0\.5:5432 is in recovery \(a standby\)"):
        await install(cast("Connection", FakeConnection(in_recovery=True)), warn=pytest.fail)


async def test_prepared_transactions_are_warned_of() -> None:
    """They fail where somebody rang; most servers have none, and without a doorbell all of them work."""
    assert await warnings_of() == []
    assert await warnings_of(max_prepared_transactions=10, doorbell=False) == []
    [warning] = await warnings_of(max_prepared_transactions=10)

    assert warning == (
        "max_prepared_transactions is 10: while the doorbell is on, PREPARE TRANSACTION fails for transactions that "
        "changed sessions or events; READSIDE_DOORBELL=off lets them work."
    )


def test_the_script_is_one_transaction() -> None:
    """It begins and commits once, and waits briefly for its locks."""
    script = install_sql()
    lines = [line for line in script.splitlines() if line and not line.startswith("--")]

    assert (lines[0], lines[-1]) == ("BEGIN;", "COMMIT;")
    assert "SET LOCAL lock_timeout = '1500ms';" in lines
    assert script.count("COMMIT;") == 1


CALLED = {"empty_letters", "adopt_partition", "fire_always", "incarnation"}
"""Functions that leader and API call, and no trigger."""


@pytest.mark.parametrize("schema", ["readside", "second", "user"])
def test_the_script_makes_what_is_compared(schema: str) -> None:
    """Every trigger, function, table and sequence that `inspect` expects, and no other; no marker is left."""
    script = install_sql(schema, "reader")
    made = re.findall(
        r"CREATE OR REPLACE TRIGGER (\w+) (?:AFTER|BEFORE) .*?FUNCTION \"(\w+)\"\.(\w+)\(\)', (\w+)\)",
        script,
        re.DOTALL,
    )
    relations = re.findall(rf'CREATE UNLOGGED \w+ IF NOT EXISTS "{schema}"\.(\w+)', script)

    wanted = (*triggers(schema), *row_triggers(schema))
    of_partitions = [each for each in triggers(schema) if each.table == "events" and each.function != "truncated"]
    assert made == [
        *((each.name, schema, each.function, "named") for each in of_partitions),
        *((each.name, schema, each.function, each.table) for each in wanted),
    ]
    assert len(functions(schema)) == len(re.findall(r"CREATE (?:OR REPLACE )?FUNCTION", script)) == 13
    assert {each.function for each in wanted} == {each.name for each in functions(schema)} - CALLED
    assert re.findall(r"ENABLE ALWAYS TRIGGER (\w+)", script) == [each.name for each in (*of_partitions, *wanted)]
    assert tuple(relations) == RELATIONS
    assert not re.search(r"\{(schema|strangers|sessions|events|tables|partitions)\}", script)


def test_no_trigger_function_has_a_set_clause() -> None:
    """It would cost writers 2 to 3 % of their rate: names are qualified instead."""
    assert {each.name for each in functions("readside") if each.settings} == CALLED


_BARE = re.compile(
    r"""(?<![\w."(])(?:=|<>|<=|>=|<|>|\+|-|\*|/|%|\|\||&|>>)(?![\w"])"""
    r"""|\bIS\s+(?:NOT\s+)?DISTINCT\b|\bIN\s*\(|\bBETWEEN\b|\bNULLIF\b|\bCASE\b|\bLIKE\b""",
    re.IGNORECASE,
)


def test_no_trigger_function_finds_an_operator_by_the_writers_path() -> None:
    """Each operator, type and called function names pg_catalog."""
    for each in functions("readside"):
        if each.name in CALLED:
            continue
        source = re.sub(r"--.*|:=|GET DIAGNOSTICS written = ROW_COUNT|OPERATOR\(pg_catalog\.[^)]+\)", "", each.source)
        source = source.replace("count(*)", "count()")

        assert _BARE.findall(source) == [], each.name
        assert re.findall(r"::(?!pg_catalog\.)", source) == [], each.name
        assert re.findall(r"(?<![\w.])(?!LEAST|VALUES|letters|ROW)[a-zA-Z_]\w*\((?!txid)", source) == [], each.name


def test_the_fingerprint_is_one_expression() -> None:
    """It can stand inside a call."""
    fingerprint = fingerprint_sql("readside", '"Write Side".sessions', "o'brien.events")

    assert (fingerprint[0], fingerprint[-1]) == ("(", ")")
    assert ";" not in fingerprint
    assert "pg_catalog.to_regclass('o''brien.events')" in fingerprint


def test_nothing_installed_is_said_once() -> None:
    """Not as a list of fifteen things that are missing."""
    assert differences("readside", Catalog([], [], [], [], [])) == ["the triggers are not installed on "]


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (["function f was altered"], "Function f was altered; run `readside install`."),
        (["a", "b", "c"], "A, b, c; run `readside install`."),
        (["a", "b", "c", "d", "e"], "A, b, c and 2 more; run `readside install`."),
    ],
)
def test_differences_make_one_sentence(wrong: list[str], expected: str) -> None:
    """Three are named and the rest counted."""
    assert sentence(wrong) == expected
