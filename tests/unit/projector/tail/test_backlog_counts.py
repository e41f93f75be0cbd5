"""What the metrics tell of what was heard: beats that were overtaken, events that wait."""

import asyncio
from uuid import UUID

import pytest

from projector.tail import backlog
from projector.tail.backlog import Backlog

TERM, ONE, TWO = "0f" * 16, UUID(int=1), UUID(int=2)


@pytest.fixture
def heard() -> Backlog:
    """An empty backlog of the term."""
    return Backlog(TERM, asyncio.Event())


def test_beats_that_others_overtook_are_named(heard: Backlog, monkeypatch: pytest.MonkeyPatch) -> None:
    """They took as long as the one that counts, or longer; a bound keeps them from growing for ever."""
    monkeypatch.setattr(backlog, "MAX_OVERTAKEN", 3)
    for number in range(6):
        heard.hear(f"b {TERM} nonce-{number} {number} f")

    assert heard.take().overtaken == ["nonce-0", "nonce-1", "nonce-2"]
    assert heard.take().overtaken == []


def test_events_that_wait_are_counted(heard: Backlog) -> None:
    """Each once, until they are taken or their session is looked at."""
    first, second, third = (UUID(int=number).hex for number in range(3))
    heard.hear(f"a {ONE} {first} {second}")
    heard.hear(f"a {TWO} {second} {third} {third}")
    counts = [heard.events]
    heard.hear(f"l {ONE}")
    counts.append(heard.events)
    heard.take()
    counts.append(heard.events)

    assert counts == [4, 2, 0]
