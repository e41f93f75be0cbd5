"""A live projector over events in partitions, which come and go: the view says what Postgres says at each as-of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg
import orjson
import pytest

from projector.loads.snapshot import MOST_ROWS
from projector.reads import Reads, open_reads
from projector.tail.triggers import install, late_partitions_of, left_partitions_of
from readmodel.errors import EventLogUnavailable
from readmodel.postgres.client import check_server
from readmodel.values.poll import Poll
from readmodel.view.reader import ViewPage
from tests.support.partitions import SCHEMES, Scheme, at, bounds, month
from tests.support.projecting import MAX_BYTES, Bench, bench, ids
from tests.support.servers import connected
from tests.support.waiting import eventually


@asynccontextmanager
async def partitioned(database_url: str, redis_url: str, scheme: Scheme) -> AsyncIterator[Bench]:
    """A stage whose events are cut so, with our triggers."""
    async with connected(database_url) as connection:
        await scheme.make(connection)
    async with bench(database_url, redis_url) as made:
        yield made


@pytest.fixture
async def stage(months_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """Three months, triggers, a writer, and readers of both stores."""
    async with bench(months_url, redis_url) as made:
        yield made


async def one_each(stage: Bench, *months: int) -> str:
    """A session with an event in each of these months."""
    session_id = await stage.writer.session()
    for number in months:
        await stage.writer.event(session_id, timestamp=at(number))
    return session_id


async def same(stage: Bench, session_id: str, **poll: object) -> ViewPage:
    """Check that the view gives what Postgres gives, once hot again: comparing drops what was on its way."""
    await stage.caught_up()
    await stage.hot(session_id)
    return await stage.same(session_id, **poll)


async def insert_into(stage: Bench, table: str, session_id: str, number: int) -> None:
    """An event that names its partition's table."""
    await stage.writer.connection.execute(
        f"INSERT INTO {table} (id, session_id, event_type, event_data, timestamp) "
        "VALUES (gen_random_uuid(), $1::uuid, 'direct', '{}', $2::text::timestamptz)",
        session_id,
        at(number),
    )


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_the_view_is_what_postgres_holds(database_url: str, redis_url: str, scheme: str) -> None:
    """However events are cut: loaded, added to, changed, moved, deleted, and filtered."""
    async with partitioned(database_url, redis_url, SCHEMES[scheme]) as stage:
        writer = stage.writer
        loaded = await one_each(stage, 1, 2, 3, 3)
        async with stage.projector():
            added = await writer.session()
            await stage.hot(loaded)
            await stage.hot(added)
            for number, event_type in ((1, "step_created"), (3, "message_sent"), (2, "step_created")):
                await writer.event(added, timestamp=at(number), event_type=event_type, message="more")
            assert (await same(stage, added)).total == 3
            await same(stage, added, types=("message_sent",))
            await writer.connection.execute("UPDATE events SET timestamp = '2026-01-02' WHERE message = 'more'")
            await writer.connection.execute(
                f"DELETE FROM events WHERE session_id = '{loaded}' AND timestamp > '{at(2)}'"
            )
            await stage.hot(added)
            await stage.hot(loaded)
            assert (await same(stage, added)).total == 3
            assert (await same(stage, loaded)).total == 2
            await writer.delete_session(loaded)
            await stage.cold(loaded)

            assert stage.telemetry.terms == 1


async def created(stage: Bench, session_id: str) -> None:
    """CREATE TABLE … PARTITION OF, written to by both names at once."""
    await stage.writer.connection.execute(month(4))
    await insert_into(stage, "events_4", session_id, 4)
    await insert_into(stage, "events", session_id, 4)


async def attached(stage: Bench, session_id: str) -> None:
    """A table that has rows already: no letter tells of them."""
    await stage.writer.connection.execute("CREATE TABLE events_4 (LIKE events INCLUDING ALL)")
    await insert_into(stage, "events_4", session_id, 4)
    await stage.writer.connection.execute(f"ALTER TABLE events ATTACH PARTITION events_4 FOR VALUES {bounds(4)}")


async def attached_at_once(stage: Bench, session_id: str) -> None:
    """The table is made, filled and attached in one transaction."""
    async with stage.writer.connection.transaction():
        await attached(stage, session_id)


async def detached(stage: Bench, _session_id: str) -> None:
    """Its rows stay in a table of their own."""
    await stage.writer.connection.execute("ALTER TABLE events DETACH PARTITION events_1")


async def detached_concurrently(stage: Bench, _session_id: str) -> None:
    """In two transactions, of which the first hides the rows."""
    await stage.writer.connection.execute("ALTER TABLE events DETACH PARTITION events_1 CONCURRENTLY")


async def dropped(stage: Bench, _session_id: str) -> None:
    """As retention does."""
    await stage.writer.connection.execute("DROP TABLE events_1")


async def truncated(stage: Bench, _session_id: str) -> None:
    """A partition by its own name."""
    await stage.writer.connection.execute("TRUNCATE events_1")


async def exchanged(stage: Bench, session_id: str) -> None:
    """One partition for another of the same bounds, in one transaction."""
    async with stage.writer.connection.transaction():
        await stage.writer.connection.execute("ALTER TABLE events DETACH PARTITION events_1")
        await stage.writer.connection.execute("CREATE TABLE other (LIKE events INCLUDING ALL)")
        await insert_into(stage, "other", session_id, 1)
        await insert_into(stage, "other", session_id, 1)
        await stage.writer.connection.execute(f"ALTER TABLE events ATTACH PARTITION other FOR VALUES {bounds(1)}")


CHANGES = [created, attached, attached_at_once, detached, detached_concurrently, dropped, truncated, exchanged]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
async def test_a_change_of_partitions_is_seen_and_the_term_goes_on(
    stage: Bench, change: Callable[[Bench, str], Awaitable[None]]
) -> None:
    """Whatever comes or goes with a partition is in the view before as-of passes it; the view stays live."""
    touched, other = await one_each(stage, 1, 2), await one_each(stage, 2)
    async with stage.projector():
        for session_id in (touched, other):
            await stage.hot(session_id)
        await change(stage, touched)
        await stage.caught_up()
        found = await stage.read(touched)
        if isinstance(found, ViewPage):  # else it is cold, and Postgres answers
            logged = await stage.log.answer(Poll(touched), MAX_BYTES)
            assert (found.page, found.total) == (logged.page, logged.total)
        await stage.hot(touched)
        await same(stage, touched)
        await same(stage, other)

        assert stage.telemetry.terms == 1


@pytest.mark.parametrize("change", [attached, dropped, truncated, exchanged], ids=lambda change: change.__name__)
async def test_a_change_while_no_projector_runs_is_seen(
    stage: Bench, change: Callable[[Bench, str], Awaitable[None]]
) -> None:
    """The next one compares, or loads anew, before it is live."""
    touched = await one_each(stage, 1, 2)
    async with stage.projector():
        await stage.hot(touched)
        await stage.caught_up()
    await change(stage, touched)
    async with stage.projector():
        await stage.caught_up()
        await stage.hot(touched)
        await same(stage, touched)


async def test_the_view_continues_after_a_partition_came(stage: Bench) -> None:
    """A projector that starts later keeps the view: a new partition is no other shape of the old rows."""
    session_id = await one_each(stage, 1, 2)
    async with stage.projector():
        await stage.hot(session_id)
        await created(stage, session_id)
        await stage.caught_up()
        await stage.hot(session_id)
        await same(stage, session_id)
    async with stage.projector() as telemetry:
        await stage.caught_up()
        await same(stage, session_id)

        assert telemetry.sessions_reloaded == 0


REWRITTEN = """
ALTER TABLE events DETACH PARTITION events_1; ALTER TABLE events_1 DROP COLUMN message;
ALTER TABLE events_1 ADD COLUMN message text DEFAULT 'other';
ALTER TABLE events ATTACH PARTITION events_1 FOR VALUES {bounds}
"""


@pytest.mark.parametrize("running", [True, False])
async def test_the_same_rows_that_come_back_as_others_are_read_anew(stage: Bench, running: bool) -> None:
    """Detached, a column made anew, attached: ids and versions of the rows are as before, and what they say is not."""
    session_id = await one_each(stage, 1, 2)
    async with stage.projector():
        await stage.hot(session_id)
        await stage.caught_up()
        if running:
            await stage.writer.connection.execute(REWRITTEN.format(bounds=bounds(1)))
            await stage.caught_up()
    if not running:
        await stage.writer.connection.execute(REWRITTEN.format(bounds=bounds(1)))
    async with stage.projector():
        await stage.caught_up()
        await stage.hot(session_id)
        found = await same(stage, session_id)

    assert [event["message"] for event in orjson.loads(b"[" + found.page + b"]")] == [None, "other"]


async def test_a_copy_by_the_same_transaction_that_takes_the_place_of_a_partition_is_read_anew(stage: Bench) -> None:
    """Who writes to the old and the new at once, and exchanges them: ids and versions agree, and the copy says more."""
    session_id = await stage.writer.session()
    connection = stage.writer.connection
    await connection.execute("CREATE TABLE other (LIKE events INCLUDING ALL)")
    async with connection.transaction():
        await insert_into(stage, "events", session_id, 1)
        await connection.execute("INSERT INTO other SELECT * FROM events; UPDATE other SET message = 'copied'")
    async with stage.projector() as telemetry:
        await stage.hot(session_id)
        await connection.execute(
            f"ALTER TABLE events DETACH PARTITION events_1; "
            f"ALTER TABLE events ATTACH PARTITION other FOR VALUES {bounds(1)}"
        )
        found = await same(stage, session_id)

        assert orjson.loads(found.page)["message"] == "copied"
        assert telemetry.terms == 1


async def test_a_partition_that_is_attached_while_a_large_session_is_read(stage: Bench) -> None:
    """What was counted without its rows is not put with them: totals and pages would disagree until the next beat."""
    session_id = await stage.writer.session()
    connection = stage.writer.connection
    await connection.execute("CREATE TABLE events_4 (LIKE events INCLUDING ALL)")
    for table, number in (("events", 1), ("events_4", 4)):
        await connection.execute(
            f"""INSERT INTO {table} (id, session_id, event_type, event_data, timestamp)
                SELECT gen_random_uuid(), $1::uuid, 'x', '{{}}', $2::text::timestamptz + n * interval '1 ms'
                  FROM generate_series(1, {MOST_ROWS + 1}) n""",
            session_id,
            at(number),
        )
    started = (await check_server(connection, stage.config.database_url)).started
    url = stage.config.database_url
    attach = f"ALTER TABLE events ATTACH PARTITION events_4 FOR VALUES {bounds(4)}"
    async with open_reads(url, server_started=started, statement_cache_size=100) as reads:
        with pytest.raises(EventLogUnavailable, match="attached"):
            await loaded(reads, session_id, connection.execute(attach))

        assert await loaded(reads, session_id) == (2 * (MOST_ROWS + 1),) * 2


async def loaded(reads: Reads, session_id: str, meanwhile: Awaitable[object] | None = None) -> tuple[int, int]:
    """How many events a load counts, and how many it reads after that."""
    async with reads.snapshot(session_id, (10_000, 10**8)) as snapshot:
        if meanwhile is not None:
            await meanwhile
        return snapshot.count, sum([part.held async for part in snapshot.newest()])


async def test_a_new_partition_gets_its_own_triggers_from_the_leader(stage: Bench) -> None:
    """No operator has to install again; the term goes on, and nothing is missed meanwhile."""
    session_id = await one_each(stage, 1)
    connection = stage.writer.connection
    async with stage.projector():
        await stage.hot(session_id)
        await connection.execute(month(4))

        async def are_adopted() -> bool:
            return await late_partitions_of(connection) == []

        await eventually(are_adopted, "the new partition has statement triggers")
        await insert_into(stage, "events_4", session_id, 4)
        assert (await same(stage, session_id)).total == 2
        assert stage.telemetry.terms == 1

    assert not await install(connection, warn=pytest.fail)


async def test_a_partition_that_was_detached_gets_rid_of_its_triggers(stage: Bench) -> None:
    """By the leader's doing; the term goes on, and whoever alters that table writes to it as before."""
    session_id = await one_each(stage, 1, 2)
    connection = stage.writer.connection
    async with stage.projector() as telemetry:
        await stage.hot(session_id)
        await connection.execute("ALTER TABLE events DETACH PARTITION events_1 CONCURRENTLY")

        async def are_rid_of() -> bool:
            return await left_partitions_of(connection) == []

        await eventually(are_rid_of, "the table has no triggers of ours")
        await connection.execute("ALTER TABLE events_1 DROP COLUMN session_id; DELETE FROM events_1")

        assert (await same(stage, session_id)).total == 1
        assert telemetry.terms == 1


async def test_a_partition_that_somebody_locks_waits_for_its_triggers(stage: Bench, months_url: str) -> None:
    """A writer that holds it is never waited for longer than 0.1 s, and what is written to it is seen all the same."""
    session_id = await one_each(stage, 1)
    connection = stage.writer.connection
    async with connected(months_url) as other, stage.projector():
        await stage.hot(session_id)
        async with connection.transaction():
            await connection.execute(month(4))
            await insert_into(stage, "events_4", session_id, 4)
            transaction = other.transaction()
        async with transaction:
            await other.execute("LOCK TABLE events_4 IN ROW EXCLUSIVE MODE")
            await insert_into(stage, "events_4", session_id, 4)
            assert (await same(stage, session_id)).total == 3
            assert [each.full_name for each in await late_partitions_of(connection)] == ["public.events_4"]

        assert stage.telemetry.terms == 1


async def test_a_partition_whose_triggers_are_off_ends_the_term(stage: Bench) -> None:
    """What is written there could be missed: not live, one sentence, and all is compared when it is mended."""
    session_id = await one_each(stage, 1)
    connection = stage.writer.connection
    async with stage.projector() as telemetry:
        await stage.hot(session_id)
        await connection.execute("ALTER TABLE events_1 DISABLE TRIGGER USER")
        await insert_into(stage, "events_1", session_id, 1)
        # The leader may have given it statement triggers just before: then the row trigger rests.
        wanted = "rigger readside_move on partition public.events_1 is disabled; run `readside install`."
        await eventually(lambda: str(telemetry.reason).endswith(wanted), "the leader says what is wrong")
        await install(connection, warn=pytest.fail)

        assert (await same(stage, session_id)).total == 2


async def test_triggers_of_a_partition_that_were_off_for_a_moment(stage: Bench) -> None:
    """Disabled, written to unseen, and enabled again between two beats: comparing finds it."""
    session_id = await one_each(stage, 1)
    connection = stage.writer.connection
    async with stage.projector():
        await stage.hot(session_id)
        async with connection.transaction():
            await connection.execute("ALTER TABLE events_1 DISABLE TRIGGER USER")
            await insert_into(stage, "events_1", session_id, 1)
            await connection.execute("""ALTER TABLE events_1 ENABLE ALWAYS TRIGGER readside_insert,
                ENABLE ALWAYS TRIGGER readside_update, ENABLE ALWAYS TRIGGER readside_delete,
                ENABLE ALWAYS TRIGGER readside_move""")

        assert (await same(stage, session_id)).total == 2


@pytest.mark.parametrize("when", ["before it is hot", "while it is hot"])
async def test_two_events_of_one_id_are_served_from_postgres(stage: Bench, when: str) -> None:
    """A key over id and timestamp allows them. The view knows an event by its id, and leaves them to Postgres."""
    session_id, other = await one_each(stage, 1), await one_each(stage, 1)
    twice = str(uuid4())

    if when == "before it is hot":
        async with stage.projector():
            await stage.hot(other)
        for number in (2, 3):
            await insert_id(stage, twice, session_id, number)
    async with stage.projector() as telemetry:
        await stage.hot(other)
        if when == "while it is hot":
            await stage.hot(session_id)
            for number in (2, 3):
                await insert_id(stage, twice, session_id, number)
                await stage.caught_up()
        await eventually(lambda: session_id in telemetry.set_aside(), "it is set aside")
        why = telemetry.set_aside()[session_id]
        logged = await stage.log.answer(Poll(session_id), MAX_BYTES)

        assert why.startswith("two of its events have ")
        assert not await stage.is_hot(session_id)
        assert [event["id"] for event in orjson.loads(b"[" + logged.page + b"]")][:2] == [twice, twice]
        assert logged.total == 3


async def insert_id(stage: Bench, event_id: str, session_id: str, number: int) -> None:
    """An event of this very id, in month `number`."""
    await stage.writer.connection.execute(
        """INSERT INTO events (id, session_id, event_type, event_data, timestamp)
           VALUES ($1::uuid, $2::uuid, 'x', '{}', $3::text::timestamptz)""",
        event_id,
        session_id,
        at(number),
    )


async def test_one_id_in_two_sessions_is_in_both(stage: Bench) -> None:
    """Each session's view holds its own event, and the continuous check takes neither for wrong."""
    first, second = await stage.writer.session(), await stage.writer.session()
    event_id = str(uuid4())
    async with stage.projector(drift_round_seconds=0.05) as telemetry:
        for session_id, number in ((first, 1), (second, 2)):
            await stage.hot(session_id)
            await stage.writer.connection.execute(
                """INSERT INTO events (id, session_id, event_type, event_data, timestamp)
                   VALUES ($1::uuid, $2::uuid, 'x', '{}', $3::text::timestamptz)""",
                event_id,
                session_id,
                at(number),
            )
        compared = telemetry.compared
        await eventually(lambda: telemetry.compared > compared + 20, "the check went round")
        for session_id in (first, second):
            assert ids(await same(stage, session_id)) == [event_id]

        assert telemetry.drift == 0


async def test_a_large_session_over_many_partitions(stage: Bench) -> None:
    """Its rows' places are the same in each partition; its load reads the right ones."""
    session_id = await stage.writer.session()
    await stage.writer.connection.execute(
        """INSERT INTO events (id, session_id, event_type, event_data, timestamp)
           SELECT gen_random_uuid(), $1::uuid, 'step_created', jsonb_build_object('n', n),
                  '2026-01-01 01:00+00'::timestamptz + (n % 3) * interval '1 month' + n * interval '1 ms'
             FROM generate_series(1, 6000) n""",
        session_id,
    )
    async with stage.projector():
        await stage.hot(session_id)
        for page in (1, 7, 60):
            assert (await same(stage, session_id, page=page)).total == 6000


async def test_pages_of_postgres_hold_each_event_once(database_url: str, redis_url: str) -> None:
    """Events of one instant and one id differ by their type alone, in two partitions: each is on one page."""
    async with partitioned(database_url, redis_url, SCHEMES["list by type"]) as stage:
        session_id = await stage.writer.session()
        event_id = str(uuid4())
        for event_type in ("step_created", "a", "b"):
            await stage.writer.connection.execute(
                """INSERT INTO events (id, session_id, event_type, event_data, timestamp)
                   VALUES ($1::uuid, $2::uuid, $3, '{}', $4::text::timestamptz)""",
                event_id,
                session_id,
                event_type,
                at(1),
            )
        pages = [await stage.log.answer(Poll(session_id, limit=1, page=page), MAX_BYTES) for page in (1, 2, 3)]

        assert sorted(orjson.loads(page.page)["event_type"] for page in pages) == ["a", "b", "step_created"]
        assert {page.total for page in pages} == {3}


async def test_partitions_come_and_go_under_writers(stage: Bench, months_url: str) -> None:
    """Every answer is what Postgres held at its as-of or later; at the end the view is Postgres."""
    sessions = [await one_each(stage, 1, 2, 3) for _ in range(5)]
    judge = Judge(stage, sessions)
    async with stage.projector(heartbeat_seconds=0.02) as telemetry, connected(months_url) as direct:
        for session_id in sessions:
            await stage.hot(session_id)
        stop = asyncio.Event()
        writers = [asyncio.create_task(write(months_url, sessions, n, stop)) for n in range(3)]
        polls = asyncio.create_task(judge.poll(stop))
        for _ in range(4):
            for number in range(4, 8):
                await direct.execute(f"CREATE TABLE events_{number} (LIKE events INCLUDING ALL)")
                for session_id in sessions:
                    await direct.execute(event_into(f"events_{number}", session_id, number))
                await direct.execute(f"ALTER TABLE events ATTACH PARTITION events_{number} FOR VALUES {bounds(number)}")
            await stage.caught_up()
            await direct.execute("ALTER TABLE events DETACH PARTITION events_4")
            await direct.execute("ALTER TABLE events DETACH PARTITION events_5 CONCURRENTLY")
            await direct.execute("DROP TABLE events_4, events_5")
            await direct.execute("DROP TABLE events_6")
            await direct.execute("TRUNCATE events_7")
            await direct.execute("DROP TABLE events_7")
            await judge.more(10)
        stop.set()
        await asyncio.gather(*writers, polls)
        for session_id in sessions:
            await stage.hot(session_id)
            await same(stage, session_id)

        assert judge.answers >= 40
        assert telemetry.terms == 1


async def write(database_url: str, sessions: list[str], seed: int, stop: asyncio.Event) -> None:
    """Write through the parent and by the partition's own name, one event at a time."""
    async with connected(database_url) as connection:
        n = seed
        while not stop.is_set() and n < 900:  # a page must hold all of a session
            n += 1
            table, number = ("events", 1 + n % 3) if n % 2 else ("events_2", 2)
            await connection.execute(event_into(table, sessions[n % 5], number))


def event_into(table: str, session_id: str, number: int) -> str:
    """A statement that puts an event of a month into a table."""
    return f"INSERT INTO {table} VALUES (gen_random_uuid(), '{session_id}', NULL, 'x', '{{}}', NULL, '{at(number)}')"


class Judge:
    """Polls the view and holds each answer against Postgres: none may lack what was there before its as-of.

    Events of months 1 to 3 are only ever added, so that an answer must hold all that a look at Postgres saw before its
    as-of, and nothing that a later look does not see.
    """

    def __init__(self, stage: Bench, sessions: list[str]) -> None:
        self._stage = stage
        self._sessions = sessions
        self._seen: dict[str, list[tuple[int, set[str]]]] = {session_id: [] for session_id in sessions}
        self.answers = 0
        self.ended = False

    async def poll(self, stop: asyncio.Event) -> None:
        """Ask until stopped, session after session; an error says so too."""
        try:
            await self._poll(stop)
        finally:
            self.ended = True

    async def _poll(self, stop: asyncio.Event) -> None:
        async with connected(self._stage.config.database_url) as connection:
            while not stop.is_set():
                for session_id in self._sessions:
                    held, at_us = await self._held(connection, session_id)
                    self._seen[session_id].append((at_us, held))
                    found = await self._stage.read(session_id, limit=1000)
                    if not isinstance(found, ViewPage):
                        continue
                    after, _ = await self._held(connection, session_id)
                    events = orjson.loads(b"[" + found.page + b"]")
                    shown = {event["id"] for event in events if event["timestamp"] < "2026-04"}
                    assert found.total < 1000
                    assert shown <= after
                    for seen_us, before in self._seen[session_id]:
                        assert seen_us > found.as_of_us or before <= shown
                    self.answers += 1

    async def more(self, answers: int) -> None:
        """Wait until the view has given so many answers more."""
        goal = self.answers + answers
        # A load that starts over again and again waits 6 s in between.
        await eventually(lambda: self.answers >= goal or self.ended, "the view answers")

    @staticmethod
    async def _held(connection: asyncpg.Connection[asyncpg.Record], session_id: str) -> tuple[set[str], int]:
        # Not now(): a look waits for locks of a partition's change, and sees what was committed meanwhile.
        rows = await connection.fetch(
            "SELECT id::text, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS at_us FROM events "
            "WHERE session_id = $1::uuid AND timestamp < '2026-04-01 00:00+00'",
            session_id,
        )
        return {row["id"] for row in rows}, rows[0]["at_us"]
