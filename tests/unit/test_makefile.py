"""Which Python `make` builds the environment with."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOW = "show:\n\t@echo $(PYTHON)\n"
NONE = "exit 127"
"""A shim with nothing behind it."""


@pytest.fixture
def taken(tmp_path: Path) -> Callable[..., str]:
    """Puts programs on a PATH of their own, in this order; tells which is taken."""

    def take(**pythons: str) -> str:
        show = tmp_path / "show.mk"
        show.write_text(SHOW)
        for at, (name, does) in enumerate(pythons.items()):
            program = tmp_path / str(at) / name.partition("_")[0].replace("python3", "python3.")
            program.parent.mkdir()
            program.write_text(f"#!/bin/sh\n{does}\n")
            program.chmod(0o755)
        tools = tmp_path / "tools"
        tools.mkdir()
        for tool in ("make", "bash", "sh", "sort", "sed"):
            (tools / tool).symlink_to(shutil.which(tool) or tool)
        path = ":".join(str(tmp_path / name) for name in (*map(str, range(len(pythons))), "tools"))
        ended = subprocess.run(
            ["make", "--silent", "-f", "Makefile", "-f", show, "show"],
            env={"PATH": path}, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        return ended.stdout.strip()

    return take


def test_the_quickest_of_a_name_is_taken(taken: Callable[..., str]) -> None:
    """But for one that cannot make environments."""
    assert (
        taken(
            python311_slow="echo 0 0.090 /slow",
            python311_none=NONE,
            python311_quick="echo 0 0.000 /quick",
            python311_bare="echo 1 0.000 /bare",
            python311_last=NONE,
            python312="echo 0 0.000 /newer",
        )
        == "/quick"
    )


def test_another_name_is_tried_where_none_is_new_enough(taken: Callable[..., str]) -> None:
    """A name may be a shim with nothing behind it, or a Python that is too old."""
    assert taken(python311=NONE, python312="echo 0 0.300 /newer", python313="echo 0 0.000 /newest") == "/newer"


def test_without_any_it_is_said(taken: Callable[..., str]) -> None:
    """There is nothing to take."""
    assert taken(python311=NONE, python3=NONE) == ""


def test_a_python_says_how_it_is() -> None:
    """Whether it makes environments, how quick it is, and where."""
    said = subprocess.run(
        [sys.executable, "deploy/how_quick.py"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()

    assert said[0] in {"0", "1"}
    assert 0 < float(said[1]) < 60
    assert Path(said[2]).samefile(sys.executable)
