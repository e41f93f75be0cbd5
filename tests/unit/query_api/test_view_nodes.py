"""Polls of each Redis server go by themselves: what is away, slow or gone is nothing to the others."""

import asyncio
from collections.abc import Collection, Sequence

import pytest

from query_api.sources.circuit import Circuit
from query_api.sources.source_answer import SourceAnswer
from query_api.sources.view_nodes import ViewNodes
from query_api.sources.view_reads import MAX_TOGETHER
from readmodel.errors import ServiceError, ViewUnavailable
from readmodel.values.poll import Poll
from readmodel.view.reader import Cold, Question, ViewArrivals, ViewPage
from tests.unit.query_api.test_reader import hot

AWAY = ViewUnavailable("Redis does not answer.")


class FakeNodes:
    """Sessions on servers; a session's first letter is its slice. Servers that hang are let through one by one."""

    def __init__(self, **on: str) -> None:
        self.on = on
        self.away: set[str] = set()
        self.hanging: dict[str, asyncio.Event] = {}
        self.round_trips: list[tuple[str, int]] = []

    def node_of(self, session_id: str) -> str:
        """Name the server."""
        return self.on[session_id[0]]

    def nodes(self) -> Collection[str]:
        """Name all servers."""
        return set(self.on.values())

    async def read_all(
        self, questions: Sequence[Question], max_bytes: int, database: str, reply_bytes: int
    ) -> list[ViewPage | ViewArrivals | Cold | ServiceError]:
        """Answer, if the server does."""
        (node,) = {self.node_of(poll.session_id) for poll in questions}
        self.round_trips.append((node, len(questions)))
        if node in self.hanging:
            await self.hanging[node].wait()
        if node in self.away:
            raise AWAY
        return [hot() for _ in questions]


class Bench:
    """Reads over fakes, by a clock that stands."""

    def __init__(self) -> None:
        self.view = FakeNodes(a="one", b="two", c="two")
        self.now = 100.0
        self.begun: list[str] = []
        self.nodes = ViewNodes(self.view, self.circuit, 1_000_000, lambda: "")

    def circuit(self, node: str) -> Circuit:
        """Make a server's."""
        self.begun.append(node)
        return Circuit("redis", lambda: self.now, node)

    async def read(self, session_id: str, **poll: int) -> str:
        """What becomes of a poll."""
        try:
            answer = await self.nodes.read(Poll(session_id, **poll))  # type: ignore[arg-type]
        except ViewUnavailable:
            return "away"
        return "hot" if isinstance(answer, SourceAnswer) else "cold"


@pytest.fixture
async def bench() -> Bench:
    """Three slices on two servers."""
    return Bench()


async def test_slices_of_one_server_share_a_round_trip(bench: Bench) -> None:
    """Those of one turn; each server has its own."""
    answers = await asyncio.gather(*map(bench.read, ("a1", "b1", "c1", "a2")))

    assert answers == ["hot"] * 4
    assert sorted(bench.view.round_trips) == [("one", 2), ("two", 2)]


async def test_one_server_that_is_away_closes_no_others_circuit(bench: Bench) -> None:
    """Its polls are told at once, without another try; the others' are answered."""
    bench.view.away = {"two"}

    assert [await bench.read(session_id) for session_id in ("a1", "b1", "b2", "c1", "a2")] == [
        "hot",
        "away",
        "away",
        "away",
        "hot",
    ]
    assert bench.view.round_trips == [("one", 1), ("two", 1), ("one", 1)]
    assert list(bench.nodes.away) == ["two"]


async def test_one_server_that_hangs_takes_no_others_places(bench: Bench) -> None:
    """However many polls wait for it."""
    bench.view.hanging["two"] = asyncio.Event()
    waiting = [asyncio.create_task(bench.read("b1", page=page)) for page in range(1, 8 * MAX_TOGETHER)]
    answer = await bench.read("a1")
    bench.view.hanging["two"].set()

    assert answer == "hot"
    assert set(await asyncio.gather(*waiting)) == {"hot"}


async def test_after_a_failover_the_slices_are_on_a_server_of_which_nothing_bad_is_known(bench: Bench) -> None:
    """Polls come from Redis at once, and the old one is away no more: there is nothing on it."""
    bench.view.away = {"two"}
    assert await bench.read("b1") == "away"
    bench.view.on.update(b="three", c="three")

    assert [await bench.read("b1"), await bench.read("c1")] == ["hot", "hot"]
    assert list(bench.nodes.away) == []


async def test_servers_that_are_gone_are_forgotten(bench: Bench) -> None:
    """However many there were; one that comes back begins anew."""
    for number in range(100):
        bench.view.on["b"] = bench.view.on["c"] = f"replica {number}"
        assert await bench.read("b1") == "hot"
    kept = set(bench.nodes._reads)
    bench.view.on["b"] = "replica 0"
    await bench.read("b1")

    assert kept == {"replica 99"}
    assert bench.begun.count("replica 0") == 2


async def test_one_that_is_gone_answers_who_waits_for_it(bench: Bench) -> None:
    """Nobody waits for ever, nor is the server kept for ever."""
    gate = bench.view.hanging["two"] = asyncio.Event()
    waiting = asyncio.create_task(bench.read("b1"))
    await asyncio.sleep(0)
    bench.view.on.update(b="three", c="three")
    await bench.read("b1")
    gate.set()
    answer = await waiting
    bench.view.on.update(b="four", c="four")
    await bench.read("b1")

    assert answer == "hot"
    assert set(bench.nodes._reads) == {"four"}


async def test_what_was_counted_of_a_server_that_is_gone_counts_on(bench: Bench) -> None:
    """A sum never goes back."""
    await asyncio.gather(bench.read("b1"), bench.read("b1"))
    bench.view.on.update(b="three", c="three")
    await bench.read("b1")

    assert (bench.nodes.counted.durations.count, bench.nodes.counted.shared) == (2, 1)


async def test_the_end_leaves_nobody_waiting(bench: Bench) -> None:
    """On whichever server."""
    bench.view.hanging = {"one": asyncio.Event(), "two": asyncio.Event()}
    waiting = [asyncio.create_task(bench.read(session_id)) for session_id in ("a1", "b1")]
    for _ in range(5):
        await asyncio.sleep(0)
    await bench.nodes.close()

    done, _ = await asyncio.wait(waiting, timeout=60)
    assert [task.cancelled() for task in done] == [True, True]
