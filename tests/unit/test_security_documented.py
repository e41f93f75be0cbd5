"""SECURITY.md, held against the tests that it names."""

import re

from tests.support.named_tests import NAMED_TEST, ROOT, names_in

PAGE = (ROOT / "SECURITY.md").read_text()
TABLE = re.compile(r"^\| may try \| what stops it \| test \|\n\|---\|---\|---\|\n((?:\|.*\|\n)+)", re.MULTILINE)
ROW = re.compile(r"\| .+? \| .+? \| (?:`tests/[\w/]+\.py::\w+`(?:, )?)+ \|")


def test_each_test_that_it_names_is_there() -> None:
    """One that is renamed or removed shows here."""
    named = NAMED_TEST.findall(PAGE)

    assert len(named) > 30
    assert [f"{path}::{name}" for path, name in named if name not in names_in(path)] == []


def test_each_attack_names_what_stops_it_and_its_test() -> None:
    """No row of the tables of those who may want something is without."""
    rows = [row for table in TABLE.findall(PAGE) for row in table.splitlines()]

    assert len(rows) > 25
    assert [row for row in rows if not ROW.fullmatch(row)] == []


def test_each_attack_before_and_after_names_its_test() -> None:
    """What is said to be mended is tried."""
    table = PAGE.split("| attack | before | after | test |\n|---|---|---|---|\n")[1].strip().splitlines()

    assert len(table) > 10
    assert [row for row in table if not re.fullmatch(rf"\| .+? {ROW.pattern}", row)] == []


def test_it_says_how_to_report() -> None:
    """Privately, and without an address that may be nobody's."""
    assert "privately, through the repository's security advisories" in PAGE
    assert "@" not in PAGE
