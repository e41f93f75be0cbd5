"""Tests as documents name them."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
"""(file, name)."""


@cache
def names_in(path: str) -> frozenset[str]:
    """The names of a file's tests."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = ast.parse((ROOT / path).read_text()).body if (ROOT / path).exists() else []
    return frozenset(node.name for node in nodes if isinstance(node, functions) and node.name.startswith("test_"))
