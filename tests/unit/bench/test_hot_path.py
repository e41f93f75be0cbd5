"""The hot path by itself: what is asked is answered by the doorway, as each way says."""

from collections.abc import Iterator

import pytest

from bench.rows.hot_path import HotPath, costs_us, rows
from bench.table import BenchError


@pytest.fixture
def path() -> Iterator[HotPath]:
    """An API process with one connection and no socket."""
    made = HotPath()
    yield made
    made.close()


def test_each_way_is_answered_at_once(path: HotPath) -> None:
    """With its own status: nothing is handed to uvicorn, and no store is asked."""
    assert [path.status(way.write()) for way in path.ways] == [way.status for way in path.ways]
    assert {way.status for way in path.ways} == {200, 304, 401, 404}


def test_a_poll_is_never_the_same_object_again(path: HotPath) -> None:
    """Bytes remember their hash, and what a socket gives has none yet."""
    polls = path.ways[0].polls(2)

    assert polls[0] == polls[1]
    assert polls[0] is not polls[1]


def test_another_since_each_time_is_another_poll(path: HotPath) -> None:
    """Whatever is remembered of polls, it is none of these."""
    for way in (way for way in path.ways if "another since" in way.name):
        assert len(set(way.polls(100))) == 100


def test_what_the_doorway_does_not_answer_is_no_hot_poll(path: HotPath) -> None:
    """Half a request would be measured as the quickest of all."""
    with pytest.raises(BenchError, match="does not answer by itself"):
        path.status(path.ways[0].write()[:-1])


def test_every_way_is_a_row_of_microseconds(path: HotPath) -> None:
    """One figure a round."""
    found = rows(costs_us(2, polls=10))

    assert [row.measure.rpartition("socket, ")[2] for row in found] == [way.name for way in path.ways]
    assert {(len(row.figure.rounds), row.figure.unit) for row in found} == {(2, "µs")}
    assert all(row.figure.median > 0 for row in found)
