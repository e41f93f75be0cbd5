"""Which transactions a snapshot shows, and which snapshots show all that another shows."""

import pytest

from readmodel.values.cut import Cut, cut_of


def test_what_ended_before_it_is_shown() -> None:
    """What was under way is not, nor what began later."""
    seen = cut_of("700:705:700,703")

    assert [txid for txid in range(699, 707) if seen.shows(txid)] == [699, 701, 702, 704]


def test_no_snapshot_shows_nothing() -> None:
    """As with a view that no load has filled."""
    assert cut_of("") == Cut(0, frozenset())
    assert not cut_of("").shows(3)


@pytest.mark.parametrize(
    ("later", "earlier", "does"),
    [
        ("705:705:", "705:705:", True),
        ("706:706:", "700:705:703", True),
        ("700:706:703", "700:705:703", True),
        ("700:706:705", "700:705:703", True),
        ("700:706:702", "700:705:703", False),
        ("700:704:703", "700:705:703", False),
        ("700:704:", "", True),
    ],
)
def test_it_covers_what_shows_no_more(later: str, earlier: str, does: bool) -> None:
    """Two snapshots of one server cover one another in the order in which they were taken."""
    assert cut_of(later).covers(cut_of(earlier)) == does
