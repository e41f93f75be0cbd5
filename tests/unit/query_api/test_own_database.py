"""Another database's view: neither its messages nor its answers touch what our own Postgres said."""

import asyncio

import pytest

from query_api.memory.answers import AsOf, Number, found, missing
from query_api.memory.response_cache import ResponseCache
from query_api.sources.own_database import OwnDatabase
from readmodel.values.messages import Change
from readmodel.view.reader import Cold, ViewPage
from tests.fakes.event_log import Row
from tests.support.waiting import eventually
from tests.unit.query_api.test_fallback import HOUR, POLL, Bench
from tests.unit.query_api.test_reader import Bench as ReaderBench

SID = POLL.session_id
OURS, THEIRS = "1/1", "2/2"
FOREVER = 1e9


def change(n: int, database: str, *sessions: str, as_of_us: int | None = None) -> Change:
    """A message; each database's view has a term of its own."""
    return Change(f"term of {database}", n, as_of_us, 0, sessions, database=database)


def keep(cache: ResponseCache, number: Number | None) -> bool:
    """Store an answer."""
    return cache.store(SID, found(SID, b"{}", terminal=False), AsOf(1, 0.0), number)


def cache_of(database: str, *changes: Change) -> ResponseCache:
    """A cache that belongs to a database and has heard these."""
    cache = ResponseCache(1_000_000)
    cache.belong_to(database)
    for one in changes:
        cache.hear(one, 1.0)
    return cache


def test_messages_of_another_database_are_not_heard() -> None:
    """They give no number, so nothing is stored under their term, and no beat."""
    cache = cache_of(OURS, change(1, THEIRS, as_of_us=50), change(2, THEIRS, as_of_us=60))

    assert (cache.number_of(SID), cache.beat) == (None, None)
    assert not keep(cache, Number(f"term of {THEIRS}", 2, THEIRS))


def test_another_databases_message_ends_what_is_kept() -> None:
    """Its projector has taken the view over: no message will tell when an answer of ours changes."""
    cache = cache_of(OURS, change(1, OURS, as_of_us=50))
    assert keep(cache, cache.number_of(SID))
    cache.hear(change(1, THEIRS, as_of_us=60), 2.0)

    assert (len(cache), cache.number_of(SID), cache.beat) == (0, None, None)


def test_what_was_kept_before_our_database_was_known_is_forgotten() -> None:
    """If it was another's; a read of that view that ends only now is not stored either."""
    cache = ResponseCache(1_000_000)
    cache.hear(change(1, THEIRS, as_of_us=50), 1.0)
    number = Number(f"term of {THEIRS}", 1)
    assert keep(cache, number)
    cache.belong_to(OURS)

    assert (len(cache), cache.beat) == (0, None)
    assert not keep(cache, number)
    cache.hear(change(2, THEIRS, as_of_us=60), 2.0)
    assert not keep(cache, number)


def test_what_was_kept_of_our_own_database_stays() -> None:
    """It is no other because its name is known."""
    cache = ResponseCache(1_000_000)
    cache.hear(change(1, OURS, as_of_us=50), 1.0)
    keep(cache, cache.number_of(SID))
    cache.belong_to(OURS)

    assert (len(cache), cache.breaks) == (1, 1)


def test_an_identity_is_learned_and_each_change_told() -> None:
    """An answer of a query that was sent before the last change was known tells nothing of now."""
    told: list[str] = []
    own = OwnDatabase(told.append)

    assert not own.learn(OURS, 1.0, 2.0)
    assert not own.learn(OURS, 3.0, 4.0)
    assert own.learn(THEIRS, 5.0, 6.0)
    assert not own.learn(OURS, 5.5, 7.0)
    assert (own.identity(), told) == (THEIRS, [OURS, THEIRS])


@pytest.fixture
async def bench() -> Bench:
    """A fallback over a log that says which database it is."""
    return Bench()


async def test_an_answer_has_no_number_of_another_databases_view(bench: Bench) -> None:
    """Else the beats of that view would raise its as-of."""
    bench.number = Number("t", 1, THEIRS)

    assert (await bench.ask()).number is None
    assert bench.own.identity() == bench.log.database


async def test_another_database_behind_the_address(bench: Bench) -> None:
    """Old connections are left, what was missing is looked up again, and a straggler changes nothing."""
    bench.log.statuses.clear()
    await bench.ask()
    before = bench.log.database
    bench.log.hold()
    straggler = asyncio.create_task(bench.fallback.identify())
    await bench.asked(2)
    bench.log.database = THEIRS
    bench.log.statuses[SID] = "paused"
    bench.log.rows.append(Row(SID, 2))
    bench.log.release()
    await straggler
    bench.log.database = before
    bench.own.learn(before, bench.clock() - 1, bench.clock())

    assert bench.changes == [before, THEIRS]
    assert bench.reconnected == 1
    assert (await bench.ask(staleness=HOUR)).found.status == "paused"


async def test_the_question_which_database_it_is_waits_in_no_line() -> None:
    """Nor does it count as a poll's query."""
    bench = Bench(concurrency=1)
    bench.log.hold()
    first = bench.ask()
    await bench.asked(1)
    asking = asyncio.create_task(bench.fallback.identify())
    await bench.asked(2)
    bench.log.release()
    await asyncio.gather(first, asking)
    await bench.fallback.close()

    assert bench.fallback.sent == 1


async def test_the_view_is_told_of_which_database_it_must_be() -> None:
    """What it said before that was known is not believed."""
    bench = ReaderBench()
    bench.view.answer, bench.database = ViewPage(b"{}", 1, "paused", 1000, 0, "t", 7), ""
    assert isinstance(await bench.view_reads.read(POLL), tuple)
    bench.view.gate.clear()
    reading = asyncio.create_task(bench.view_reads.read(POLL))
    await eventually(lambda: len(bench.view.polls) > 1, "the read is under way")
    bench.database = OURS
    bench.view.gate.set()

    assert isinstance(await reading, Cold)
    await bench.view_reads.read(POLL)
    assert bench.view.databases == ["", "", OURS]


def test_a_404_of_ours_is_not_raised_by_others() -> None:
    """A session that is missing here may be there."""
    cache = cache_of(OURS, change(1, OURS, as_of_us=50))
    cache.store(SID, missing(SID), AsOf(1, 0.0), cache.number_of(SID))
    cache.hear(change(2, THEIRS, as_of_us=99), 2.0)

    assert cache.get(SID, 3.0, FOREVER) is None
