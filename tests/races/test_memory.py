"""What the API may do with an answer while the view moves on: messages are lost, late, or have not come yet."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest

from projector.loads.loads import Loader
from query_api.sources import fallback
from readmodel.postgres.event_log import EventLog
from readmodel.values.poll import Poll
from readmodel.view.reader import ViewReader
from tests.support.barriers import Ear, after, before
from tests.support.healing import CLOCK_US
from tests.support.projecting import INSERT_SESSION
from tests.support.racing import NEVER_SECONDS, check, hot_session, third_event
from tests.support.whole import Whole, whole_service

SOURCES: dict[str, tuple[type, str, dict[str, str]]] = {
    "redis": (ViewReader, "read_all", {}),
    "postgres": (EventLog, "answer", {"readside_max_staleness": "0"}),
}


@pytest.fixture
async def whole(database_url: str, redis_url: str, changes: Ear) -> AsyncIterator[Whole]:
    """Writer, leader and API."""
    async with whole_service(database_url, redis_url, drift_round_seconds=NEVER_SECONDS) as made:
        yield made


class Reading:
    """A poll whose answer the store has given and the API has not taken yet."""

    def __init__(self, whole: Whole, patch: pytest.MonkeyPatch, source: str) -> None:
        self._whole = whole
        self._session_id = ""
        owner, method, self._headers = SOURCES[source]
        self._barrier = after(patch, owner, method, lambda _store, asked, *_: self._asks(asked))

    def _asks(self, asked: Poll | list[Poll]) -> bool:
        return self._session_id in [poll.session_id for poll in (asked if isinstance(asked, list) else [asked])]

    async def begin(self, session_id: str) -> None:
        """Poll, and hold the answer."""
        self._session_id = session_id
        self._barrier.close()
        self._poll = asyncio.create_task(self._whole.poll(session_id, **self._headers))
        await self._barrier.reached()

    async def end(self) -> httpx.Response:
        """Let the API have it."""
        self._barrier.open()
        return await self._poll


@pytest.fixture(params=SOURCES)
def reading(request: pytest.FixtureRequest, whole: Whole, patch: pytest.MonkeyPatch) -> Reading:
    """A poll of either store."""
    return Reading(whole, patch, request.param)


async def test_race_a_stale_read_stored_after_a_change(whole: Whole, reading: Reading, changes: Ear) -> None:
    """A store is read, an event is added and the API told, the answer comes: given as of then, and not kept."""
    session_id = await hot_session(whole)
    await reading.begin(session_id)
    committed_us = await third_event(whole, session_id, changes)
    answer = await reading.end()

    assert answer.json()["total"] == 2
    check(answer, committed_us)
    assert (await whole.poll(session_id)).json()["total"] == 3


async def test_race_a_read_that_spans_an_emptying(whole: Whole, reading: Reading, changes: Ear) -> None:
    """A store is read, the message of a change is lost and the next one empties memory, the answer comes: not kept."""
    session_id = await hot_session(whole)
    await reading.begin(session_id)
    changes.loses = lambda change: session_id in change.sessions
    committed_us = await third_event(whole, session_id, changes)
    answer = await reading.end()

    check(answer, committed_us)
    assert (await whole.poll(session_id)).json()["total"] == 3


async def test_race_a_missed_number(whole: Whole, changes: Ear) -> None:
    """An answer is kept, the message that names its session is lost, a later beat is heard: the answer is gone."""
    session_id = await hot_session(whole)
    assert (await whole.served(session_id, "memory")).json()["total"] == 2
    changes.loses = lambda change: session_id in change.sessions
    await third_event(whole, session_id, changes)

    assert (await whole.poll(session_id)).json()["total"] == 3


async def test_race_nothing_heard_yet(database_url: str, redis_url: str, changes: Ear) -> None:
    """An API answers before the first message reaches it, an event is added: nothing was kept; then it keeps."""
    changes.loses = lambda change: True
    async with whole_service(database_url, redis_url, drift_round_seconds=NEVER_SECONDS) as whole:
        session_id = await hot_session(whole)
        answers = [await whole.poll(session_id) for _ in range(3)]
        await whole.bench.writer.event(session_id)
        await whole.bench.caught_up()
        after_it = await whole.poll(session_id)
        changes.loses = lambda change: False
        kept = await whole.served(session_id, "memory")

        assert [answer.headers["readside-source"] for answer in answers] == ["redis"] * 3
        assert (after_it.headers["readside-source"], after_it.json()["total"]) == ("redis", 3)
        assert kept.json()["total"] == 3
        assert changes.heard


@pytest.mark.parametrize("is_named", [True, False], ids=["named", "missed"])
async def test_race_a_404_read_before_its_session_appears(
    whole: Whole, patch: pytest.MonkeyPatch, changes: Ear, is_named: bool
) -> None:
    """Postgres knows no such session, it is inserted and the API told (or not), the 404 comes: the next poll finds it.

    The view stays cold meanwhile.
    """
    patch.setattr(fallback, "MISSING_SECONDS", 30.0)
    session_id = str(uuid4())
    loads = before(patch, Loader, "_try")
    loads.close()
    reads = after(patch, EventLog, "answer", lambda _log, poll, *_: poll.session_id == session_id)
    reads.close()
    poll = asyncio.create_task(whole.poll(session_id))
    await reads.reached()
    if not is_named:
        changes.loses = lambda change: session_id in change.sessions
    await whole.bench.writer.connection.execute(INSERT_SESSION, session_id, "pending")
    committed_us = int(await whole.bench.writer.connection.fetchval(CLOCK_US))
    await changes.hears(lambda change: (change.as_of_us or 0) >= committed_us, "the API hears a later beat")
    reads.open()

    assert (await poll).status_code == 404
    again = await whole.poll(session_id)
    assert (again.status_code, again.headers["readside-source"]) == (200, "postgres")
    loads.open()
