"""What may happen while a session is loaded: each order of things forced, over real stores and a real leader."""

from collections.abc import Awaitable, Callable

import pytest

from projector.core.operations import Put
from projector.loads.loads import Loader
from projector.reads import Reads
from projector.tail.reader import LetterReader
from projector.term import Term
from projector.view.writer import TermRefused, ViewWriter
from readmodel.view.reader import Cold, ViewPage
from tests.support.barriers import Barrier, after, before, doing
from tests.support.healing import end_the_lead
from tests.support.projecting import Bench, ids
from tests.support.waiting import eventually

Change = Callable[[], Awaitable[object]]


async def written(stage: Bench, count: int = 2) -> str:
    """A session with events that is there before the leader is: it is warmed when the term begins."""
    session_id = await stage.writer.session()
    await stage.writer.events(session_id, count)
    return session_id


async def loaded(stage: Bench) -> None:
    """Wait until no load is under way, and as-of has passed all that is committed."""
    await stage.caught_up()
    await eventually(lambda: stage.telemetry.loading == 0, "no load is under way")
    await stage.caught_up()


class Points:
    """The moments of a load at which something may happen."""

    def __init__(self, stage: Bench, patch: pytest.MonkeyPatch) -> None:
        self._stage = stage
        self._patch = patch
        self._registered = before(patch, Loader, "_try")
        self._snapped = before(patch, ViewWriter, "stage")
        self._outcome = after(patch, Loader, "_try")
        self._batch = before(patch, ViewWriter, "apply")

    def expect(self, point: str) -> None:
        """Hold the next load there; to be called before it begins."""
        (self._registered if point == "registered" else self._snapped).close()

    async def happens(self, point: str, change: Change) -> None:
        """Change something at a point of the load under way, have the leader hear of it, then let the load go on."""
        barrier = self._registered if point == "registered" else self._snapped
        await barrier.reached()
        if point == "staged":
            await self._between_two_steps(barrier, change)
        else:
            await change()
            await self._stage.caught_up()
            barrier.open()

    async def _between_two_steps(self, barrier: Barrier, change: Change) -> None:
        """A batch is on its way: the step after it finds the load ready and the letter beside it."""
        self._batch.close()
        await self._batch.reached()
        barrier.open()
        await eventually(lambda: self._outcome.passed, "the load is staged")
        await change()
        self._patch.setattr(LetterReader, "due", lambda _: 0.0)  # whether the bell has been heard by then or not
        self._patch.setattr(Term, "_has_work", lambda term: term._fed.has_some)  # nor before it was fed
        self._batch.open()


@pytest.fixture
def points(stage: Bench, patch: pytest.MonkeyPatch) -> Points:
    """The moments of a load."""
    return Points(stage, patch)


@pytest.mark.parametrize("point", ["registered", "snapped", "staged"])
async def test_race_load_against_delete(stage: Bench, patch: pytest.MonkeyPatch, points: Points, point: str) -> None:
    """A load begins, its session is purged and the leader told, the load goes on: nothing of it is ever put."""
    sid = await written(stage)
    put = after(patch, ViewWriter, "apply", doing(Put, sid))
    put.close()
    points.expect(point)
    async with stage.projector():
        await points.happens(point, lambda: stage.writer.delete_session(sid))
        await loaded(stage)

        assert put.calls == []
        assert isinstance(await stage.read(sid), Cold)


@pytest.mark.parametrize("point", ["registered", "snapped", "staged"])
async def test_race_add_during_load(stage: Bench, patch: pytest.MonkeyPatch, points: Points, point: str) -> None:
    """A load begins, an event is added and the leader told, the load goes on: the put shows it at once, and once."""
    sid = await written(stage)
    put = after(patch, ViewWriter, "apply", doing(Put, sid))
    put.close()
    points.expect(point)
    async with stage.projector() as telemetry:
        await points.happens(point, lambda: stage.writer.event(sid))
        await put.reached()
        found = await stage.read(sid)
        put.open()

        assert isinstance(found, ViewPage)
        assert found.total == 3
        assert (await stage.same(sid)).total == 3
        assert (telemetry.loads, telemetry.terms) == (1, 1)


@pytest.mark.parametrize("point", ["snapped", "staged"])
async def test_race_look_during_load(stage: Bench, patch: pytest.MonkeyPatch, points: Points, point: str) -> None:
    """A load begins, its events are changed and the leader told, the load goes on: nothing of the old is put."""
    sid = await written(stage)
    put = after(patch, ViewWriter, "apply", doing(Put, sid))
    put.close()
    points.expect(point)

    async def change() -> None:
        await stage.writer.connection.execute("UPDATE events SET message = 'changed' WHERE session_id = $1::uuid", sid)

    async with stage.projector() as telemetry:
        await points.happens(point, change)
        await put.reached()
        found = await stage.read(sid)
        put.open()

        assert isinstance(found, ViewPage)
        assert found.page.count(b'"message":"changed"') == 2
        assert (await stage.same(sid)).total == 2
        assert telemetry.loads == 1


@pytest.mark.parametrize("point", ["snapped", "staged"])
async def test_race_status_during_load(stage: Bench, patch: pytest.MonkeyPatch, points: Points, point: str) -> None:
    """A load begins, its session's status changes and the leader is told, the load goes on: it is put with that."""
    sid = await written(stage)
    put = after(patch, ViewWriter, "apply", doing(Put, sid))
    put.close()
    points.expect(point)

    async def change() -> None:
        await stage.writer.connection.execute("UPDATE sessions SET status = 'failed' WHERE id = $1::uuid", sid)

    async with stage.projector() as telemetry:
        await points.happens(point, change)
        await put.reached()
        found = await stage.read(sid)
        put.open()

        assert isinstance(found, ViewPage)
        assert found.status == "failed"
        assert (await stage.same(sid)).total == 2
        assert telemetry.loads == 1


async def test_race_a_terms_end_during_load(stage: Bench, patch: pytest.MonkeyPatch) -> None:
    """A put is on its way, its session is purged, the term ends, the next is at the number before it: it is refused."""
    sid = await written(stage)
    puts = before(patch, ViewWriter, "apply", doing(Put, sid))
    puts.close()
    async with stage.projector() as telemetry:
        await puts.reached()
        _, term, number, *_ = puts.calls[0]
        turn = before(patch, ViewWriter, "apply", lambda _w, other, n, *_, **__: other != term and n == number)
        turn.close()
        await stage.writer.delete_session(sid)
        await end_the_lead(stage)
        await turn.reached()
        puts.open()
        outcomes = await puts.ended()
        turn.open()
        await loaded(stage)

        assert [type(outcome) for outcome in outcomes] == [TermRefused]
        assert isinstance(await stage.read(sid), Cold)
        assert telemetry.terms == 2


async def test_race_load_against_another_timestamp(stage: Bench, patch: pytest.MonkeyPatch, points: Points) -> None:
    """The load has seen an event that a letter names too, and its row changes before the step: it is there once."""
    sid = await written(stage)
    fetch = before(patch, Reads, "added", lambda _, wanted: sid in wanted)
    put = after(patch, ViewWriter, "apply", doing(Put, sid))
    fetch.close()
    put.close()
    points.expect("registered")
    async with stage.projector():
        await points.happens("registered", lambda: stage.writer.event(sid))
        await fetch.reached()
        later = "UPDATE events SET timestamp = timestamp + interval '1 hour' WHERE session_id = $1::uuid"
        await stage.writer.connection.execute(later, sid)
        fetch.open()
        await put.reached()
        answer = await stage.read(sid)
        put.open()
        await loaded(stage)

        assert isinstance(answer, ViewPage)
        assert (answer.total, len(set(ids(answer)))) == (3, 3)
        assert (await stage.same(sid)).total == 3
