"""Where the demo keeps its files."""

from pathlib import Path

import pytest

from readmodel.errors import DemoError
from readside.demo.workspace import workspace


def test_a_temporary_workspace_goes() -> None:
    """Nothing is left behind without --data."""
    with workspace(None) as home:
        (home / "log").touch()

    assert not home.exists()


def test_a_named_workspace_stays_and_is_known_again(tmp_path: Path) -> None:
    """A second demo takes what the first one left."""
    data = tmp_path / "new" / "data"
    with workspace(data) as home:
        (home / "log").touch()
    with workspace(data) as again:
        names = sorted(path.name for path in again.iterdir())

    assert names == ["log", "readside-demo"]


def test_other_peoples_directories_are_refused(tmp_path: Path) -> None:
    """Servers would write into them, and a cluster would be made where one may be."""
    (tmp_path / "thesis.tex").touch()

    with pytest.raises(DemoError, match="holds other things"), workspace(tmp_path):
        pass


def test_two_demos_do_not_share(tmp_path: Path) -> None:
    """The second is told; the first goes on."""
    with workspace(tmp_path), pytest.raises(DemoError, match="in use by another demo"), workspace(tmp_path):
        pass


def test_a_file_is_no_workspace(tmp_path: Path) -> None:
    """One clear line, no traceback."""
    file = tmp_path / "file"
    file.touch()

    with pytest.raises(DemoError, match="cannot keep the demo's data: File exists"), workspace(file):
        pass
