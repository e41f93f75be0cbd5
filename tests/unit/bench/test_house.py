"""The house in figures: what counts as what."""

import ast
import json
import sys
from pathlib import Path
from types import FrameType

import pytest

from bench.crossing import LAYERS, files_of
from bench.house import (
    House,
    classes_of,
    counted,
    is_participle,
    long_functions,
    modules_of,
    participles,
    table,
    twice,
    upward,
)
from bench.stack import ROOT
from bench.traced import Trace

SOURCE = (*LAYERS, "bench", "clients/python/src")
"""All that is no test."""


@pytest.fixture(scope="module")
def classes() -> list[str]:
    """Every class of this very tree."""
    found = classes_of(modules_of(ROOT, SOURCE))
    assert set(found) > {"House", "Sessions", "ResponseCache", "AsyncClient"}
    return found


def module(text: str) -> ast.Module:
    """Parse a module."""
    return ast.parse(text)


def function(lines: int) -> str:
    """Write a function of so many lines, its head included."""
    return "def one() -> None:\n" + "    pass\n" * (lines - 1)


def frame(file: str) -> FrameType:
    """A frame of a function that stands in this file."""
    frames: list[FrameType] = []
    exec(compile("frames.append(sys._getframe())", file, "exec"), {"frames": frames, "sys": sys})
    return frames[0]


def house(**others: object) -> House:
    """Build a house with two classes of one name."""
    figures: dict[str, object] = {
        "crossed": ["a.py"],
        "poll_crossed": ["c.py"],
        "fullest_folder": ("a", 3),
        "readme_words": 900,
        "modules": 2,
        "classes": ["Page", "Page", "Taken"],
        "projector_lines": 3_000,
        "projector_sql_and_lua_lines": 0,
        "long_functions": [],
        "upward_imports": [],
    }
    return House(**{**figures, **others})  # type: ignore[arg-type]


def test_no_class_name_stands_twice_in_the_source(classes: list[str]) -> None:
    """Who reads it knows which one is meant."""
    assert twice(classes) == []


def test_no_class_is_named_by_a_bare_participle(classes: list[str]) -> None:
    """A class is a thing, and a noun names it."""
    assert participles(classes) == []


@pytest.mark.parametrize("name", ["Taken", "_Given", "Found", "Fetched", "Logged", "Told"])
def test_a_bare_participle_is_one(name: str) -> None:
    """A name that says what was done, private or not."""
    assert is_participle(name)


@pytest.mark.parametrize(
    "name", ["Page", "Feed", "FoundPage", "HotSessions", "Reading", "Thread", "_Turn", "Unauthorized"]
)
def test_a_noun_is_no_participle(name: str) -> None:
    """Nor is a participle before a noun, nor a word of HTTP's."""
    assert not is_participle(name)


@pytest.mark.parametrize(("lines", "expected"), [(40, []), (41, ["one"])])
def test_a_function_is_long_past_forty_lines(lines: int, expected: list[str]) -> None:
    """Its head and its docstring count."""
    assert long_functions(module(function(lines))) == expected


def test_a_long_method_counts() -> None:
    """Wherever it stands, and a coroutine as well."""
    text = "class Page:\n    async def two(self) -> None:\n" + "        pass\n" * 40

    assert long_functions(module(text)) == ["two"]


@pytest.mark.parametrize(
    ("layer", "text", "expected"),
    [
        ("readmodel", "import projector.live", ["projector.live"]),
        ("projector", "def late():\n    from query_api import app", ["query_api"]),
        ("query_api", "from readside.cli import main", ["readside.cli"]),
        ("query_api", "from readmodel.view import keys\nimport asyncio\nfrom query_api.app import App", []),
        ("readside", "from projector import live\nfrom query_api import app", []),
    ],
)
def test_an_import_from_above_is_upward(layer: str, text: str, expected: list[str]) -> None:
    """Between projector and query_api, too; at whatever place in a module."""
    assert upward(layer, module(text)) == expected


def test_a_tree_is_counted(tmp_path: Path) -> None:
    """Its four packages, and nothing beside them."""
    files = {
        "readmodel/page.py": "import projector\n\n\nclass Page:\n    class Row: ...\n",
        "projector/view/writer.py": f"class Page: ...\n\n\n{function(50)}",
        "projector/sql/every.sql": "SELECT 1;\nSELECT 2;\n",
        "tests/test_page.py": "class Page: ...\n",
        "README.md": "# Three words\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    found = counted(tmp_path, ["projector/view/writer.py"], ["query_api/app.py"])

    assert found == House(
        crossed=["projector/view/writer.py"],
        poll_crossed=["query_api/app.py"],
        fullest_folder=("readmodel", 1),
        readme_words=3,
        modules=2,
        classes=["Page", "Row", "Page"],
        projector_lines=53,
        projector_sql_and_lua_lines=2,
        long_functions=["projector/view/writer.py:one"],
        upward_imports=["readmodel/page.py imports projector"],
    )
    assert twice(found.classes) == ["Page"]


def test_trees_stand_side_by_side() -> None:
    """What was counted is named for the first of them alone."""
    lines = table({"now": house(), "v0": house(projector_lines=4_000, crossed=["b.py"])}).splitlines()

    assert [line.split()[-2:] for line in lines[:1]] == [["now", "v0"]]
    assert [line.split()[-2:] for line in lines if line.startswith("lines of the projector, Python")] == [
        ["3,000", "4,000"]
    ]
    assert [line.split()[-2:] for line in lines if line.startswith("class names used twice ")] == [["1", "1"]]
    assert "  a.py" in lines
    assert "  b.py" not in lines


def test_only_files_of_our_packages_are_crossed(tmp_path: Path) -> None:
    """An environment within the tree is none of them."""
    files = ["projector/live.py", ".venv/lib/redis.py", "bench/traced.py"]

    assert files_of([str(tmp_path / file) for file in files], tmp_path) == {"projector/live.py"}
    assert files_of(["/elsewhere/projector/live.py"], tmp_path) == set()


def test_a_trace_names_the_files_between_two_signals(tmp_path: Path) -> None:
    """What ran before the first, or in another trace, is not among them."""
    report = tmp_path / "trace.json"
    trace = Trace(report)

    trace.profile(frame("before.py"), "call", None)
    trace.turn()
    begun = json.loads(report.read_text())
    trace.profile(frame("within.py"), "call", None)
    trace.profile(frame("returned.py"), "return", None)
    trace.turn()
    ended = json.loads(report.read_text())
    trace.turn()
    trace.turn()

    assert begun == {"recording": True, "files": []}
    assert ended == {"recording": False, "files": ["within.py"]}
    assert json.loads(report.read_text()) == {"recording": False, "files": []}
