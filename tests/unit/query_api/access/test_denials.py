"""What is refused is counted, and told to the log once a minute of each address at most."""

from collections.abc import MutableMapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from query_api.access import denials as module
from query_api.access.denials import Denials, unauthorized
from query_api.access.hosts import Hosts

NO_KEY, UNKNOWN = unauthorized("no_key", "No."), unauthorized("unknown_key", "No.")


class Watch:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def told(logs: list[MutableMapping[str, Any]]) -> list[tuple[object, object]]:
    """The lines of the log so far: addresses, and what they were refused. They are forgotten then."""
    lines = [(line["address"], line["refused"]) for line in logs]
    logs.clear()
    return lines


def test_an_address_is_told_of_once_a_minute() -> None:
    """The next line tells of all that was refused since the last."""
    watch = Watch()
    denials = Denials(watch)
    with capture_logs() as logs:
        denials.note(NO_KEY, "10.0.0.1")
        for _ in range(1000):
            denials.note(UNKNOWN, "10.0.0.1")
        denials.note(NO_KEY, "10.0.0.2")
        assert told(logs) == [("10.0.0.1", {"no_key": 1}), ("10.0.0.2", {"no_key": 1})]

        watch.now += 60
        denials.note(NO_KEY, "10.0.0.1")
        assert told(logs) == [("10.0.0.1", {"unknown_key": 1000, "no_key": 1})]
    assert (denials.counts["no_key"], denials.counts["unknown_key"]) == (3, 1000)


def test_who_falls_silent_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute after its last line, once; others beyond those told apart, too."""
    monkeypatch.setattr(module, "MAX_ADDRESSES", 1)
    watch = Watch()
    denials = Denials(watch)
    with capture_logs() as logs:
        for _ in range(3):
            denials.note(UNKNOWN, "10.0.0.1")
            denials.note(NO_KEY, "10.0.0.2")
        watch.now += 59
        denials.tell_due()
        assert told(logs) == [("10.0.0.1", {"unknown_key": 1}), ("others", {"no_key": 1})]

        watch.now += 1
        denials.tell_due()
        assert told(logs) == [("others", {"no_key": 2}), ("10.0.0.1", {"unknown_key": 2})]

        watch.now += 600
        denials.tell_due()
        assert told(logs) == []


def test_who_has_long_been_silent_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """And makes room for another."""
    monkeypatch.setattr(module, "MAX_ADDRESSES", 1)
    watch = Watch()
    denials = Denials(watch)
    with capture_logs() as logs:
        denials.note(NO_KEY, "10.0.0.1")
        denials.note(NO_KEY, "10.0.0.1")
        for _ in range(2):
            watch.now += 60
            denials.tell_due()
        told(logs)
        denials.note(NO_KEY, "10.0.0.2")
        denials.note(NO_KEY, "10.0.0.1")

        assert told(logs) == [("10.0.0.2", {"no_key": 1}), ("others", {"no_key": 1})]


def test_many_addresses_are_told_of_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither memory nor the log grows with them; who was silent for a minute makes room."""
    monkeypatch.setattr(module, "MAX_ADDRESSES", 2)
    watch = Watch()
    denials = Denials(watch)
    with capture_logs() as logs:
        for number in range(100):
            denials.note(NO_KEY, f"10.0.0.{number}")
        assert told(logs) == [(f"10.0.0.{number}", {"no_key": 1}) for number in (0, 1)] + [("others", {"no_key": 1})]

        denials.note(UNKNOWN, "10.0.0.0")
        watch.now += 60
        denials.tell_due()
        assert told(logs) == [("others", {"no_key": 97}), ("10.0.0.0", {"unknown_key": 1})]

        denials.note(NO_KEY, "10.0.0.7")  # in the place of the one that was silent
        denials.note(NO_KEY, "10.0.0.8")
        assert told(logs) == [("10.0.0.7", {"no_key": 1})]


@pytest.mark.parametrize("host", [b"a.example", b"A.Example:8000", b"a.example.", b"x.y.b.example", b"[::1]:8000"])
def test_a_host_of_ours_is_one(host: bytes) -> None:
    """Case, port and last dot do not matter."""
    assert Hosts(["a.example", "*.b.example", "[::1]"]).include(host)


@pytest.mark.parametrize(
    "host",
    [None, b"", b"evil.example", b"a.example.evil.example", b"b.example", b"xb.example", b"a.example, a.example",
     b"a.example:80:80", b"a.example@evil", b"[::1", b"\xff", b"evil, x.b.example", b"evil/.b.example",
     b"evil@x.b.example", b".b.example"],
)  # fmt: skip
def test_another_host_is_none(host: bytes | None) -> None:
    """Also where there are two, or none."""
    assert not Hosts(["a.example", "*.b.example", "[::1]"]).include(host)


def test_without_names_every_host_will_do() -> None:
    """The default."""
    assert Hosts().include(None)
