"""The census of connections: what it counts, when the bound is near, and what the log says of it."""

import asyncio
from contextlib import ExitStack
from pathlib import Path

import pytest
from prometheus_client.core import Metric
from structlog.testing import capture_logs

from query_api.doorway import census as module
from query_api.doorway.census import REASONS, Census, CensusLog
from query_api.operators import exposition
from query_api.operators.exchange import taking_part
from query_api.operators.exposition import MERGE
from tests.support.waiting import eventually

NEAR = "connections come near their bound: READSIDE_MAX_CONNECTIONS, or the limit of open files"
FULL = "no connection is left: new clients get 503 until others leave"
FAR = "connections are far from their bound again"


def census_of(count: int, bound: int) -> Census:
    """A census of so many open connections."""
    census = Census(bound)
    for _ in range(count):
        census.opened()
    return census


def said(*counts: int) -> list[list[str]]:
    """What the log says at each look while so many of ten connections are open."""
    census = Census(10)
    log, lines = CensusLog(census), []
    for count in counts:
        census.open = count
        with capture_logs() as captured:
            log.look()
        lines.append([line["event"] for line in captured])
    return lines


def test_connections_are_counted() -> None:
    """How many are open, and how many ever were."""
    census = census_of(3, 10)
    census.closed()

    assert (census.open, census.accepted, census.usage) == (2, 3, 0.2)


def test_a_refusal_takes_no_place() -> None:
    """It is counted by its reason, each of which is there from the start."""
    census = Census(10)
    census.refused("full")
    census.refused("full")
    census.refused("idle")

    assert census.ended == {**dict.fromkeys(REASONS, 0), "full": 2, "idle": 1}
    assert (census.open, census.accepted) == (0, 0)


@pytest.mark.parametrize(
    ("count", "bound", "near", "full"),
    [(0, 1, False, False), (1, 1, True, True), (7, 10, False, False), (8, 10, True, False), (10, 10, True, True)],
)
def test_when_the_bound_is_near_and_reached(count: int, bound: int, near: bool, full: bool) -> None:
    """From four fifths on; at the bound itself no place is left."""
    census = census_of(count, bound)

    assert (census.near, census.full) == (near, full)


def test_the_log_says_each_thing_once() -> None:
    """Near, then full; nothing more until fewer than seven tenths are left, between which and near it may swing."""
    assert said(7, 8, 9, 10, 9, 10, 7, 8, 10, 6, 7, 8, 7, 8, 6, 6) == [
        [], [NEAR], [], [FULL], [], [], [], [], [], [FAR], [], [NEAR], [], [], [FAR], [],
    ]  # fmt: skip


def test_a_crowd_that_comes_at_once() -> None:
    """Both are said, in their order."""
    assert said(0, 10, 0) == [[], [NEAR, FULL], [FAR]]


def test_who_was_turned_away_between_two_looks_is_told_of() -> None:
    """The crowd has gone by the time of the look; the next look says that it has."""
    census = Census(10)
    log = CensusLog(census)
    census.refused("idle")
    log.look()
    census.refused("full")
    with capture_logs() as at_once:
        log.look()
    with capture_logs() as later:
        log.look()

    assert [line["event"] for line in at_once] == [NEAR, FULL]
    assert at_once[1] == {
        "event": FULL,
        "log_level": "warning",
        "connections": 0,
        "bound": 10,
        "turned_away": 1,
    }
    assert [line["event"] for line in later] == [FAR]


async def test_it_looks_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself, beside the requests."""
    monkeypatch.setattr(module, "LOOK_SECONDS", 0)
    census = census_of(8, 10)
    with capture_logs() as captured:
        task = asyncio.create_task(CensusLog(census).run())
        await eventually(lambda: captured, "it has looked")
        census.open = 10
        await eventually(lambda: len(captured) == 2, "it has looked again")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    assert [line["event"] for line in captured] == [NEAR, FULL]


def families(census: Census) -> list[Metric]:
    """The metrics of a census."""
    return list(exposition._of_connections(census))


def values(metrics: list[Metric]) -> dict[str, float]:
    """Samples by name, with the reason where they have one and are not 0."""
    return {
        sample.name + "".join(f"{{{reason}}}" for reason in sample.labels.values()): sample.value
        for metric in metrics
        for sample in metric.samples
        if sample.value or not sample.labels
    }


def test_one_scrape_tells_of_all_workers(tmp_path: Path) -> None:
    """Connections, bounds and refusals add up; the part in use is that of the worker that is nearest to its bound."""
    first, second = census_of(9, 10), census_of(1, 10)
    first.refused("full")
    second.refused("full")
    second.refused("untaken")
    with ExitStack() as stack:
        exchanges = [stack.enter_context(taking_part(str(tmp_path), MERGE)) for _ in range(2)]
        exchanges[0].publish(families(first))
        told = values(exchanges[1].everybodys(families(second)))

    assert told == {
        "readside_connections": 10,
        "readside_connections_bound": 20,
        "readside_connections_usage": 0.9,
        "readside_connections_accepted_total": 10,
        "readside_connections_ended_total{full}": 2,
        "readside_connections_ended_total{untaken}": 1,
    }
