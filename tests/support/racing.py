"""Polls of a session whose third event is the one that matters."""

from datetime import datetime

import httpx

from tests.support.barriers import Ear
from tests.support.healing import CLOCK_US
from tests.support.whole import Whole

NEVER_SECONDS = 1e6
"""Between two rounds of the continuous check: what a race breaks must not be mended unseen."""


async def hot_session(whole: Whole) -> str:
    """A hot session with two events."""
    session_id = await whole.bench.writer.session()
    await whole.bench.hot(session_id)
    await whole.bench.writer.events(session_id, 2)
    await whole.bench.caught_up()
    return session_id


async def third_event(whole: Whole, session_id: str, changes: Ear) -> int:
    """Commit a third event and have the API hear a beat that is later; give when it was committed, µs since 1970."""
    await whole.bench.writer.event(session_id)
    committed_us = int(await whole.bench.writer.connection.fetchval(CLOCK_US))
    await changes.hears(lambda change: (change.as_of_us or 0) >= committed_us, "the API hears a later beat")
    return committed_us


def check(answer: httpx.Response, committed_us: int) -> None:
    """An answer holds the third event, or does not claim to be of the time after it."""
    total, as_of = answer.json()["total"], datetime.fromisoformat(answer.headers["readside-as-of"])

    assert answer.status_code == 200
    assert total == 3 or (total == 2 and as_of.timestamp() * 1_000_000 < committed_us), answer.headers
