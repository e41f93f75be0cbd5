"""The distribution: what it contains, what it needs, and that nothing of the server is in it."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from inspect import getdoc, signature
from pathlib import Path
from shutil import copytree, ignore_patterns
from typing import Any

import pytest

import readside_client
from readside_client import AsyncClient, Client

ROOT = Path(__file__).parents[3]
PROJECT = ROOT / "clients" / "python"
SOURCES = sorted((PROJECT / "src" / "readside_client").glob("*.py"))
README = (PROJECT / "README.md").read_text()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built of a copy, without a download."""
    directory = tmp_path_factory.mktemp("wheel")
    source = copytree(PROJECT, directory / "source", ignore=ignore_patterns("build", "*.egg-info", "__pycache__"))
    script = "import sys, setuptools.build_meta as it; it.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", script, str(directory)], cwd=source, check=True, capture_output=True)
    (wheel,) = directory.glob("*.whl")
    return zipfile.ZipFile(wheel)


def test_the_wheel_holds_the_package_its_types_and_its_licence(built: zipfile.ZipFile) -> None:
    """And nothing else."""
    names = {name for name in built.namelist() if ".dist-info/" not in name}
    others = {name.split(".dist-info/")[1] for name in built.namelist() if ".dist-info/" in name}

    assert names == {f"readside_client/{path.name}" for path in SOURCES} | {"readside_client/py.typed"}
    assert others == {"METADATA", "RECORD", "WHEEL", "licenses/LICENSE", "top_level.txt"}


def test_the_wheel_needs_httpx_alone(built: zipfile.ZipFile) -> None:
    """On the Pythons that the project supports."""
    (name,) = [name for name in built.namelist() if name.endswith("METADATA")]
    metadata = built.read(name).decode()

    assert re.findall(r"^Requires-Dist: (.+)$", metadata, re.MULTILINE) == ["httpx<1,>=0.28"]
    assert re.findall(r"^Requires-Python: (.+)$", metadata, re.MULTILINE) == [">=3.11"]


def test_the_wheel_works_where_there_is_no_server(built: zipfile.ZipFile, tmp_path: Path) -> None:
    """Imported from the wheel's files alone, it loads nothing of ours."""
    built.extractall(tmp_path)
    script = """
import sys
sys.path.insert(0, sys.argv[1])
import readside_client
assert readside_client.__file__.startswith(sys.argv[1])
readside_client.Client("http://readside.example").close()
print(*sorted({name.partition(".")[0] for name in sys.modules} & {"readside", "readmodel", "query_api", "projector"}))
"""
    command = [sys.executable, "-P", "-c", script, str(tmp_path)]
    ran = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path)

    assert ran.stdout.strip() == ""


def test_it_imports_httpx_and_the_standard_library_alone() -> None:
    """The protocol's part does not even know httpx."""
    imported = {path.name: _imports(path) for path in SOURCES}
    outside = {name: {top for top in tops if top not in sys.stdlib_module_names} for name, tops in imported.items()}

    assert {top for tops in outside.values() for top in tops} == {"httpx", "readside_client"}
    assert sorted(name for name, tops in outside.items() if "httpx" in tops) == ["aio.py", "client.py", "connection.py"]


def _imports(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("method", ["events", "follow", "warm", "projection", "__init__"])
def test_both_clients_are_called_alike(method: str) -> None:
    """Same parameters, same words."""
    calls: list[Any] = [getattr(kind, method) for kind in (Client, AsyncClient)]
    one, other = ({name: (it.kind, it.default) for name, it in signature(call).parameters.items()} for call in calls)

    assert one == other
    assert getdoc(calls[0]) == getdoc(calls[1])


def test_the_readme_tells_every_option_of_following_with_its_default() -> None:
    """In the order of the signature."""
    told = re.findall(r"^\| `(\w+)` \| (.+?) \| ", README.partition("## `events`")[0], re.MULTILINE)
    options = [it for it in signature(Client.follow).parameters.values() if it.kind == it.KEYWORD_ONLY]

    assert [name for name, _ in told] == [option.name for option in options]
    assert [default for _, default in told] == [_shown(option.default) for option in options]


def _shown(default: object) -> str:
    return {None: "–", (): "any"}.get(default) or (f"{default:,}" if type(default) is int else str(default))  # type: ignore[call-overload]


def test_the_readme_names_all_that_is_public_and_matters() -> None:
    """Clients and errors."""
    named = set(readside_client.__all__) - {"Event", "Freshness", "Page", "ReadsideError"}

    assert [name for name in sorted(named) if name not in README] == []


def test_its_requirement_and_builder_are_locked() -> None:
    """The tests run it with the lock's httpx."""
    lock = (ROOT / "requirements.lock").read_text()
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["build-system"]["requires"]]

    assert [name for it in wanted if f"\n{(name := re.split(r'[<>=]', it)[0])}==" not in lock] == []
    assert (PROJECT / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()
