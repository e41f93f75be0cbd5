"""The house in figures: `python -m bench.house [REVISION]` counts this tree, beside an earlier one if named."""

import argparse
import ast
import asyncio
import re
import sys
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench.crossing import LAYERS, crossed, poll_crossed
from bench.revision import tree_of
from bench.stack import ROOT
from bench.table import BenchError
from readmodel.errors import ServiceError

LONG_LINES = 40
_MAY_HOLD_STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)
_PARTICIPLE = re.compile(
    r"([A-Z][a-z]+ed|Begun|Bound|Broken|Built|Caught|Chosen|Done|Drawn|Found|Given|Gone|Grown|Heard|Held|Hidden|Kept|Known"
    r"|Laid|Left|Lost|Made|Meant|Met|Paid|Read|Run|Said|Seen|Sent|Set|Shown|Sought|Taken|Thought|Told|Woken|Written)"
)
_NO_PARTICIPLES = frozenset(
    {"Bed", "Breed", "Deed", "Feed", "Need", "Seed", "Shed", "Speed", "Weed"} | {"Unauthorized"}  # HTTP's name of 401
)


@dataclass(frozen=True, slots=True)
class House:
    """What was counted.

    `crossed` are the Python files that an event runs through from its commit to Redis, `poll_crossed` those of a poll
    of a cold session. `fullest_folder` is the folder with the most modules, and how many.
    """

    crossed: Sequence[str]
    poll_crossed: Sequence[str]
    fullest_folder: tuple[str, int]
    readme_words: int
    modules: int
    classes: Sequence[str]
    projector_lines: int
    projector_sql_and_lua_lines: int
    long_functions: Sequence[str]
    upward_imports: Sequence[str]

    def figures(self) -> dict[str, tuple[int, Sequence[str]]]:
        """Each figure by its name, with what was counted where that can be listed."""
        doubled, bare = twice(self.classes), participles(self.classes)
        return {
            "files that an event crosses from its commit to Redis": (len(self.crossed), self.crossed),
            "files that a poll of a cold session crosses": (len(self.poll_crossed), self.poll_crossed),
            "most modules in one folder": (self.fullest_folder[1], [self.fullest_folder[0]]),
            "words of the README": (self.readme_words, []),
            "modules": (self.modules, []),
            "classes": (len(self.classes), []),
            "class names used twice": (len(doubled), doubled),
            "bare participles among class names": (len(bare), bare),
            "lines of the projector, Python": (self.projector_lines, []),
            "lines of the projector, SQL and Lua": (self.projector_sql_and_lua_lines, []),
            f"functions over {LONG_LINES} lines": (len(self.long_functions), self.long_functions),
            "imports upward": (len(self.upward_imports), self.upward_imports),
        }


def main() -> None:
    """Count and print; exit 2 with one line when something cannot be counted."""
    parser = argparse.ArgumentParser(prog="python -m bench.house", description="Count files, classes, lines.")
    parser.add_argument("revision", nargs="?", help="an earlier version to count as well")
    revision = parser.parse_args().revision
    try:
        with ExitStack() as stack:
            trees = {"now": ROOT} | ({revision: stack.enter_context(tree_of(revision))} if revision else {})
            print(table({name: counted(tree, *_crossed(tree)) for name, tree in trees.items()}))
    except (BenchError, ServiceError, OSError) as error:
        print(f"house: {error}", file=sys.stderr)
        sys.exit(2)


def _crossed(tree: Path) -> tuple[list[str], list[str]]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(crossed(tree)), runner.run(poll_crossed(tree))


def counted(tree: Path, crossed_files: Sequence[str], poll_crossed_files: Sequence[str]) -> House:
    """Count the packages of a tree."""
    modules = modules_of(tree, LAYERS)
    names = {path: str(path.relative_to(tree)) for path in modules}
    return House(
        crossed=crossed_files,
        poll_crossed=poll_crossed_files,
        fullest_folder=Counter(str(path.parent.relative_to(tree)) for path in modules).most_common(1)[0],
        readme_words=len((tree / "README.md").read_text(encoding="utf-8").split()),
        modules=len(modules),
        classes=classes_of(modules),
        projector_lines=_lines(tree / "projector", ".py"),
        projector_sql_and_lua_lines=_lines(tree / "projector", ".sql", ".lua"),
        long_functions=[f"{names[path]}:{name}" for path, module in modules.items() for name in long_functions(module)],
        upward_imports=[
            f"{names[path]} imports {name}"
            for path, module in modules.items()
            for name in upward(path.relative_to(tree).parts[0], module)
        ],
    )


def modules_of(tree: Path, directories: Sequence[str]) -> dict[Path, ast.Module]:
    """Parse every module of these directories of a tree."""
    return {
        path: ast.parse(path.read_text(encoding="utf-8"))
        for name in directories
        for path in sorted((tree / name).rglob("*.py"))
    }


def classes_of(modules: Mapping[Path, ast.Module]) -> list[str]:
    """The name of each class, as often as it stands there."""
    return [node.name for module in modules.values() for node in _statements(module) if isinstance(node, ast.ClassDef)]


def twice(classes: Sequence[str]) -> list[str]:
    """The names that more than one class has."""
    return sorted(name for name, times in Counter(classes).items() if times > 1)


def participles(classes: Sequence[str]) -> list[str]:
    """The names that say what was done, and not what it is."""
    return sorted({name for name in classes if is_participle(name)})


def is_participle(name: str) -> bool:
    """Whether the name is one word that says only what was done: a rule of thumb, since nothing parses English."""
    word = name.removeprefix("_")
    return word not in _NO_PARTICIPLES and _PARTICIPLE.fullmatch(word) is not None


def long_functions(module: ast.Module) -> list[str]:
    """The names of functions that are too long, from `def` to their last line."""
    return [
        node.name
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > LONG_LINES
    ]


def upward(layer: str, module: ast.Module) -> list[str]:
    """What a module of this layer imports from layers that it is not to know."""
    below = {"readside": LAYERS, "projector": ("projector", "readmodel"), "query_api": ("query_api", "readmodel")}
    known = below.get(layer, (layer,))
    return [name for name in _imported(module) if (root := name.partition(".")[0]) in LAYERS and root not in known]


def table(houses: dict[str, House]) -> str:
    """Lay the figures out, a column for each tree, and list below what was counted in the first."""
    columns = {name: house.figures() for name, house in houses.items()}
    first = next(iter(columns.values()))
    width = max(map(len, first))
    lines = [" " * width + "".join(f"  {name:>10}" for name in columns)]
    lines += [
        f"{figure:{width}}" + "".join(f"  {found[figure][0]:>10,}" for found in columns.values()) for figure in first
    ]
    for figure, (_, names) in first.items():
        if names:
            lines += ["", f"{figure}:", *(f"  {name}" for name in names)]
    return "\n".join(lines)


def _statements(module: ast.Module) -> Iterator[ast.AST]:
    """What `ast.walk` goes through, without expressions: they are most of it, and hold no class."""
    waiting: deque[ast.AST] = deque([module])
    while waiting:
        node = waiting.popleft()
        yield node
        waiting += (it for it in ast.iter_child_nodes(node) if isinstance(it, _MAY_HOLD_STATEMENTS))


def _imported(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def _lines(directory: Path, *suffixes: str) -> int:
    return sum(
        len(path.read_text(encoding="utf-8").splitlines()) for path in directory.rglob("*") if path.suffix in suffixes
    )


if __name__ == "__main__":
    main()
