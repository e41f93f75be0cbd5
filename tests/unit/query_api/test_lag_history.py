"""The projection's last fifteen minutes: samples, their bound, and events a second between two reports."""

from typing import Any

import pytest

from query_api.operators.lag_history import SAMPLES, LagHistory, events_per_second
from readmodel.view.projection import Projection


class Projections:
    """What is read, one after the other; the last for ever."""

    def __init__(self, *projections: Projection) -> None:
        self._left = list(projections)

    async def read(self) -> Projection:
        """The next."""
        return self._left.pop(0) if len(self._left) > 1 else self._left[0]


def live(leader: dict[str, Any] | None = None, lag_ms: int = 100) -> Projection:
    """A projection that is live under this leader."""
    return Projection(status="live", lag_ms=lag_ms, leader=leader)


def report(seconds: float, events: int, projector: str = "a") -> dict[str, Any]:
    """A leader's report."""
    return {"id": projector, "reported_at_us": int(seconds * 1_000_000), "events_applied": events}


async def test_a_sample_says_when_and_how_it_was() -> None:
    """Oldest first, beside the lag past which the view is stale."""
    projections = Projections(live(), Projection(status="down", reason="Redis is away."))
    history = LagHistory(projections.read, 5.0, clock=lambda: 1_768_314_600.5)
    await history.sample()
    await history.sample()

    at = "2026-01-13T14:30:00.500000Z"
    assert history.as_json() == {
        "max_staleness_ms": 5000,
        "samples": [
            {"at": at, "status": "live", "lag_ms": 100, "events_per_second": None, "round_trip_ms": None},
            {"at": at, "status": "down", "lag_ms": None, "events_per_second": None, "round_trip_ms": None},
        ],
        "changes": [{"at": at, "kind": "status", "text": "The view is down: Redis is away."}],
    }


async def test_the_rate_stays_until_the_leader_reports_again() -> None:
    """A report is a second old at most; between two there is nothing new to tell."""
    first, second = report(10, 100), report(11, 350)
    projections = Projections(live(first), live(second), live(second), live())
    history = LagHistory(projections.read, 5.0)
    for _ in range(4):
        await history.sample()

    assert [sample["events_per_second"] for sample in history.as_json()["samples"]] == [None, 250, 250, None]


async def test_the_oldest_samples_go() -> None:
    """Fifteen minutes at a sample a second."""
    lags = iter(range(SAMPLES + 10))

    async def read() -> Projection:
        return live(lag_ms=next(lags))

    history = LagHistory(read, 5.0)
    for _ in range(SAMPLES + 10):
        await history.sample()

    assert [sample["lag_ms"] for sample in history.as_json()["samples"]] == list(range(10, SAMPLES + 10))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (report(10, 100), report(12, 105), 2.5),
        (report(10, 100), report(10, 100), None),
        (report(10, 100), report(11, 0, "another"), None),
        (report(10, 100), report(11, 40), 0),
        (None, report(11, 40), None),
        (report(10, 100), None, None),
        (report(10, 100), {"id": "a"}, None),
        (report(10, 100), {"id": "a", "reported_at_us": "soon", "events_applied": None}, None),
    ],
)
def test_events_a_second(before: dict[str, Any] | None, after: dict[str, Any] | None, expected: float | None) -> None:
    """Between two reports of one process; anything else tells none."""
    assert events_per_second(before, after) == expected
