"""The guides' samples for JavaScript: Node reads each, and what they import of the client is there."""

import re
import subprocess
from pathlib import Path

import playwright
import pytest

from tests.docs.samples import ROOT, samples

GUIDES = ROOT / "specs" / "guides"
CLIENT = ROOT / "clients" / "js"
NODE = Path(playwright.__file__).parent / "driver" / "node"
MODULES = {"readside-client": "src/index.js", "readside-client/react": "react/index.js"}
_IMPORT = re.compile(
    r'^import \{ (?P<names>[^}]+) \} from "(?P<module>readside-client[^"]*|[^"]*/poller\.js)";', re.MULTILINE
)


def exported(path: Path) -> set[str]:
    """Return the names that a module exports; React itself need not be there."""
    text = path.read_text()
    names = {name for block in re.findall(r"^export \{([^}]+)\}", text, re.MULTILINE) for name in block.split(",")}
    names |= set(re.findall(r"^export (?:async )?(?:function|const|class) (\w+)", text, re.MULTILINE))
    return {name.strip().rpartition(" as ")[2].strip() for name in names} - {""}


@pytest.mark.parametrize("path", sorted(GUIDES.glob("*.md")), ids=lambda path: path.name)
def test_what_the_samples_import_is_exported(path: Path) -> None:
    """From the package, its subpath, or the module that the service gives."""
    wanted = [
        (MODULES.get(match["module"], "src/index.js"), name.strip())
        for sample in samples(path.read_text())
        for match in _IMPORT.finditer(sample.text)
        for name in match["names"].split(",")
    ]

    assert [f"{module}: {name}" for module, name in wanted if name not in exported(CLIENT / module)] == []


@pytest.mark.parametrize("path", sorted(GUIDES.glob("*.md")), ids=lambda path: path.name)
def test_node_reads_the_samples(path: Path, tmp_path: Path) -> None:
    """Each as a module of its own."""
    files = []
    for sample in samples(path.read_text()):
        if sample.language == "js":
            file = tmp_path / f"line_{sample.line}.mjs"
            file.write_text(sample.text)
            files.append(file)
    for file in files:
        subprocess.run([NODE, "--check", file], check=True)
