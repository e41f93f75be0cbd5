"""What mutmut changes, and which tests are to notice."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.mutants.__main__ import FIRST, ROOT

NOT_OF_THE_SERVICE = {"bench", "demo", "mutants"}
BESIDE_UNITS = {"tests/contract", "tests/doorway/test_endings.py", "tests/doorway/test_smuggling.py"}


@pytest.fixture(scope="module")
def configuration() -> dict[str, Any]:
    """Return mutmut's table of pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutmut"]
    return table


def test_what_is_changed_exists(configuration: dict[str, Any]) -> None:
    """A module that was renamed does not drop out unseen."""
    assert [pattern for pattern in configuration["only_mutate"] if not list(ROOT.glob(pattern))] == []


def test_the_whole_core_is_changed(configuration: dict[str, Any]) -> None:
    """New modules of it as well."""
    assert "projector/core/*.py" in configuration["only_mutate"]


def test_the_first_module_is_changed(configuration: dict[str, Any]) -> None:
    """Without it, there is no mutant to begin with."""
    assert f"{FIRST.removesuffix('.*').replace('.', '/')}.py" in configuration["only_mutate"]


def test_every_unit_test_of_the_service_is_to_notice(configuration: dict[str, Any]) -> None:
    """And the contract suite, and what of the doorway's own needs no server."""
    units = {path for path in (ROOT / "tests/unit").iterdir() if path.is_dir() and list(path.glob("test_*.py"))}
    wanted = {str(path.relative_to(ROOT)) for path in units if path.name not in NOT_OF_THE_SERVICE}

    assert set(configuration["pytest_add_cli_args_test_selection"]) == wanted | BESIDE_UNITS


def test_what_the_tests_need_is_copied(configuration: dict[str, Any]) -> None:
    """The tests and what is changed are copied anyhow."""
    assert [name for name in configuration["also_copy"] if not Path(ROOT / name).is_dir()] == []
