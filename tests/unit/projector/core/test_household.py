"""Which table of letters is in use, which are emptied, and when none is written any more."""

import pytest

from projector.core.household import TURN_BYTES, Household, keep_house

FULL = TURN_BYTES + 1
BOUND = 256_000_000


@pytest.mark.parametrize(
    ("sentence", "turn", "heaps", "expected"),
    [
        ("all are empty: nothing to do", 0, (0, 0, 0), Household(0, (), open=True)),
        ("the one in use is small: it stays", 1, (0, TURN_BYTES, 0), Household(1, (), open=True)),
        ("it is full: the first empty one is next", 0, (FULL, 0, 0), Household(1, (), open=True)),
        ("the last one hands over to the first", 2, (0, 0, FULL), Household(0, (), open=True)),
        ("one was left: it is emptied", 1, (8192, 0, 0), Household(1, (0,), open=True)),
        ("both others were left: they are emptied", 1, (FULL, 0, 1), Household(1, (0, 2), open=True)),
        ("it is full and one is kept from us: the third is next", 1, (FULL, FULL, 0), Household(2, (0,), open=True)),
        ("both others are kept from us: it goes on in use", 2, (1, 1, FULL), Household(2, (0, 1), open=True)),
    ],
)
def test_the_table_in_use(sentence: str, turn: int, heaps: tuple[int, ...], expected: Household) -> None:
    """We turn onto an empty table alone, and empty only what is not in use."""
    assert keep_house(turn, heaps, heaps, BOUND) == expected, sentence


@pytest.mark.parametrize(("sizes", "is_open"), [((BOUND, 0, 0), True), ((BOUND - 9, 9, 1), False)])
def test_past_the_bound_no_letter_is_written(sizes: tuple[int, ...], is_open: bool) -> None:
    """All three with their indexes count."""
    assert keep_house(0, (1, 1, 1), sizes, BOUND).open is is_open


@pytest.mark.parametrize("bound", [100_000, 1_000_000, BOUND])
def test_a_box_that_nobody_keeps_from_us_opens_again_whatever_the_bound(bound: int) -> None:
    """The table in use alone went past it: we turn, and the next time it is one of those that are emptied."""
    first = keep_house(0, (bound, 0, 0), (bound + 1, 0, 0), bound)
    second = keep_house(first.turn, (bound, 0, 0), (bound + 1, 0, 0), bound)
    third = keep_house(second.turn, (0, 0, 0), (8192, 8192, 8192), bound)

    assert (first.open, first.turn, second.emptying, third.open) == (False, 1, (0,), True)
