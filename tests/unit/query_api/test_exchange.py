"""What workers tell each other of their metrics: sums that never go back, gauges of those who live."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from structlog.testing import capture_logs

from query_api.operators.exchange import GONE_SECONDS, Exchange, Merge, taking_part

MERGE: dict[str, Merge] = {"lag": max}


@dataclass
class Worker:
    """A worker with a counter, a histogram and two gauges."""

    exchange: Exchange
    polls: dict[str, int] = field(default_factory=dict)
    bytes: float = 0
    lag: float | None = None
    fast: int = 0

    def own(self) -> list[Metric]:
        """Its own metrics."""
        polls = CounterMetricFamily("polls", "Polls.", labels=["source"])
        for source, count in self.polls.items():
            polls.add_metric([source], count)
        lag = GaugeMetricFamily("lag", "Lag.")
        if self.lag is not None:
            lag.add_metric([], self.lag)
        times = HistogramMetricFamily("times", "Times.", buckets=[("1.0", self.fast), ("+Inf", self.fast)], sum_value=0)
        return [polls, GaugeMetricFamily("bytes", "Bytes.", value=self.bytes), lag, times]

    def publish(self) -> None:
        """Publish, as each second."""
        self.exchange.publish(self.own())

    def scraped(self) -> dict[str, float]:
        """What a scrape of this worker gives: `name{label}` → value."""
        return {
            sample.name + "".join(f"{{{value}}}" for value in sample.labels.values()): sample.value
            for metric in self.exchange.everybodys(self.own())
            for sample in metric.samples
        }


@dataclass
class Team:
    """Starts workers in one directory; `now` is their clock."""

    directory: str
    stack: ExitStack
    now: float = 1000.0

    def start(self, stack: ExitStack | None = None) -> Worker:
        """Start a worker; it dies with its stack."""
        exchange = (stack or self.stack).enter_context(taking_part(self.directory, MERGE))
        exchange._clock = lambda: self.now
        return Worker(exchange)


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    """An empty directory."""
    with ExitStack() as stack:
        yield Team(str(tmp_path), stack)


def test_a_scrape_of_any_worker_gives_the_sum(team: Team) -> None:
    """Counters and histograms are added, also those that one worker alone has; gauges as each of them is meant."""
    one, other = team.start(), team.start()
    one.polls, one.bytes, one.lag, one.fast = {"memory": 3}, 10, 0.5, 1
    other.polls, other.bytes, other.lag, other.fast = {"memory": 4, "redis": 1}, 5, 0.7, 2
    one.publish()
    other.publish()

    expected = {
        "polls_total{memory}": 7, "polls_total{redis}": 1, "bytes": 15, "lag": 0.7,
        "times_bucket{1.0}": 3, "times_bucket{+Inf}": 3, "times_count": 3, "times_sum": 0,
    }  # fmt: skip
    assert one.scraped() == expected
    assert other.scraped() == expected


def test_a_sum_never_goes_back(team: Team) -> None:
    """What a scrape of one worker told, the next scrape of the other tells too, though no second has passed."""
    one, other = team.start(), team.start()
    one.publish()
    other.publish()
    one.polls = {"memory": 5}
    first = one.scraped()["polls_total{memory}"]
    second = other.scraped()["polls_total{memory}"]

    assert (first, second) == (5, 5)


def test_a_dead_workers_counters_stay_and_its_gauges_go(team: Team) -> None:
    """Its bytes are free, and its lag nobody's; what it answered was answered."""
    one = team.start()
    with ExitStack() as dying:
        other = team.start(dying)
        other.polls, other.bytes, other.lag, other.fast = {"memory": 4}, 5, 99, 1
        other.publish()
    team.now += GONE_SECONDS
    found = one.scraped()

    assert found["polls_total{memory}"] == 4
    assert found["times_count"] == 1
    assert found["bytes"] == 0
    assert "lag" not in found


def test_who_starts_in_a_dead_workers_place_goes_on_from_there(team: Team) -> None:
    """Nothing is lost and nothing counted twice, however often workers are replaced; no place is left over."""
    one = team.start()
    for round_ in range(1, 4):
        with ExitStack() as dying:
            other = team.start(dying)
            other.polls, other.fast = {"memory": 10}, 2
            other.publish()

            assert one.scraped()["polls_total{memory}"] == 10 * round_
            assert other.scraped()["times_count"] == 2 * round_

    assert sorted(path.name for path in Path(team.directory).glob("*.json")) == ["0.json", "1.json"]


def test_one_worker_needs_no_directory() -> None:
    """It gives its own metrics, and writes nothing."""
    with taking_part("", MERGE) as exchange:
        own = Worker(exchange, bytes=3).own()

        exchange.publish(own)
        assert exchange.everybodys(own) is own


def test_a_directory_that_is_gone_stops_nothing(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker then tells of itself alone, and the log says so once."""
    one = team.start()
    one.polls = {"memory": 1}
    monkeypatch.setattr(Path, "write_bytes", _full)
    with capture_logs() as logs:
        found = [one.scraped()["polls_total{memory}"] for _ in range(3)]

    assert found == [1, 1, 1]
    assert [line["log_level"] for line in logs] == ["warning"]


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")
