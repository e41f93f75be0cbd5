"""What the triggers' script holds, and which servers are refused, without a server."""

from __future__ import annotations

import re
from typing import Any, cast

import pytest

from projector.tail.trigger_catalog import TRIGGERS, differences, functions, sentence
from projector.tail.triggers import FINGERPRINT_SQL, install, install_sql
from readmodel.errors import ConfigurationError, SchemaMissing, ServerInRecovery
from readmodel.postgres_client import Connection

SERVER = {
    "version": 150004,
    "in_recovery": False,
    "address": "10.0.0.5:5432",
    "max_prepared_transactions": 0,
    "schemas": ["public"],
}
NO_TABLE = {"name": "sessions", "full_name": "sessions", "oid": None, "columns": "{}"}


class FakeConnection:
    """Answers the first query with a server's facts, and the next with a table that is not there."""

    def __init__(self, **facts: object) -> None:
        self._answers: list[list[dict[str, Any]]] = [[{**SERVER, **facts}], [NO_TABLE]]

    async def fetch(self, *_: object) -> list[dict[str, Any]]:
        return self._answers.pop(0)


async def warnings_of(**facts: object) -> list[str]:
    """What `install` warns of on such a server, before it finds no table."""
    warnings: list[str] = []
    with pytest.raises(SchemaMissing, match="Table sessions was not found in schema public"):
        await install(cast("Connection", FakeConnection(**facts)), warn=warnings.append)
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
    """They fail where a notice was sent; most servers have none."""
    assert await warnings_of() == []
    [warning] = await warnings_of(max_prepared_transactions=10)

    assert warning.startswith("max_prepared_transactions is 10: with the triggers, PREPARE TRANSACTION fails")


def test_the_script_is_one_transaction() -> None:
    """It begins and commits once, and waits briefly for its locks."""
    script = install_sql()
    lines = [line for line in script.splitlines() if line and not line.startswith("--")]

    assert (lines[0], lines[1], lines[-1]) == ("BEGIN;", "SET LOCAL lock_timeout = '1500ms';", "COMMIT;")
    assert script.count("COMMIT;") == 1


def test_the_script_makes_what_is_compared() -> None:
    """Every trigger and function that `inspect` expects, and no other."""
    script = install_sql()
    made = re.findall(r"CREATE OR REPLACE TRIGGER (\w+) AFTER \w+ ON (\w+)", script)

    assert [(name, table) for name, table in made] == [(trigger.name, trigger.table) for trigger in TRIGGERS]
    assert len(functions()) == len(re.findall(r"CREATE (?:OR REPLACE )?FUNCTION", script)) == 7
    assert {f"readside.{function.name}" for function in functions()} == {trigger.function for trigger in TRIGGERS}
    assert re.findall(r"ENABLE ALWAYS TRIGGER (\w+)", script) == [trigger.name for trigger in TRIGGERS]


def test_every_function_has_a_search_path_of_its_own() -> None:
    """And runs with the writer's rights."""
    assert all("search_path=pg_catalog, pg_temp" in function.settings for function in functions())
    assert "SECURITY DEFINER" not in install_sql()


def test_the_fingerprint_is_one_expression() -> None:
    """It can stand inside a call."""
    assert FINGERPRINT_SQL.startswith("(")
    assert FINGERPRINT_SQL.endswith(")")
    assert ";" not in FINGERPRINT_SQL


def test_nothing_installed_is_said_once() -> None:
    """Not as a list of fifteen things that are missing."""
    assert differences([], [], []) == ["the triggers are not installed on "]


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
