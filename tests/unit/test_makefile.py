"""What `make slim` and its like touch, and what they leave alone.

The environments are real, and their pip is not: no network is asked.
"""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = f"""#!/bin/bash
# Makes real environments, each with a pip that makes what the real one would.
set -eu
umask >>"$LOG"
{sys.executable} "$@" --without-pip
for place; do :; done
cat >"$place/bin/pip" <<'PIP'
#!/bin/bash
set -eu
case " $* " in
*" wheel "*) while [ "$1" != --wheel-dir ]; do shift; done; mkdir -p "$2"; touch "$2/readside-1-py3-none-any.whl" ;;
*" --no-index "*) into="$(dirname "$2")"; echo 'echo readside 1' >"$into/readside"; chmod +x "$into/readside" ;;
esac
PIP
chmod +x "$place/bin/pip"
"""


class Clone:
    """The Makefile in a directory of its own, with sources that are a file each."""

    def __init__(self, place: Path) -> None:
        self.place = place / "clone"
        self.log = place / "umasks"
        self.temporary = place / "temporary"
        self.temporary.mkdir()
        self.python = place / "a python"
        self.python.write_text(PYTHON)
        self.python.chmod(0o755)
        for name in ("readmodel", "projector", "query_api", "readside", "deploy"):
            (self.place / name).mkdir(parents=True)
        for name in ("pyproject.toml", "LICENSE"):
            (self.place / name).touch()
        shutil.copy(ROOT / "Makefile", self.place)

    def make(self, target: str, *, umask: int = 0o022, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run make with these variables on its command line."""
        given = {"PYTHON": str(self.python), **variables}
        return subprocess.run(
            ["make", target, *(f"{name}={value}" for name, value in given.items())],
            cwd=self.place,
            env={
                "PATH": os.environ["PATH"],
                "TMPDIR": str(self.temporary),
                "LOG": str(self.log),
                "HOME": str(self.place.parent),
            },
            umask=umask,
            capture_output=True,
            check=False,
            text=True,
        )

    def holds(self) -> set[str]:
        """Every file and directory of the clone."""
        return {str(path.relative_to(self.place)) for path in self.place.rglob("*")}


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """A clone in which nothing was built."""
    return Clone(tmp_path)


def test_a_slim_install_leaves_the_clone_as_it_was(clone: Clone, tmp_path: Path) -> None:
    """Root may run it: the clone's owner can build there afterwards. The second one takes the place of the first."""
    before, prefix = clone.holds(), tmp_path / "a new/place"
    first = clone.make("slim", PREFIX=str(prefix))
    (prefix / "of-the-first").touch()
    second = clone.make("slim", PREFIX=str(prefix))

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert "readside 1" in second.stdout
    assert (prefix / "bin/readside").exists()
    assert not (prefix / "of-the-first").exists()
    assert clone.holds() == before
    assert list(clone.temporary.iterdir()) == []


def test_a_slim_install_clears_nothing_else(clone: Clone, tmp_path: Path) -> None:
    """Neither another's files nor an environment that something else made; no name at all is none either."""
    theirs, environment = tmp_path / "theirs", tmp_path / "environment"
    theirs.mkdir()
    (environment / "bin").mkdir(parents=True)
    (theirs / "file").touch()
    (environment / "pyvenv.cfg").write_text("version = 3.11.2\n")
    for prefix, kept in ((theirs, theirs / "file"), (environment, environment / "pyvenv.cfg")):
        refused = clone.make("slim", PREFIX=str(prefix))

        assert refused.returncode != 0
        assert f"{prefix} holds what `make slim` did not put there" in refused.stderr
        assert kept.exists()
    before = clone.holds()
    assert clone.make("slim", PREFIX="").returncode != 0
    assert clone.holds() == before


def test_a_prefix_of_the_environment_is_not_meant(clone: Clone) -> None:
    """Other tools use the name for where all of theirs goes."""
    told = subprocess.run(
        ["make", "-n", "slim", "PYTHON=python3"],
        cwd=clone.place,
        env={"PATH": os.environ["PATH"], "PREFIX": "/usr/local"},
        capture_output=True,
        check=True,
        text=True,
    ).stdout

    assert "/usr/local" not in told
    assert "/opt/readside" in told


def test_everybody_may_run_what_a_careful_root_installs(clone: Clone, tmp_path: Path) -> None:
    """The units run as users of their own. Not every shell reads a `~` behind a `=`."""
    prefix = tmp_path / "new" / "place"
    ended = clone.make("slim", umask=0o077, PREFIX="~/new/place")

    assert ended.returncode == 0, ended.stderr
    assert set(clone.log.read_text().split()) == {"0022"}
    assert all(stat.S_IMODE(place.stat().st_mode) == 0o755 for place in (prefix, prefix.parent, prefix / "bin"))


def test_a_wheel_is_built_into_dist(clone: Clone) -> None:
    """In the place of an earlier one, and beside what else is there."""
    dist = clone.place / "dist"
    dist.mkdir()
    for name in ("readside-0-py3-none-any.whl", "other.whl"):
        (dist / name).touch()
    ended = clone.make("wheel")

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "dist/readside-1-py3-none-any.whl\n"
    assert {path.name for path in dist.iterdir()} == {"readside-1-py3-none-any.whl", "other.whl"}


@pytest.mark.parametrize("target", ["wheel", "release", "slim", "lock", ".venv/.installed"])
def test_without_a_new_python_it_says_so(clone: Clone, tmp_path: Path, target: str) -> None:
    """And does nothing: `-m venv` alone is not run as a command whose errors are ignored."""
    (clone.place / "requirements.lock").touch()
    before = clone.holds()
    ended = clone.make(target, PYTHON="", PREFIX=str(tmp_path / "new"))

    assert ended.returncode != 0
    assert ended.stderr.startswith("readside needs Python 3.11 or newer on the PATH")
    assert clone.holds() == before
