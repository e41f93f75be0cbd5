"""One number for all that is released together, with one home: readmodel/version.py."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from query_api.openapi import document
from readmodel.version import VERSION
from readside.cli import app

ROOT = Path(__file__).parents[2]
NAMED = {
    "deploy/kubernetes/install/kustomization.yaml": r"newTag: (\S+)",
    "deploy/kubernetes/overlays/large/kustomization.yaml": r"newTag: (\S+)",
    "deploy/kubernetes/overlays/small/kustomization.yaml": r"newTag: (\S+)",
    "CHANGELOG.md": r"^## \[?(\d[\w.]*)",
}
"""Files that cannot ask for it, and where they name it first."""


@pytest.mark.parametrize("file", NAMED)
def test_what_names_the_version_names_this_one(file: str) -> None:
    """The images of the manifests, and the newest part of the changelog."""
    found = re.search(NAMED[file], (ROOT / file).read_text(), re.MULTILINE)

    assert found is not None
    assert found[1] == VERSION


def test_documents_name_no_other_version() -> None:
    """A file or an image that somebody builds by a document bears this version."""
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "specs").rglob("*.md")]
    texts = [path.read_text() for path in documents if "decisions" not in path.parts]
    named = [version for text in texts for version in re.findall(r"\breadside[-:](\d+\.\d+\.\d+)", text)]

    assert set(named) <= {VERSION}


def test_the_clients_are_of_the_same_version() -> None:
    """They are released with the API that they are tested with."""
    python = tomllib.loads((ROOT / "clients/python/pyproject.toml").read_text())["project"]["version"]
    npm = [json.loads(file.read_text())["version"] for file in ROOT.glob("clients/js/package.json")]

    assert {python, *npm} == {VERSION}


def test_package_command_and_document_read_it_from_its_home() -> None:
    """None of them has a number of its own."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    shown = CliRunner().invoke(app, ["--version"]).stdout

    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "readmodel.version.VERSION"}
    assert shown == f"readside {VERSION}\n"
    assert document()["info"]["version"] == VERSION
