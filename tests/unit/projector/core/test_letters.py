"""What letters said: whom they name, how many events, and whether there is anything at all."""

import pytest

from projector.core.letters import Letters
from tests.support.deciding import letters


def test_every_session_that_is_named() -> None:
    """Under whatever verb, once."""
    assert letters({"a": [1], "e": [2]}, looks="be", rows="cb", created="da").named() == set("abcde")
    assert Letters().named() == set()


def test_letters_that_do_not_say_all_name_everybody() -> None:
    """Others keep answers of sessions of which nothing was told."""
    assert Letters(looks={"a"}, incomplete=True).named() == {"a", "*"}


def test_a_look_takes_in_what_was_added() -> None:
    """Its load reads the events; those of others, and what else was said, stay."""
    said = letters({"a": [1], "b": [2]}, looks="c", rows="a")
    said.look(["a", "d"])

    assert said == letters({"b": [2]}, looks="acd", rows="a")


def test_how_many_events_are_named() -> None:
    """All sessions together."""
    assert letters({"a": [1, 2], "b": [1]}, looks="c").events == 3
    assert Letters().events == 0


@pytest.mark.parametrize(
    "said",
    [
        letters({"a": [1]}),
        letters(looks="a"),
        letters(rows="a"),
        letters(created="a"),
        Letters(incomplete=True),
        Letters(ended="TRUNCATE"),
    ],
    ids=["added", "looks", "rows", "created", "incomplete", "ended"],
)
def test_any_word_is_something(said: Letters) -> None:
    """A step must be taken for it."""
    assert said


def test_no_word_is_nothing() -> None:
    """No step is taken for it."""
    assert not Letters()
