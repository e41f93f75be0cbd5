"""The slim way to install: a built wheel and what deploy/requirements.lock names, in an environment of their own.

The packages are those that the tests' own environment got by the same pins and hashes. They are linked: no network is
asked.
"""

import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution, distributions
from importlib.util import find_spec
from pathlib import Path

import orjson
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.commanding import Site
from tests.support.keys import HEADERS, KEY
from tests.support.projecting import Writer
from tests.support.servers import connected
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
MOST_BYTES = 120_000_000
"""What the environment may take; it takes 94 MB (`make slim`)."""


def pinned() -> Iterator[Distribution]:
    """The packages of deploy/requirements.lock that this Python and this platform need, as they are installed here."""
    for line in (ROOT / "deploy/requirements.lock").read_text().splitlines():
        if line[:1].isalpha():
            requirement = Requirement(line.rstrip("\\ "))
            if requirement.marker is None or requirement.marker.evaluate():
                found = distribution(requirement.name)
                assert found.version in requirement.specifier, requirement
                yield found


def link(package: Distribution, place: Path) -> None:
    """Put a package's files into another environment; its scripts, which name this one, stay."""
    for file in package.files or ():
        if ".." not in file.parts:
            target = place / file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(file.locate())


def build(source: Path, into: Path) -> Path:
    """Build the wheel as `pip wheel --no-build-isolation` does, which starts three Pythons more; where it is."""
    run(sys.executable, "-c", BUILD, str(into), place=source)
    (wheel,) = into.glob("*.whl")
    return wheel


def install(wheel: Path, python: Path) -> None:
    """Install a wheel as `pip --python` does, which starts one Python more, without a network."""
    pip = Path(find_spec("pip").origin).with_name("__pip-runner__.py")  # type: ignore[union-attr, arg-type]
    how = "--disable-pip-version-check", "install", "--no-compile", "--no-deps", "--no-index"
    run(str(python), str(pip), *how, str(wheel), place=wheel.parent)


def run(*command: str, place: Path) -> None:
    """Run a command there to its end; what lies on PYTHONPATH would count as installed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(command, cwd=place, env=environment, capture_output=True, check=False, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def whole(packages: Path) -> None:
    """Check that each package has what it requires, as `pip check` does, which takes longer to start."""
    installed = {canonicalize_name(found.metadata["Name"]): found for found in distributions(path=[str(packages)])}
    for name, found in installed.items():
        for requirement in map(Requirement, found.requires or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                there = installed[canonicalize_name(requirement.name)]
                assert requirement.specifier.contains(there.version, prereleases=True), (name, requirement)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, installed so."""
    place = tmp_path_factory.mktemp("slim")
    source, environment = place / "source", place / "environment"
    source.mkdir()
    for name in ("pyproject.toml", "LICENSE", "readmodel", "projector", "query_api", "readside"):
        (source / name).symlink_to(ROOT / name)
    venv.create(environment, with_pip=False)
    (packages,) = environment.glob("lib/python*/site-packages")
    for package in pinned():
        link(package, packages)
    install(build(source, place), environment / "bin/python")
    whole(packages)
    return environment / "bin/readside"


def test_it_is_small(program: Path) -> None:
    """As installed, and not as the development's environment: nothing of that got into the lock."""
    files = [path for path in program.parents[1].rglob("*") if path.is_file()]

    assert sum(path.stat().st_size for path in files) < MOST_BYTES


def test_it_is_the_wheel_that_runs(program: Path) -> None:
    """And not the source beside the tests."""
    said = subprocess.run(
        [program.with_name("python"), "-c", "import readside; print(readside.__file__)"],
        cwd=program.parent,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        check=True,
        text=True,
    ).stdout

    assert Path(said).is_relative_to(program.parents[1])


def test_it_holds_the_javascript_client(program: Path) -> None:
    """The files that npm carries, of which the console is made: the wheel has no link that leads out of it."""
    sources = {file.name: file.read_bytes() for file in (ROOT / "clients/js/src").iterdir()}
    (console,) = program.parents[1].glob("lib/python*/site-packages/query_api/console")

    assert {file.name: file.read_bytes() for file in (console / "client").iterdir()} == sources


async def test_it_does_what_it_is_for(program: Path, database_url: str, redis_url: str) -> None:
    """It installs the triggers, the doctor is content with it, a projector leads and an API answers from the view."""
    site = Site.of(database_url, redis_url, REDIS_PREFIX="readside", API_KEYS=f"test:{KEY}", MAX_CONNECTIONS="100")
    slim = site.started_by(str(program))
    assert (await slim.run("install")).code == 0
    async with slim.projector() as projector, connected(database_url) as connection:
        await projector.says("live")
        session_id = await Writer(connection).session()
        async with slim.api() as client:

            async def from_redis() -> bool:
                answer = await client.get(f"/api/v2/sessions/{session_id}/events", headers=HEADERS)
                return answer.status_code == 200 and answer.headers["readside-source"] != "postgres"

            await eventually(from_redis, "the view answers")
        findings = orjson.loads((await slim.run("doctor", "--json")).out)
        assert [it for it in findings if it["state"] == "unknown"] == []
        await projector.stop()


async def test_the_demo_says_what_it_lacks(program: Path) -> None:
    """Servers come with the development's environment alone."""
    ended = await Site({}).started_by(str(program)).run("demo", "--port", "1")

    assert ended.code == 2
    assert "is not installed: it is the package" in ended.err
