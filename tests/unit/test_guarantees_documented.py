"""The page of guarantees, held against the tests that it names and the constants that it gives."""

import importlib
import re

import pytest

from tests.support.named_tests import NAMED_TEST, ROOT, names_in

PAGE = (ROOT / "specs" / "001-session-events" / "guarantees.md").read_text()
NAMED = NAMED_TEST.findall(PAGE)
BOUNDS = re.findall(r"^\| `([\w.]+)\.([A-Z_]+)` \| ([\d,.]+) \| `([\w/]+\.py)` \|", PAGE, re.MULTILINE)


def test_each_test_that_it_names_is_there() -> None:
    """One that is renamed or removed shows here."""
    assert len(NAMED) > 100
    assert [f"{path}::{name}" for path, name in NAMED if name not in names_in(path)] == []


def test_each_claim_names_its_test() -> None:
    """No row of a table of claims is without."""
    claims = re.findall(r"^\| claim \| test \|\n\|---\|---\|\n((?:\|.*\|\n)+)", PAGE, re.MULTILINE)
    rows = [row for table in claims for row in table.splitlines()]

    assert len(rows) > 60
    assert [row for row in rows if not re.fullmatch(r"\| .+? \| (?:`tests/[\w/]+\.py::\w+`(?:, )?)+ \|", row)] == []


@pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: ".".join(bound[:2]))
def test_a_bound_is_what_the_code_says(bound: tuple[str, str, str, str]) -> None:
    """By module and name, in the file that is named, with its value."""
    module, name, value, path = bound

    assert float(value.replace(",", "")) == getattr(importlib.import_module(module), name)
    assert module.replace(".", "/") + ".py" == path


def test_every_bound_is_checked() -> None:
    """A row that the test above could not read would say what it likes."""
    table = PAGE.split("| constant | is | in | at it |\n")[1].split("\n\n")[0]

    assert len(BOUNDS) == len(table.splitlines()) - 1
