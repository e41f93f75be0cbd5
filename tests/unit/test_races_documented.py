"""The page of races names the tests that force them: each is there, and none is left out."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "specs" / "001-session-events" / "races.md").read_text()


def test_the_page_names_every_race_and_its_test() -> None:
    """One row each; a test that is renamed or added shows here."""
    named = re.findall(r"^\| .+ \| `(\w+\.py::\w+)` \|$", PAGE, re.MULTILINE)
    written = [
        f"{path.name}::{node.name}"
        for path in sorted((ROOT / "tests" / "races").glob("test_*.py"))
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]

    assert sorted(named) == sorted(written)
    assert len(re.findall(r"^\| .+ \|$", PAGE, re.MULTILINE)) == len(named) + 1  # its head
