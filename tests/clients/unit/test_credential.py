"""When a fresh token is asked for, and how seldom while none comes: the state machine, without I/O."""

import base64
import json
import random
from collections.abc import Callable

import pytest

from readside_client.credential import RenewableCredential, headers_for, is_token
from readside_client.errors import Unauthorized, Unavailable
from tests.clients.tokens import part, token

NOON = 1_800_000_000.0


class Most(random.Random):
    """Chance that gives the most each time."""

    def uniform(self, a: float, b: float) -> float:
        return b


class Site:
    """A credential that renews, and its clocks."""

    def __init__(self, wall: float = NOON) -> None:
        self.passed = 0.0
        self.credential = RenewableCredential(
            None, renews=True, clock=lambda: self.passed, wall=lambda: wall + self.passed, chance=Most()
        )

    def waits(self, attempt: Callable[[], object], times: int = 9) -> list[float]:
        """Attempt as often as it is due; the seconds in between."""
        waits = []
        for _ in range(times):
            assert self.credential.is_due()
            attempt()
            assert not self.credential.is_due()
            waits.append(self.credential.wait_seconds)
            self.passed += self.credential.wait_seconds
        return waits


@pytest.mark.parametrize(
    "text",
    [
        "secret",
        "two.parts",
        "three.parts.here",
        f"{part([1])}.e30.eA",
        f"{part(None)}.e30.eA",
        f"{part({})}.e30.",
        f"{part({})}.e30.eA.eA",
        f"{part({})}.e30.e=",
        f"{part({})}.e30.é",
        f"{part({})}.e30.{'x' * 8_000}",
        base64.urlsafe_b64encode(b"[" * 3000).decode().rstrip("=") + ".e30.eA",
    ],
)
def test_what_has_not_the_form_of_a_token_is_a_key(text: str) -> None:
    """Whatever else it looks like."""
    assert not is_token(text)
    assert headers_for(text) == {"x-api-key": text}


def test_a_token_goes_into_the_authorization_header() -> None:
    """By its form."""
    shown = token(exp=1)

    assert RenewableCredential(shown).headers() == {"authorization": f"Bearer {shown}"}
    assert RenewableCredential(None).headers() == {}


def test_a_fixed_one_is_never_renewed() -> None:
    """Nor asked again with."""
    credential = RenewableCredential(token(exp=1))

    assert not credential.is_due()
    assert not credential.refused(credential.headers())
    assert not credential.is_due()


def test_a_token_is_renewed_after_four_fifths_of_its_life() -> None:
    """And not before."""
    site = Site()
    assert site.credential.is_due()
    site.credential.take(token(exp=NOON + 100))
    due = []
    for site.passed in (0, 79.9, 80.1):
        due.append(site.credential.is_due())

    assert due == [False, False, True]
    assert not site.credential.over


@pytest.mark.parametrize("skew", [-3600, 3600])
def test_a_wrong_clock_is_noticed_by_iat(skew: float) -> None:
    """The life counts from when the token came."""
    site = Site(wall=NOON + skew)
    site.credential.take(token(iat=NOON, exp=NOON + 100))
    due = []
    for site.passed in (79.9, 80.1):
        due.append(site.credential.is_due())

    assert due == [False, True]


@pytest.mark.parametrize("exp", [None, True, "soon", float("nan"), float("inf"), 10**400, NOON - 5])
def test_without_an_end_that_can_be_read_only_a_refusal_renews(exp: object) -> None:
    """As with a key."""
    site = Site()
    site.credential.take(token(exp=exp))
    site.passed = 1e9

    assert not site.credential.is_due()


def test_a_refusal_of_what_was_good_is_due_at_once() -> None:
    """One of what was never good waits."""
    site = Site()
    site.credential.take(token(n=1))
    site.credential.accepted(site.credential.headers())
    again = site.credential.refused(site.credential.headers())
    due = site.credential.is_due()
    site.credential.take(token(n=2))

    assert (again, due) == (True, True)
    assert not site.credential.refused(site.credential.headers())
    assert not site.credential.is_due()


def test_a_refusal_of_an_older_one_changes_nothing() -> None:
    """Another thread has a fresh one already."""
    site = Site()
    site.credential.take(token(n=1))
    old = site.credential.headers()
    site.credential.take(token(n=2))

    assert site.credential.refused(old)
    assert not site.credential.over
    site.credential.accepted(old)
    assert not site.credential.refused(site.credential.headers())


def test_a_token_that_several_had_shown_is_renewed_once() -> None:
    """Each is refused: that of the second tells nothing of what the function will give."""
    site = Site()
    site.credential.take(token(n=1))
    shown = site.credential.headers()
    site.credential.accepted(shown)
    again = [site.credential.refused(shown) for _ in range(3)]

    assert again == [True, True, True]
    assert site.credential.is_due()


def test_failures_wait_longer_and_longer() -> None:
    """Up to half a minute; meanwhile nothing is sent, and the reason is told."""
    site = Site()
    waits = site.waits(lambda: site.credential.failed("Away."))

    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    site.passed -= 1
    with pytest.raises(Unavailable, match="Away") as caught:
        site.credential.headers()
    assert caught.value.retry_after_seconds == 1


def test_the_same_dead_token_is_not_sent_again() -> None:
    """It waits as for a failure."""
    site = Site()
    dead = token(n=1)
    site.credential.take(dead)
    site.credential.accepted(site.credential.headers())
    site.credential.refused(site.credential.headers())

    assert site.waits(lambda: site.credential.take(dead), 3) == [0.5, 1, 2]
    assert site.credential.over


def test_fresh_ones_that_are_all_refused_wait_longer_and_longer() -> None:
    """Each once; one that is taken ends it."""
    site = Site()
    numbers = iter(range(100))

    def attempt() -> None:
        site.credential.take(token(n=next(numbers)))
        site.credential.refused(site.credential.headers())

    assert site.waits(attempt, 4) == [0.5, 1, 2, 4]
    site.credential.take(token(n=-1))
    site.credential.accepted(site.credential.headers())
    site.credential.refused(site.credential.headers())
    assert site.waits(attempt, 2) == [0.5, 1]


def test_while_the_old_one_serves_failures_wait_too(caplog: pytest.LogCaptureFixture) -> None:
    """And are logged, without the token."""
    site = Site()
    old = token(exp=NOON + 1000)
    site.credential.take(old)
    site.credential.accepted(site.credential.headers())
    site.passed = 800

    assert site.waits(lambda: site.credential.failed("Away."), 3) == [0.5, 1, 2]
    assert site.credential.headers() == headers_for(old)
    assert "Away." in caplog.text
    assert old not in caplog.text


@pytest.mark.parametrize("wrong", ["", "two words", "é", "a\nb", 7, b"bytes"])
def test_what_is_no_token_is_not_sent(wrong: object) -> None:
    """It counts as a failure."""
    site = Site()
    site.credential.take(wrong)

    with pytest.raises(Unavailable, match="no token"):
        site.credential.headers()


def test_none_means_that_there_are_no_more() -> None:
    """It ends."""
    with pytest.raises(Unauthorized, match="no more"):
        Site().credential.take(None)


def test_the_body_of_a_token_may_be_anything() -> None:
    """What it says is read for its end alone, and never trusted."""
    site = Site()
    for n, body in enumerate(["null", "[1]", '"x"', "{", "[" * 3000, json.dumps({"exp": {}})]):
        coded = base64.urlsafe_b64encode(body.encode()).decode().rstrip("=")
        site.credential.take(f"{part({'n': n})}.{coded}.eA")
        assert not site.credential.is_due()
