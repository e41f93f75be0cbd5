"""What holds for the repository as a whole: its locks, its package data, the names in its files."""

import ast
import json
import re
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("readside", "projector", "query_api", "readmodel")
LOCKS = ("requirements.lock", "deploy/requirements.lock", "deploy/release.lock")
NPM_LOCK = "tests/clients/published/package-lock.json"
OPENERS = re.compile(r"\b(?:read_text|write_text|open|TextIOWrapper)\(")
"""Without any of these calls, a module opens no file."""


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    """Return pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def tracked_files() -> list[Path]:
    """List the files under version control."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [path for name in listing.split("\0") if name and (path := ROOT / name).is_file()]


def locked(lock: str) -> dict[str, set[str]]:
    """Parse a lock file into its pins, name==version, each with its hashes."""
    text = re.sub(r"\s*#.*", "", (ROOT / lock).read_text()).replace("\\\n", " ")
    lines = [line.split(" ", 1) for line in text.splitlines() if line.strip()]
    return {pin: set(re.findall(r"--hash=(sha256:[0-9a-f]{64})\b", rest)) for pin, rest in lines}


def name_of(requirement: str) -> str:
    """Return a requirement's project name, normalized as PEP 503 says."""
    return re.sub(r"[-_.]+", "-", re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]).lower()


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_address(lock: str) -> None:
    """Where packages come from is the business of the machine that installs them."""
    text = (ROOT / lock).read_text()

    assert re.findall(r"\w+://|@ |^\s*-(?!-hash=)\S+", text, re.MULTILINE) == []


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_pins_every_package_with_hashes(lock: str) -> None:
    """Only the files that were looked at are ever installed."""
    pins = locked(lock)

    assert len(pins) > 20
    assert [
        pin for pin, hashes in pins.items() if not hashes or not re.fullmatch(r"[a-z0-9.-]+==[0-9][\w.]*", pin)
    ] == []


def test_npms_lock_pins_every_package_and_names_no_address() -> None:
    """By itself npm writes where it found each of them."""
    text = (ROOT / NPM_LOCK).read_text()
    pins = [pin for place, pin in json.loads(text)["packages"].items() if place]

    assert pins
    assert [pin for pin in pins if not re.fullmatch(r"sha512-[A-Za-z0-9+/]{86}==", pin["integrity"])] == []
    assert re.findall(r'\w+://|"resolved"', text) == []


def test_every_dependency_is_locked(pyproject: dict[str, Any]) -> None:
    """The lock was written after the last change of pyproject.toml."""
    project = pyproject["project"]
    extras = [requirement for extra in project["optional-dependencies"].values() for requirement in extra]
    wanted = {name_of(requirement) for requirement in project["dependencies"] + extras} - {"readside"}

    assert wanted <= {pin.partition("==")[0] for pin in locked("requirements.lock")}
    assert {name_of(it) for it in project["dependencies"]} <= {pin.partition("==")[0] for pin in locked(LOCKS[1])}


def test_the_image_runs_the_versions_that_the_tests_ran() -> None:
    """The image's lock is a part of the whole one, and so is what builds the wheel that it gets."""
    whole = locked("requirements.lock")

    assert locked("deploy/requirements.lock").items() <= whole.items()
    assert locked("deploy/build.lock").items() <= whole.items()
    assert locked("deploy/demo.lock").items() <= whole.items()


def test_the_demo_is_installed_with_its_servers(pyproject: dict[str, Any]) -> None:
    """`make demo` asks for these beside what every process runs with."""
    servers = {name_of(each) for each in pyproject["project"]["optional-dependencies"]["demo"]}

    assert servers <= {pin.partition("==")[0] for pin in locked("deploy/demo.lock")}


def test_what_builds_is_not_installed(pyproject: dict[str, Any]) -> None:
    """The wheel is built with what pyproject.toml requires for it, which no process of ours needs."""
    required = {name_of(requirement) for requirement in pyproject["build-system"]["requires"]}

    assert {pin.partition("==")[0] for pin in locked("deploy/build.lock")} == required
    assert required.isdisjoint(pin.partition("==")[0] for pin in locked("deploy/requirements.lock"))


def test_every_data_file_of_a_package_is_packaged(pyproject: dict[str, Any]) -> None:
    """A script or a query that an installed readside would miss is one that no pattern names."""
    patterns = pyproject["tool"]["setuptools"]["package-data"]["*"]
    data = [path for path in tracked_files() if path.relative_to(ROOT).parts[0] in PACKAGES and path.suffix != ".py"]

    assert [path for path in data if not any(fnmatch(path.name, pattern) for pattern in patterns)] == []
    assert {path.suffix for path in data} >= {".lua", ".sql"}


def test_every_documented_target_exists() -> None:
    """`make` offers what the documents name."""
    targets = set(re.findall(r"^(\w+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert targets >= {
        "install",
        "demo",
        "test",
        "check",
        "wheel",
        "release",
        "slim",
        "bench",
        "format",
        "lock",
        "clean",
        "help",
    }


def test_no_file_names_a_path_of_one_machine() -> None:
    """What is under version control works wherever it is cloned."""
    machine = re.compile(rb"(?<![\w.])/(?:work|root|Users)/")

    assert [path for path in tracked_files() if machine.search(path.read_bytes())] == []


def names_no_encoding(call: ast.Call) -> bool:
    """Whether a call opens, reads or writes a file as text and leaves the encoding to the locale."""
    if any(keyword.arg == "encoding" for keyword in call.keywords):
        return False
    modes = [each.value for each in call.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    match call.func:
        case ast.Attribute(attr="read_text" | "write_text"):
            return True
        case ast.Attribute(attr="open"):  # others have an `open` too: a path's has a mode, or nothing
            return all("b" not in mode for mode in modes) if modes else not call.args and not call.keywords
        case ast.Name(id="open"):
            return all("b" not in mode for mode in modes)
        case ast.Name(id="TextIOWrapper"):
            return len(call.args) < 2
    return False


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("p.read_text()", True), ("files(x).joinpath('a').read_text()", True), ("p.write_text('é')", True),
        ("open(p)", True), ("open(p, 'w')", True), ("p.open()", True), ("p.open('w')", True),
        ("TextIOWrapper(b)", True),
        ("p.read_text(encoding='utf-8')", False), ("open(p, 'rb')", False), ("p.open('rb')", False),
        ("open(0, encoding='utf-8')", False), ("Client.open(host, port)", False), ("TextIOWrapper(b, 'utf-8')", False),
    ],
)  # fmt: skip
def test_what_leaves_an_encoding_to_the_locale(source: str, found: bool) -> None:
    """The rule below sees each way to a file of text; ruff's own does not see packages' files."""
    call = ast.parse(source, mode="eval").body

    assert isinstance(call, ast.Call)
    assert names_no_encoding(call) is found


def test_no_file_is_read_in_the_locales_encoding() -> None:
    """`PYTHONUTF8=0 LC_ALL=C` reads the same: each file that the program or a measurement opens names its own."""
    sources = [path for path in tracked_files() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] != "tests"]
    read = {path: path.read_text(encoding="utf-8") for path in sources}
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path, text in read.items()
        if OPENERS.search(text)  # to walk through each tree takes a second
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and names_no_encoding(node)
    ]

    assert len(sources) > 100
    assert found == []
