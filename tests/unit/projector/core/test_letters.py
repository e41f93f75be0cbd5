"""What letters said: whom they name, how many events, and whether there is anything at all."""

import pytest

from projector.core.letters import Letters
from tests.support.deciding import letters


def test_every_session_that_is_named() -> None:
    """Under whatever verb, once."""
    assert letters({"a": [1], "e": [2]}, looks="be", rows="cb", created="da").named() == set("abcde")
    assert Letters().named() == set()


def test_how_many_events_are_named() -> None:
    """All sessions together."""
    assert letters({"a": [1, 2], "b": [1]}, looks="c").events == 3
    assert Letters().events == 0


@pytest.mark.parametrize(
    "said",
    [letters({"a": [1]}), letters(looks="a"), letters(rows="a"), letters(created="a"), Letters(ended="TRUNCATE")],
    ids=["added", "looks", "rows", "created", "ended"],
)
def test_any_word_is_something(said: Letters) -> None:
    """A step must be taken for it."""
    assert said


def test_no_word_is_nothing() -> None:
    """No step is taken for it."""
    assert not Letters()
