"""Do the fast tests notice? mutmut changes one thing at a time in a copy of the tree: `python -m tests.mutants`.

`[tool.mutmut]` in pyproject.toml says which modules are changed and which tests are to notice. mutmut generates all
mutants, asks which tests pass through each, and tries a random sample on those. It ends with 1 where too few are
noticed, and with 2 where mutmut could not run.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.mutants.score import sample, score, statuses

ROOT = Path(__file__).parents[2]
AT_ONCE = 2
FIRST = "query_api.http.conditional.*"
"""The smallest module. mutmut generates nothing without a run, and none has names of mutants before it."""


def main() -> None:
    """Try a sample, print what lives as diffs and the score; exit 1 when too few were noticed."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="readside-mutants-") as directory:
        tree = Path(directory)
        _copy(tree)
        try:
            _try(tree, FIRST)
            tried = sample(statuses(_results(tree)), options.count, options.seed)
            _try(tree, *tried)
            found = score(tried, statuses(_results(tree)))
        except subprocess.CalledProcessError as error:
            sys.stderr.write(
                f"mutmut ended with {error.returncode}. Its last lines say why; the tests must pass without mutants.\n"
            )
            sys.exit(2)
        for name in found.alive:
            sys.stdout.write(_mutmut(tree, "show", name).stdout + "\n")
    sys.stdout.write(f"{found.text()}\n")
    sys.exit(not found.enough)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description="Do the fast tests notice mutants?")
    parser.add_argument("--count", type=int, default=100, help="how many mutants to try (default: 100)")
    parser.add_argument("--seed", type=int, default=1, help="chooses the mutants (default: 1)")
    options = parser.parse_args()
    if options.count < 1:
        parser.error("--count must be 1 or more")
    return options


def _copy(tree: Path) -> None:
    """Copy what is under version control, or will be: mutmut leaves files beside what it changes."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0")
    for name in names:
        if name and (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)


def _try(tree: Path, *names: str) -> None:
    """Try mutants, before the eyes of who waits for them."""
    _mutmut(tree, "run", "--max-children", str(AT_ONCE), *names, shown=True)


def _results(tree: Path) -> str:
    return _mutmut(tree, "results", "--all", "true").stdout


def _mutmut(tree: Path, *arguments: str, shown: bool = False) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("mutmut")  # of this environment, whatever the PATH says
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # the copy's code alone
    return subprocess.run(
        [program, *arguments],
        cwd=tree,
        env=environment,
        check=True,
        text=True,
        stdout=None if shown else subprocess.PIPE,
    )


if __name__ == "__main__":
    main()
