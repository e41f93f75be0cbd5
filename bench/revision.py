"""An earlier version of this repository, in a temporary directory."""

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.stack import ROOT
from bench.table import BenchError


@contextmanager
def tree_of(revision: str) -> Iterator[Path]:
    """Unpack the files of a revision for as long as the block lasts. Raises BenchError when there is no such one."""
    # An archive leaves no trace in the repository, as a worktree of git's would.
    archive = _git("archive", "--format=tar", commit_of(revision))
    with tempfile.TemporaryDirectory(prefix="readside-revision-") as directory:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extraction_filter = getattr(tarfile, "data_filter", None)  # not in Debian 12's Python
            files.extractall(directory)
        yield Path(directory)


def commit_of(revision: str) -> str:
    """The hash of the commit that a revision is. Raises BenchError when it is none."""
    try:
        return _git("rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}").decode().strip()
    except BenchError as error:
        raise BenchError(f"There is no revision {revision} here: {error}") from None


def _git(*arguments: str) -> bytes:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)
    if done.returncode != 0:
        raise BenchError(done.stderr.decode(errors="replace").strip())
    return done.stdout
