"""Tests as documents name them."""

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
"""(file, name)."""
_TOP_LEVEL_TEST = re.compile(r"^(?:async )?def (test_\w+)\(", re.MULTILINE)


@cache
def names_in(path: str) -> frozenset[str]:
    """The names of a file's tests."""
    text = (ROOT / path).read_text() if (ROOT / path).exists() else ""
    return frozenset(_TOP_LEVEL_TEST.findall(text))
