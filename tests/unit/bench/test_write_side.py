"""The rows of the write side: what is computed of what was measured."""

import asyncio

import pytest

from bench.catalogue import MEASUREMENTS, WITHOUT_CROWDS, chosen
from bench.rows import (
    commit_beside_base,
    commit_to_redis,
    letters,
    no_projector,
    one_slice_beside_base,
    paths_beside_base,
    writers,
)
from bench.rows.writers import ALONE, BARE, COLD, Crowd, Turn
from bench.table import BenchError
from bench.watching import first_and_last, stopped_growing, watched
from tests.support.waiting import eventually


def test_each_variant_is_first_in_turn() -> None:
    """What only the first of a round feels strikes all of them alike."""
    assert [writers.in_turn(["a", "b", "c"], number) for number in range(4)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
        ["a", "b", "c"],
    ]


def test_writers_are_shown_beside_their_rate_without_triggers() -> None:
    """The ratio of the medians, the range of the rounds, and the target of the variant."""
    turns = {BARE: [Turn(100.0), Turn(200.0), Turn(400.0)], ALONE: [Turn(80.0), Turn(190.0), Turn(300.0)]}

    found = writers.rows(Crowd(1, {ALONE: 0.9}), turns)

    assert [row.cells() for row in found] == [
        (
            "1 writer committing single events, no projector",
            "190 events/s (0.75–0.95 × by round)",
            "no triggers: 200 events/s",
            "0.95 ×",
            "≥ 0.9 ×: met",
        )
    ]


def test_a_projector_shows_how_far_behind_it_was() -> None:
    """Writers who keep their rate by leaving the view behind would show."""
    found = writers.rows(Crowd(8, {COLD: 0.75}), {BARE: [Turn(100.0)], COLD: [Turn(70.0, 1.5)]})

    assert found[0].figure.text() == "70 events/s (0.70–0.70 × by round; all in the view 1.5 s after)"
    assert found[0].cells()[4] == "≥ 0.75 ×: missed"


def test_every_crowd_has_a_target() -> None:
    """One, eight and thirty-two writers among them, hot sessions, ten events a commit and commits not on the disk."""
    assert {crowd.writers for crowd in writers.CROWDS} == {1, 8, 32}
    assert {variant for crowd in writers.CROWDS for variant in crowd.targets} == {writers.COLD, writers.HOT, ALONE}
    assert {(crowd.manner.events, crowd.manner.durable) for crowd in writers.CROWDS} == {
        (1, True),
        (10, True),
        (1, False),
    }


def test_the_first_seconds_are_compared_with_the_last() -> None:
    """What was read after the end belongs to neither."""
    points = [(second / 10, float(second)) for second in range(110)]

    assert first_and_last(points, 10, 1) == (5.0, 95.0)


def test_too_few_figures_are_no_figures() -> None:
    """Nothing is said of a watch that hardly saw anything."""
    with pytest.raises(BenchError, match="Only 4 and 1 figures"):
        first_and_last([(0.0, 1.0), (0.1, 1.0), (0.2, 1.0), (0.3, 1.0), (9.9, 1.0)], 10, 1)


@pytest.mark.parametrize(
    ("values", "seconds"), [([5, 5, 5], 0.0), ([5, 6, 7, 7], 2.0), ([5, 9, 0, 8], 1.0), ([5, 4, 3], 0.0)]
)
def test_growth_stops_where_nothing_was_larger_before(values: list[float], seconds: float) -> None:
    """A table that was emptied and filled again to less than before did not grow."""
    assert stopped_growing([(float(at), value) for at, value in enumerate(values)]) == seconds


async def test_a_watch_asks_until_the_block_ends() -> None:
    """Its figures come in order, with the seconds since it began."""
    answers = iter(range(1_000_000))

    async def question() -> float:
        return float(next(answers))

    async with watched(question, 0) as points:
        await eventually(lambda: len(points) > 3, "the question is asked again and again")

    assert [value for _, value in points] == [float(place) for place in range(len(points))]
    assert [at for at, _ in points] == sorted(at for at, _ in points)


async def test_a_watch_that_fails_fails_the_measurement() -> None:
    """Half a series is not taken for a whole one."""
    asked = asyncio.Event()

    async def question() -> float:
        asked.set()
        raise BenchError("no as-of")

    with pytest.raises(BenchError, match="no as-of"):
        async with watched(question, 0):
            await asyncio.wait_for(asked.wait(), 60)


def test_as_of_that_grows_older_misses_its_target() -> None:
    """By the means of the first and of the last seconds."""
    steady = [(second / 10, 10.0) for second in range(300)]
    growing = [(at, 10.0 + 10 * at) for at, _ in steady]

    verdicts = [[row.cells()[4] for row in commit_to_redis.rows_of("x", lags, 30, 0.1)] for lags in (steady, growing)]

    assert verdicts == [["", "≤ 5000 ms: met", "≤ 1.5 ×: met"], ["", "≤ 5000 ms: met", "≤ 1.5 ×: missed"]]


@pytest.mark.parametrize(("largest", "verdict"), [(99.0, "met"), (101.0, "missed")])
def test_the_largest_size_counts(largest: float, verdict: str) -> None:
    """However small the tables are at the end."""
    found = letters.row(8, 5_000.0, 600, [(0.0, 1.0), (1.0, largest), (2.0, 3.0)], [(0.0, 4.0), (1.0, 9.0)])

    assert found.cells()[4] == f"≤ 100 MB: {verdict}"
    assert found.figure.note == "3.0 MB at the end; 5,000 events/s; age of as-of p50 9 ms, worst 9 ms"


def test_growth_without_a_projector_misses_its_target() -> None:
    """However little."""
    still, grown = (no_projector.never_row([(0.0, 1.0), (60.0, last)], 60).cells()[4] for last in (1.0, 1.01))

    assert (still, grown) == ("≤ 0 MB: met", "≤ 0 MB: missed")


def test_growth_long_after_a_kill_misses_its_target() -> None:
    """Until the projector's lease lapses, letters are still written; then no more."""
    lapses = [(0.0, 1.0), (10.0, 2.0), (15.0, 3.0), (40.0, 3.0), (70.0, 3.0)]
    goes_on = [*lapses[:-1], (70.0, 4.0)]

    verdicts = [no_projector.killed_rows(sizes, 10.0)[1].cells()[4] for sizes in (lapses, goes_on)]

    assert verdicts == ["≤ 0 MB: met", "≤ 0 MB: missed"]
    assert no_projector.killed_rows(lapses, 10.0)[0].figure.text() == (
        "3 MB (2.00 MB when killed; no growth any more 5.0 s after)"
    )


def test_an_earlier_version_is_shown_beside_this_one() -> None:
    """Both percentiles, as medians of the rounds."""
    found = commit_beside_base.rows("v0", [[1.0, 2.0], [3.0, 3.0], [3.0, 9.0]], [[2.0, 2.0], [2.0, 2.0], [8.0, 8.0]])

    assert [row.cells()[1:] for row in found] == [
        ("3 ms", "v0: 2 ms", "1.50 ×", "≤ 1.1 ×: missed"),
        ("3 ms", "v0: 2 ms", "1.50 ×", "≤ 1.1 ×: missed"),
    ]


def test_a_round_without_a_probe_counts_for_nothing() -> None:
    """It would say that the version is quick."""
    with pytest.raises(BenchError, match="no probe"):
        commit_beside_base.rows("v0", [[1.0], []], [[1.0], [1.0]])


def test_what_needs_an_earlier_version_is_measured_where_one_is_given() -> None:
    """A run of everything needs no revision."""
    needing = {commit_beside_base.NAME, one_slice_beside_base.NAME, paths_beside_base.NAME}

    assert set(MEASUREMENTS) - set(chosen([], None)) == needing
    assert chosen([], "v0") == list(MEASUREMENTS)
    assert chosen(["page"], None) == ["page"]


def test_what_needs_no_crowd_of_clients_is_a_measurement() -> None:
    """Without wrk, these can be measured all the same."""
    assert set(MEASUREMENTS) > WITHOUT_CROWDS
