"""The npm package: what is in it, that it installs without a network, and that its types are what it has."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.node import PACKAGE, REPOSITORY, node_program, ran

pytestmark = pytest.mark.asyncio(loop_scope="module")

TYPES = Path(__file__).parent / "types"
IMPORTED = """
const client = await import("readside-client"), react = await import("readside-client/react");
const names = (module) => Object.keys(module).sort();
console.log(JSON.stringify([names(client), names(react)]));
"""
DECLARED = re.compile(r"^export (?:declare )?(?:function|class|const) (\w+)", re.MULTILINE)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program's folder with the packed tarball installed, and React beside it."""
    node_program()
    made = tmp_path_factory.mktemp("program")
    npm = node_program("npm")
    (packed,) = json.loads(await ran(npm, "pack", "--json", "--loglevel=error", "--pack-destination", made, at=PACKAGE))
    (made / "package.json").write_text('{"name": "program", "private": true, "type": "module"}')
    (made / "packed.json").write_text(json.dumps(packed))
    quiet = ("--offline", "--ignore-scripts", "--no-audit", "--loglevel=error")
    await ran(npm, "install", *quiet, made / packed["filename"], at=made)
    for name in ("react", "csstype", "@types"):
        (made / "node_modules" / name).symlink_to(PACKAGE / "node_modules" / name)
    return made


async def test_the_tarball_has_the_sources_and_nothing_else(project: Path) -> None:
    """Modules, types, README and licence; no tests, no lock, no script."""
    packed = json.loads((project / "packed.json").read_text())
    paths = {each["path"] for each in packed["files"]}
    sources = {f"{folder}/{file.name}" for folder in ("src", "react", "types") for file in (PACKAGE / folder).iterdir()}

    assert paths == sources | {"package.json", "README.md", "LICENSE"}
    assert packed["filename"] == "readside-client-1.0.0.tgz"


async def test_what_is_installed_imports_and_declares_what_it_exports(project: Path) -> None:
    """In Node, by the names of its subpaths."""
    client, react = json.loads(await ran(node_program(), "--input-type=module", "--eval", IMPORTED, at=project))

    assert client == sorted(DECLARED.findall((PACKAGE / "types/index.d.ts").read_text()))
    assert react == sorted(DECLARED.findall((PACKAGE / "types/react.d.ts").read_text()))


async def test_a_strict_program_compiles_against_its_types(project: Path) -> None:
    """What the types must refuse is in the program, and is refused."""
    for file in TYPES.iterdir():
        (project / file.name).write_text(file.read_text())
    compiler = PACKAGE / "node_modules/typescript/bin/tsc"

    assert await ran(node_program(), compiler, "--project", project, at=project) == ""


async def test_it_has_no_dependency_and_no_side_effect() -> None:
    """React is a peer, for those who use it."""
    told = json.loads((PACKAGE / "package.json").read_text())

    assert told.get("dependencies") is None
    assert told["peerDependenciesMeta"] == {"react": {"optional": True}}
    assert (told["sideEffects"], told["engines"], told["license"]) == (False, {"node": ">=18"}, "MIT")
    assert "scripts" not in told
    assert (PACKAGE / "LICENSE").read_text() == (REPOSITORY / "LICENSE").read_text()


async def test_the_lock_names_no_registry() -> None:
    """And pins each package by its digest."""
    packages = json.loads((PACKAGE / "package-lock.json").read_text())["packages"]
    own = packages.pop("")

    assert own["version"] == json.loads((PACKAGE / "package.json").read_text())["version"] == "1.0.0"
    assert all("resolved" not in each and each["integrity"].startswith("sha512-") for each in packages.values())


async def test_the_clients_have_one_version() -> None:
    """That of npm and that of Python."""
    python = tomllib.loads((REPOSITORY / "clients/python/pyproject.toml").read_text())["project"]
    npm = json.loads((PACKAGE / "package.json").read_text())

    assert (python["name"], python["version"]) == (npm["name"], npm["version"])
