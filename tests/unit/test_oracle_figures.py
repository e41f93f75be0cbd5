"""What the documents say of long runs, held against the figures that were kept of them."""

import json

import pytest

from tests.oracle.figures import PAGES, kept, markdown, shown

KEPT = sorted(PAGES)


def test_a_long_run_is_kept_of_every_installation() -> None:
    """And shown."""
    assert [name for name in KEPT if kept(name).exists() and shown(name)] == KEPT


@pytest.mark.parametrize("installation", KEPT)
def test_the_page_shows_the_run_that_was_kept(installation: str) -> None:
    """Not one figure was written by hand, the run was long, and nothing was wrong."""
    run = json.loads(kept(installation).read_text())

    assert shown(installation) == markdown(run)
    assert run["seconds"] > 600
    assert (run["failures"], run["events_missing"]) == ([], 0)
