"""The code samples of the documents: what is shown can be run, or at least read by what would run it."""

import ast
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml

from readside.cli import app
from tests.docs.samples import ROOT, Sample, documents, samples

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # it is a group
_COMMAND = re.compile(
    r"(?:^ *|[;&|(/] *|\b(?:do|exec|until|while) +|=\S+ +)readside +(?P<words>[a-z][^#|;&\n)]*)", re.MULTILINE
)
"""Where a shell expects a command, and not the name of a role, a namespace or a directory."""
pytestmark = pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(ROOT)))


def of(path: Path, *languages: str) -> Iterator[Sample]:
    """The samples of a document that are of these languages."""
    return (sample for sample in samples(path.read_text()) if sample.language in languages)


def test_python_compiles(path: Path) -> None:
    """With `await` outside of functions, as in the examples of asyncio."""
    for sample in of(path, "python", "py"):
        compile(sample.text, f"{path.name}:{sample.line}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


def test_json_and_yaml_parse(path: Path) -> None:
    """Each sample as one document, or several."""
    for sample in of(path, "json"):
        json.loads(sample.text)
    for sample in of(path, "yaml", "yml"):
        list(yaml.safe_load_all(sample.text))


def test_shells_parse(path: Path) -> None:
    """Bash reads all samples of a document, without running them."""
    text = "\n".join(sample.text for sample in of(path, "sh", "bash"))
    checked = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)

    assert checked.stderr == ""


def test_commands_and_their_options_exist(path: Path) -> None:
    """`readside …` in a sample is a command, and each of its options is one of that command's."""
    called = [
        match["words"].split()
        for sample in of(path, "sh", "bash", "text", "")
        for match in _COMMAND.finditer(re.sub(r"\\\n", " ", sample.text))
        if sample.language != "" or match["words"].split()[0] in COMMANDS
    ]
    unknown = [words for words in called if words[0] not in COMMANDS]
    options = {
        name: {opt for parameter in command.params for opt in parameter.opts} for name, command in COMMANDS.items()
    }

    assert unknown == []
    assert [
        f"readside {words[0]} {word}"
        for words in called
        for word in words[1:]
        if word.startswith("--") and word.partition("=")[0] not in options[words[0]] | {"--help", "--version"}
    ] == []
