"""An earlier version to measure beside."""

import pytest

from bench.revision import tree_of
from bench.stack import ROOT
from bench.table import BenchError


def test_a_revision_is_unpacked_and_removed() -> None:
    """With its SQL files, and nothing stays."""
    with tree_of("HEAD") as tree:
        names = {path.name for path in tree.iterdir()}
        assert any(tree.rglob("*.sql"))

    assert names >= {"readside", "projector", "query_api", "readmodel"}
    assert not tree.exists()


@pytest.mark.parametrize("revision", ["no-such-revision", "--output=stray", "HEAD:Makefile"])
def test_what_is_no_revision_is_said(revision: str) -> None:
    """In a sentence that names it; an option of git's is none, and writes no file."""
    with pytest.raises(BenchError, match=f"There is no revision {revision} here"), tree_of(revision):
        pass

    assert not list(ROOT.glob("stray*"))
