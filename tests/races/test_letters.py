"""What letters may hide: writes that left none, statements of many rows, events that come and go."""

from uuid import uuid4

import pytest

from projector.core.letters import Letters
from projector.tail.letterbox import Letterbox
from tests.support.barriers import before
from tests.support.healing import CLOCK_US
from tests.support.projecting import INSERT_EVENT, Bench, ids

TRIGGERS = ("readside_insert", "readside_update", "readside_delete", "readside_truncate")


async def test_race_triggers_disabled_and_reenabled_between_two_beats(stage: Bench, patch: pytest.MonkeyPatch) -> None:
    """A beat is held, the triggers are off for one write and back as they were, the beat goes on: the term ends."""
    beats = before(patch, Letterbox, "read", lambda *_, beat, **__: beat)
    async with stage.projector() as telemetry:
        session_id = await stage.writer.session()
        await stage.hot(session_id)
        await stage.caught_up()
        beats.close()
        await beats.reached()
        await alter(stage, "DISABLE")
        event_id = await stage.writer.event(session_id)
        committed_us = await stage.writer.connection.fetchval(CLOCK_US)
        await alter(stage, "ENABLE ALWAYS")
        sent = beats.passed
        position = await stage.view.position()
        assert position is not None
        assert (position.as_of_us or 0) < committed_us
        beats.open()
        await stage.caught_up()  # until then the old term's view may answer, as of then
        await stage.hot(session_id)

        assert ids(await stage.same(session_id)) == [event_id]
        assert telemetry.terms == 2
        assert beats.passed > sent


async def alter(stage: Bench, how: str) -> None:
    """Enable or disable what is ours on the events."""
    for trigger in TRIGGERS:
        await stage.writer.connection.execute(f"ALTER TABLE events {how} TRIGGER {trigger}")


async def test_race_a_bulk_insert_is_counted_per_session(stage: Bench, letters: list[Letters]) -> None:
    """One statement adds 1,001 events to one session and 3 to another: the first is looked at, the second added to."""
    async with stage.projector() as telemetry:
        large, small = await stage.writer.session(), await stage.writer.session()
        await stage.hot(large)
        await stage.hot(small)
        loads = telemetry.loads
        await stage.writer.connection.execute(
            """INSERT INTO events (id, session_id, event_type, event_data, timestamp)
               SELECT gen_random_uuid(), CASE WHEN n <= 1001 THEN $1::uuid ELSE $2::uuid END, 'x', '{}', now()
               FROM generate_series(1, 1004) n""",
            large,
            small,
        )
        await stage.caught_up()
        await stage.hot(large)
        (told,) = [one for one in letters if large in one.named() and large not in one.created]

        assert (large in told.looks, large in told.added, len(told.added[small])) == (True, False, 3)
        assert (await stage.same(large, limit=1000)).total == 1001
        assert (await stage.same(small)).total == 3
        assert telemetry.loads == loads + 1


@pytest.mark.parametrize("was_there", [True, False], ids=["known", "new"])
@pytest.mark.parametrize("changes", [3, 4])
async def test_race_an_event_that_comes_and_goes(stage: Bench, was_there: bool, changes: int) -> None:
    """One transaction inserts and deletes an event by turns: the view holds what Postgres holds in the end."""
    is_there = was_there == (changes % 2 == 0)
    async with stage.projector():
        session_id, event_id = await stage.writer.session(), str(uuid4())
        kept = await stage.writer.event(session_id, timestamp="2020-01-01T00:00:00Z")
        if was_there:
            await write(stage, session_id, event_id, insert=True)
        await stage.hot(session_id)
        await stage.caught_up()
        async with stage.writer.connection.transaction():
            for number in range(changes):
                await write(stage, session_id, event_id, insert=was_there == bool(number % 2))
        await stage.caught_up()
        await stage.hot(session_id)

        assert ids(await stage.same(session_id)) == ([event_id, kept] if is_there else [kept])


async def write(stage: Bench, session_id: str, event_id: str, *, insert: bool) -> None:
    """Insert an event, or delete it."""
    connection = stage.writer.connection
    if insert:
        at = "2021-01-01T00:00:00Z"
        await connection.execute(INSERT_EVENT, event_id, session_id, "step_created", "{}", None, at)
    else:
        await connection.execute("DELETE FROM events WHERE id = $1::uuid", event_id)
