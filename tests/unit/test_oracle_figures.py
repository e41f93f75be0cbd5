"""What the README says of a long run, held against the figures that were kept of it."""

import json

from tests.oracle.figures import KEPT, README, markdown, shown


def test_the_readme_shows_the_run_that_was_kept() -> None:
    """Not one figure was written by hand, the run was long, and nothing was wrong."""
    run = json.loads(KEPT.read_text())

    assert shown(README.read_text()) == markdown(run)
    assert run["seconds"] > 600
    assert (run["failures"], run["events_missing"]) == ([], 0)
