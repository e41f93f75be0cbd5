"""`make release`, but for what a network brings: the files of a release, built from what is under version control."""

import hashlib
import os
import re
import subprocess
import sys
import tarfile
import time
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from readmodel.version import VERSION

ROOT = Path(__file__).parents[2]


def release(dist: Path) -> subprocess.CompletedProcess[str]:
    """Build, as somebody who keeps files to themselves."""
    command = [sys.executable, str(ROOT / "deploy/release.py"), "--dist", str(dist), "--without-twine"]
    return subprocess.run(command, umask=0o077, capture_output=True, check=False, text=True)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The directory of what was built, in the place of an earlier release, and what was printed."""
    dist = tmp_path_factory.mktemp("release")
    (dist / "SHA256SUMS").write_text("00  readside-0.9.0.tar.gz\n")
    (dist / "readside-0.9.0.tar.gz").touch()
    ended = release(dist)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return dist, ended.stdout


def test_a_release_has_all_its_files_with_their_sums(built: tuple[Path, str]) -> None:
    """Each is listed with its size and SHA-256."""
    dist, output = built
    names = {
        f"readside-{VERSION}-py3-none-any.whl",
        f"readside-{VERSION}.tar.gz",
        f"readside_client-{VERSION}-py3-none-any.whl",
        f"readside_client-{VERSION}.tar.gz",
        f"readside-client-{VERSION}.tgz",
        f"readside-{VERSION}-image.tar.gz",
    }
    listed = {line.split()[0]: line.split()[-1] for line in output.splitlines()[1:]}

    assert listed == {name: hashlib.sha256((dist / name).read_bytes()).hexdigest() for name in names}
    assert (dist / "SHA256SUMS").read_text() == "".join(f"{listed[name]}  {name}\n" for name in sorted(names))
    assert {file.name for file in dist.iterdir()} == names | {"SHA256SUMS"}


@pytest.mark.parametrize("package", ["readside", "readside_client"])
def test_a_wheel_tells_what_it_is_and_has_no_tests(built: tuple[Path, str], package: str) -> None:
    """What `twine check --strict` asks for, and every kind of data file."""
    with zipfile.ZipFile(built[0] / f"{package}-{VERSION}-py3-none-any.whl") as wheel:
        told = Parser().parsestr(wheel.read(f"{package}-{VERSION}.dist-info/METADATA").decode())
        names = wheel.namelist()

    assert (told["Version"], told["Description-Content-Type"], told["License-Expression"]) == (
        VERSION,
        "text/markdown",
        "MIT",
    )
    assert str(told.get_payload()).strip()
    assert not any(re.search(r"(^|/)(tests?|conftest\.py|bench)(/|$)", name) for name in names)
    if package == "readside":
        assert {Path(name).suffix for name in names} >= {".py", ".sql", ".lua", ".js", ".css", ".html"}


def test_the_console_of_the_wheel_has_the_javascript_client(built: tuple[Path, str], tmp_path: Path) -> None:
    """In the repository that is a link out of the package; the wheel has the files, and an API serves them."""
    with zipfile.ZipFile(built[0] / f"readside-{VERSION}-py3-none-any.whl") as wheel:
        wheel.extractall(tmp_path)
    client = {f"query_api/console/client/{file.name}" for file in (ROOT / "clients/js/src").iterdir()}

    assert "query_api/console/client/index.js" in client
    assert {name for name in wheel.namelist() if name.startswith("query_api/console/client/")} == client

    code = "import query_api.operators.pages as pages; pages.Pages(''); print(pages.__file__)"
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-P", "-c", code]
    ended = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, check=False, text=True)
    assert ended.returncode == 0, ended.stderr
    assert Path(ended.stdout.strip()).is_relative_to(tmp_path)


def test_the_image_is_built_from_what_it_needs_alone(built: tuple[Path, str]) -> None:
    """`docker build - <FILE`."""
    with tarfile.open(built[0] / f"readside-{VERSION}-image.tar.gz") as context:
        entries = context.getmembers()
    names = {entry.name for entry in entries}

    assert names >= {"Dockerfile", "pyproject.toml", "LICENSE", "deploy/requirements.lock", "readside/cli.py"}
    assert not any(name.startswith(("tests/", "specs/", ".git/")) for name in names)
    assert {entry.name: entry.linkname for entry in entries if not entry.isfile()} == {
        "query_api/console/client": "../../clients/js/src"
    }
    assert "clients/js/src/index.js" in names


@pytest.mark.parametrize("name", ["readside-{}-image", "readside-{}", "readside_client-{}"])
def test_an_archive_tells_nothing_of_its_builder(built: tuple[Path, str], name: str) -> None:
    """Owner, modes and times are those of the commit, so that another builder makes the same bytes."""
    file = built[0] / f"{name.format(VERSION)}.tar.gz"
    with tarfile.open(file) as archive:
        entries = archive.getmembers()

    assert {(entry.uid, entry.gid, entry.uname, entry.gname) for entry in entries} == {(0, 0, "", "")}
    assert {oct(entry.mode) for entry in entries if entry.isfile()} == {"0o644"}
    assert {entry.mtime for entry in entries} == {committed_at()}
    assert int.from_bytes(file.read_bytes()[4:8], "little") == committed_at()
    assert [entry.name for entry in entries] == sorted(entry.name for entry in entries)


@pytest.mark.parametrize("package", ["readside", "readside_client"])
def test_a_wheel_tells_nothing_of_its_builder(built: tuple[Path, str], package: str) -> None:
    """The same; a wheel has no owner."""
    with zipfile.ZipFile(built[0] / f"{package}-{VERSION}-py3-none-any.whl") as wheel:
        entries = wheel.infolist()

    assert {oct(entry.external_attr >> 16 & 0o777) for entry in entries} <= {"0o644", "0o664"}
    assert {entry.date_time for entry in entries} == {time.gmtime(committed_at() // 2 * 2)[:6]}


def test_what_no_release_put_there_is_left_alone(tmp_path: Path) -> None:
    """Whoever names a directory of other things hears so before anything is built, and loses nothing."""
    (tmp_path / "SHA256SUMS").write_text("00  readside-0.9.0.tar.gz\n")
    (tmp_path / "readside-0.9.0.tar.gz").touch()
    (tmp_path / "thesis.tex").touch()
    ended = release(tmp_path)

    assert ended.returncode == 1
    assert ended.stderr == (
        f"release: {tmp_path} holds what no earlier release put there (thesis.tex): empty it first\n"
    )
    assert {file.name for file in tmp_path.iterdir()} == {"SHA256SUMS", "readside-0.9.0.tar.gz", "thesis.tex"}


def committed_at() -> int:
    """When the last commit was made, in seconds since 1970."""
    command = ["git", "log", "-1", "--format=%ct"]
    return int(subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout)
