"""How much a principal may ask, and that it is the same one after its key or token was renewed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query_api.access import principals as module
from query_api.access.principals import BURST_SECONDS, Principal, Principals


def test_who_has_been_silent_may_ask_five_seconds_worth_at_once() -> None:
    """Then one at a time."""
    asker = Principal("key", "a", 2.0)

    assert [asker.takes(100.0) for _ in range(11)] == [True] * 10 + [False]
    assert asker.wait_seconds(100.0) == 1
    assert asker.takes(100.5)
    assert not asker.takes(100.5)


def test_one_request_is_always_allowed() -> None:
    """Also where the pace is less than one in five seconds; the wait is said in whole seconds."""
    asker = Principal("key", "a", 0.1)

    assert [asker.takes(7.0), asker.takes(7.0)] == [True, False]
    assert asker.wait_seconds(7.0) == 10
    assert asker.takes(17.0)


@given(st.floats(0.05, 500.0), st.lists(st.floats(0.0, 3.0), max_size=200))
def test_no_more_is_let_in_than_the_rate_and_a_burst(rate: float, gaps: list[float]) -> None:
    """Whenever the requests come; and who waits as long as it is told is let in."""
    asker, now, let_in = Principal("key", "a", rate), 1000.0, 0
    for gap in gaps:
        now += gap
        let_in += asker.takes(now)

    assert let_in <= max(1.0, BURST_SECONDS * rate) + (now - 1000.0) * rate + 1e-6
    assert asker.takes(now + asker.wait_seconds(now))


def test_without_a_rate_nobody_is_slowed_down() -> None:
    """The default."""
    asker = Principal("key", "a", None)

    assert all(asker.takes(1.0) for _ in range(1000))


def test_subjects_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that has been silent longest begins anew; what it asked stays counted."""
    monkeypatch.setattr(module, "MAX_SUBJECTS", 2)
    all_of_them = Principals(1.0)
    first = all_of_them.of_token("a")
    first.takes(1.0)
    all_of_them.of_token("b")
    all_of_them.of_token("a")
    all_of_them.of_token("c")

    assert all_of_them.of_token("a") is first
    all_of_them.of_token("d")
    all_of_them.of_token("e")
    assert all_of_them.of_token("a") is not first
    assert ("token", "", 1, 0) in all_of_them.counts()
