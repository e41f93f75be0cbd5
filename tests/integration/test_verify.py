"""Verify on real servers: silent while writers write hard, and not silent about any damage to the view."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from readmodel.errors import NoLeader, ServiceError
from readmodel.postgres.client import Pool, create_pool
from readmodel.values.messages import ProjectorReply
from readmodel.view.type_index import pack_index, unpack_index
from readside.commands import sessions as commands
from readside.inspection import verify
from readside.inspection.verdict import Verdict
from readside.inspection.verify import NotLive, Verifier
from readside.settings import Settings
from tests.support.projecting import INSERT_EVENT, Bench, Writer, bench
from tests.support.servers import TABLES, connected
from tests.support.viewing import whole_view
from tests.support.waiting import eventually

pytestmark = pytest.mark.installed

BACK_SECONDS = 60.0
"""Sessions that are changed without a pause are loaded again after up to 6.4 s, and that may be in vain a few times."""

Damage = Callable[[Bench, str], Awaitable[str | None]]


@pytest.fixture
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """Triggers, a writer and readers; each test runs its own projector, which must not find the damage first."""
    async with bench(database_url, redis_url, drift_round_seconds=3600.0) as made:
        yield made


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    """The verifier's own connections."""
    made = await create_pool(database_url, application_name="test", size=2)
    yield made
    made.terminate()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def live(lasting_database_url: str, lasting_redis_url: str) -> AsyncIterator[Bench]:
    """One with a projector, for all tests that ask about sessions of their own and harm nothing else."""
    async with bench(lasting_database_url, lasting_redis_url, drift_round_seconds=3600.0) as made, made.projector():
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lasting_pool(lasting_database_url: str) -> AsyncIterator[Pool]:
    """The verifier's connections to it."""
    made = await create_pool(lasting_database_url, application_name="test", size=2)
    yield made
    made.terminate()


of_live = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, database_url: str, redis_url: str) -> Iterator[Settings]:
    """What the command reads from its environment; the projector beside it keeps its log to itself."""
    monkeypatch.setenv("READSIDE_DATABASE_URL", database_url)
    monkeypatch.setenv("READSIDE_REDIS_URL", redis_url)
    with capture_logs():
        yield Settings()


async def verdicts(stage: Bench, pool: Pool, *session_ids: str) -> list[Verdict]:
    """Compare these sessions."""
    verifier = Verifier(whole_view(stage.view), pool, stage.config.database_url, TABLES)
    return [verdict async for verdict in verifier.verify(session_ids)]


async def full_session(stage: Bench) -> str:
    """A hot session of twelve events of three types, two of them at the same instant."""
    session_id = await stage.writer.session()
    kinds = "step_created", "made_up_type", "Odd Type"
    await stage.writer.connection.executemany(
        INSERT_EVENT,
        [
            (str(uuid4()), session_id, kinds[number % 3], "{}", None, f"2026-01-13T14:30:{number // 2:02}Z")
            for number in range(12)
        ],
    )
    await stage.hot(session_id)
    await stage.caught_up()
    return session_id


async def write_hard(url: str, sessions: list[str], chance: random.Random) -> None:
    """Do to these sessions whatever applications and purges do, until cancelled."""
    async with connected(url) as connection:
        writer = Writer(connection)
        while True:
            await _write(writer, chance.choice(sessions), chance)


async def _write(writer: Writer, session_id: str, chance: random.Random) -> None:
    execute = writer.connection.execute
    match chance.randrange(600):
        case 0:
            await writer.events(session_id, 1100)
        case 1:
            await execute("DELETE FROM events WHERE id IN (SELECT id FROM events WHERE session_id = $1::uuid LIMIT 5)",
                          session_id)  # fmt: skip
        case 2:
            await execute(
                "UPDATE events SET message = md5(random()::text) "
                "WHERE id IN (SELECT id FROM events WHERE session_id = $1::uuid LIMIT 2)",
                session_id,
            )
        case number if number < 20:
            await writer.events(session_id, chance.choice([2, 30, 300]))
        case number if number < 120:
            await execute("UPDATE sessions SET status = 'paused' WHERE id = $1::uuid", session_id)
            await execute("UPDATE sessions SET status = 'in_progress' WHERE id = $1::uuid", session_id)
        case number if number < 150:
            with suppress(asyncpg.DivisionByZeroError):
                async with writer.connection.transaction():
                    await writer.event(session_id)
                    await execute("SELECT 1 / 0")
        case _:
            late = f"2026-01-13T{chance.randrange(24):02}:30:00Z" if chance.random() < 0.01 else None
            await writer.event(session_id, timestamp=late, data={"n": chance.random()})


@asynccontextmanager
async def writers(stage: Bench, sessions: list[str], count: int) -> AsyncIterator[None]:
    """Several applications at once; each must still be at it in the end."""
    url = stage.config.database_url
    tasks = [asyncio.create_task(write_hard(url, sessions, random.Random(seed))) for seed in range(count)]
    try:
        yield
        assert not any(task.done() for task in tasks), tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def any_hot(stage: Bench, sessions: list[str]) -> bool:
    """Whether the view answers for one of these sessions."""
    return any([await stage.is_hot(session_id) for session_id in sessions])


@pytest.mark.parametrize("window_events", [20_000, 1_000])
async def test_nothing_is_different_while_writers_write_hard(stage: Bench, pool: Pool, window_events: int) -> None:
    """Late is not lost: inserts, purges, changes, pauses and rollbacks give no alarm, in long sessions neither."""
    sessions = [await stage.writer.session() for _ in range(4)]
    async with stage.projector(window_events=window_events):
        for session_id in sessions:
            await stage.hot(session_id)
        same = 0
        async with writers(stage, sessions, 2):
            while same < 16:
                await eventually(lambda: any_hot(stage, sessions), "a session is hot again", BACK_SECONDS)
                for verdict in await verdicts(stage, pool, *sessions):
                    assert verdict.state != "different", verdict
                    same += verdict.state == "same"


async def test_after_the_writers_everything_is_the_same(stage: Bench, pool: Pool) -> None:
    """Each session that is hot when they stop is compared, and equal."""
    sessions = [await stage.writer.session() for _ in range(4)]
    async with stage.projector():
        async with writers(stage, sessions, 2):
            await eventually(lambda: stage.telemetry.events_applied > 300, "they have written")
        for session_id in sessions:
            await stage.caught_up()
            await stage.hot(session_id)

        assert {verdict.state for verdict in await verdicts(stage, pool, *sessions)} == {"same"}


def redis_of(stage: Bench) -> Any:
    """The client; redis-py's types of replies are of every protocol at once."""
    return stage.view.redis


async def remove_member(stage: Bench, session_id: str) -> str:
    """Take an event out of the timeline."""
    (member,) = await redis_of(stage).zrange(stage.view.keys.events(session_id), 4, 4)
    await redis_of(stage).zrem(stage.view.keys.events(session_id), member)
    return _id(member)


async def _change_index(stage: Bench, session_id: str, entry_of: Callable[[bytes], dict[str, bytes]]) -> str:
    """Take one event's entry out of a session's type index, and put others in its place."""
    key = stage.view.keys.index(session_id)
    index = unpack_index(await redis_of(stage).hgetall(key))
    assert index
    name, entry = sorted(index)[4]
    entries: dict[str, list[bytes]] = {}
    for kind, one in sorted((index - {(name, entry)}) | set(entry_of(entry).items())):
        entries.setdefault(kind, []).append(one)
    await redis_of(stage).delete(key)
    await redis_of(stage).hset(key, mapping=pack_index(entries))
    return str(UUID(bytes=entry[-16:]))


async def remove_entry(stage: Bench, session_id: str) -> str:
    """Take an event out of the type index."""
    return await _change_index(stage, session_id, lambda _: {})


async def add_foreign_member(stage: Bench, session_id: str) -> str:
    """Add an event that nobody wrote."""
    event_id = str(uuid4())
    await redis_of(stage).zadd(stage.view.keys.events(session_id), {f'{{"id":"{event_id}","x":1}}': 5})
    return event_id


async def add_garbage(stage: Bench, session_id: str) -> str:
    """Add bytes that are no event."""
    await redis_of(stage).zadd(stage.view.keys.events(session_id), {b"\xff\x00garbage": 5})
    return ascii(b"\xff\x00garbage")


async def alter_bytes(stage: Bench, session_id: str) -> str:
    """Change an event's content where it stands."""
    redis, key = redis_of(stage), stage.view.keys.events(session_id)
    ((member, score),) = await redis.zrange(key, 4, 4, withscores=True)
    await redis.zrem(key, member)
    await redis.zadd(key, {member.replace(b'"message":null', b'"message":"x"'): score})
    return _id(member)


async def alter_score(stage: Bench, session_id: str) -> str:
    """Move an event to another place in the order."""
    (member,) = await redis_of(stage).zrange(stage.view.keys.events(session_id), 4, 4)
    await redis_of(stage).zincrby(stage.view.keys.events(session_id), 1, member)
    return _id(member)


async def swap_entry(stage: Bench, session_id: str) -> str:
    """Put an event under another type, in as many entries as before."""
    return await _change_index(stage, session_id, lambda entry: {"workflow_error": entry})


def header(field: str, value: str) -> Damage:
    """Overwrite one field of a session's header."""

    async def damage(stage: Bench, session_id: str) -> None:
        await redis_of(stage).hset(stage.view.keys.header(session_id), field, value)

    damage.__name__ = f"header {field}={value}"
    return damage


DAMAGES: list[tuple[Damage, str]] = [
    (remove_member, "missing"),
    (remove_entry, "unindexed"),
    (swap_entry, "unindexed"),
    (add_foreign_member, "extra"),
    (add_garbage, "extra"),
    (alter_bytes, "changed"),
    (alter_score, "changed"),
    (header("count", "11"), "totals"),
    (header("count", "nonsense"), "totals"),
    (header("hi", "1"), "totals"),
    (header("lo", "1"), "totals"),
    (header("held", "5"), "totals"),
    (header("status", "failed"), "totals"),
    (header("t:step_created", "5"), "totals"),
    (header("t:never_written", "1"), "totals"),
]


@of_live
@pytest.mark.parametrize(("damage", "found_as"), DAMAGES, ids=lambda value: getattr(value, "__name__", value))
async def test_damage_is_found_and_named(live: Bench, lasting_pool: Pool, damage: Damage, found_as: str) -> None:
    """Whatever differs is different for one reason, by the event's id where there is one."""
    session_id, other = await full_session(live), await full_session(live)
    event_id = await damage(live, session_id)
    wrong, right = await verdicts(live, lasting_pool, session_id, other)

    assert (wrong.state, right.state) == ("different", "same")
    named = {name: getattr(wrong, name) for name in ("missing", "extra", "changed", "unindexed")}
    assert {name: found for name, found in named.items() if found} == ({found_as: [event_id]} if event_id else {})
    assert wrong.totals or event_id


async def test_damage_is_found_while_writers_write(stage: Bench, pool: Pool) -> None:
    """A lost event among new ones."""
    async with stage.projector():
        session_id = await full_session(stage)
        async with writers(stage, [await full_session(stage)], 2):
            lost = await remove_member(stage, session_id)
            (verdict,) = await verdicts(stage, pool, session_id)

    assert verdict.missing == [lost]


async def test_a_change_that_nobody_heard_of_is_not_judged(
    stage: Bench, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without our triggers the projector is not live, and what differs may be merely late."""
    monkeypatch.setattr(verify, "PASS_SECONDS", 0.5)
    async with stage.projector():
        session_id = await full_session(stage)
        await stage.writer.connection.execute("ALTER TABLE sessions DISABLE TRIGGER readside_delete")
        await stage.writer.connection.execute("ALTER TABLE events DISABLE TRIGGER readside_delete")
        await stage.writer.delete_session(session_id)
        await eventually(lambda: stage.telemetry.state != "live", "the projector sees that the triggers are gone")
        with pytest.raises(NotLive, match=r"see `readside status`"):
            await verdicts(stage, pool, session_id)


@of_live
async def test_evicted_keys_are_cold_not_different(live: Bench, lasting_pool: Pool) -> None:
    """Redis may lose a key at any moment; no answer comes of what is left."""
    for key in ("header", "events", "index"):
        session_id = await full_session(live)
        await redis_of(live).delete(getattr(live.view.keys, key)(session_id))
        (verdict,) = await verdicts(live, lasting_pool, session_id)

        assert verdict == Verdict(session_id, "cold")
        assert not await live.is_hot(session_id)


@of_live
async def test_what_is_not_hot_is_cold(live: Bench, lasting_pool: Pool) -> None:
    """An unknown id and a session that nobody made hot are no differences."""
    await live.caught_up()
    finished = await live.writer.session(status="completed")
    await live.hot(finished)  # its row was just inserted
    (hot, unknown) = await verdicts(live, lasting_pool, finished, str(uuid4()))

    assert (hot.state, unknown.state) == ("same", "cold")


async def test_a_standing_view_cannot_be_judged(stage: Bench, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a projector nobody knows what is merely late; equal is equal all the same."""
    monkeypatch.setattr(verify, "PASS_SECONDS", 0.5)
    async with stage.projector():
        session_id, other = await full_session(stage), await full_session(stage)
    await stage.writer.event(session_id)

    assert [verdict.state for verdict in await verdicts(stage, pool, other)] == ["same"]
    with pytest.raises(NotLive):
        await verdicts(stage, pool, session_id)


async def test_repair_mends(stage: Bench, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """Every damage at once: told as JSON, repaired, and the same at the next look."""
    async with stage.projector():
        damaged = {}
        for damage, _ in DAMAGES:
            session_id = await full_session(stage)
            damaged[session_id] = await damage(stage, session_id)
        healthy = await full_session(stage)
        code = await commands.verify(settings, [], repair=True, as_json=True)
        told = orjson.loads(capsys.readouterr().out)
        for session_id in [*damaged, healthy]:
            await stage.same(session_id)
        again = await commands.verify(settings, [], repair=False, as_json=False)

    assert (code, again) == (1, 0)
    assert (told["compared"], told["cold"]) == (len(DAMAGES) + 1, 0)
    assert {found["session_id"] for found in told["different"]} == damaged.keys()
    assert told["repaired"] == dict.fromkeys(damaged, "hot")
    assert capsys.readouterr().out == f"{len(DAMAGES) + 1} sessions compared, 0 different, 0 not hot.\n"


async def test_the_report_for_people(stage: Bench, settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for each session that differs, with some of its events; then the count."""
    async with stage.projector():
        session_id = await full_session(stage)
        lost = await remove_member(stage, session_id)
        await header("status", "failed")(stage, session_id)
        code = await commands.verify(settings, [session_id, session_id.upper()], repair=False, as_json=False)
    out, err = capsys.readouterr()

    assert code == 1
    assert f"{session_id}: 1 events missing ({lost}); totals are wrong" in err
    assert out == "1 sessions compared, 1 different, 0 not hot.\n"


async def test_what_was_found_is_told_though_a_later_step_fails(
    stage: Bench, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A repair that is cut short, or that nobody answers; and a view that stands still from some session on."""

    async def cut_short(*_: object) -> AsyncIterator[ProjectorReply]:
        yield ProjectorReply("1", "progress", 1, 2, {session_id: "hot"})
        yield ProjectorReply("1", "failed", 1, 2, detail="the lead was lost")

    def unanswered(*_: object) -> AsyncIterator[ProjectorReply]:
        raise NoLeader("Nobody answers.")

    async with stage.projector():
        other, session_id = await full_session(stage), await full_session(stage)
        lost = await remove_member(stage, session_id)
        for answer, error, repaired in ((cut_short, ServiceError, {session_id: "hot"}), (unanswered, NoLeader, {})):
            monkeypatch.setattr(commands, "ask", answer)
            with pytest.raises(error):
                await commands.verify(settings, [other, session_id], repair=True, as_json=True)
            told = orjson.loads(capsys.readouterr().out)

            assert [(one["session_id"], one["missing"]) for one in told["different"]] == [(session_id, [lost])]
            assert (told["compared"], told["repaired"]) == (2, repaired)
    monkeypatch.setattr(verify, "PASS_SECONDS", 0.1)
    with pytest.raises(NotLive):
        await commands.verify(settings, [other, session_id], repair=False, as_json=False)

    assert capsys.readouterr().out == "1 sessions compared, 0 different, 0 not hot.\n"


@of_live
async def test_digits_and_odd_payloads_are_the_same(live: Bench, lasting_pool: Pool) -> None:
    """Comparing bytes, not values: long numbers, control characters, emoji, instants at the ends of the range."""
    session_id = await live.writer.session()
    await live.hot(session_id)
    await live.writer.event(session_id, data='{"n": %s.5, "t": "\\\\u0000 🙂"}' % ("9" * 400))
    await live.writer.event(session_id, message="".join(map(chr, range(1, 32))) + '"\\ \x7f')
    await live.writer.event(session_id, timestamp="1684-07-28T00:12:27Z", event_type="Ünknown Type")
    await live.writer.event(session_id, timestamp="2255-06-05T23:47:33.999999Z")
    found = await live.same(session_id)

    assert found.total == 4
    assert [verdict.state for verdict in await verdicts(live, lasting_pool, session_id)] == ["same"]


def _id(member: bytes) -> str:
    return member[7:43].decode()
