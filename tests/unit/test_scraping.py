"""What tests read off a scrape is what Prometheus' own parser reads off it."""

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from projector.metrics import exposition
from projector.telemetry import Telemetry
from tests.support.scraping import Scrape, series


def parsed(text: str) -> Scrape:
    """The same by Prometheus' own parser."""
    found = {}
    for sample in (sample for family in text_string_to_metric_families(text) for sample in family.samples):
        if not sample.name.endswith("_bucket"):
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[sample.name + (f"{{{labels}}}" if labels else "")] = sample.value
    return found


def test_series_of_every_kind() -> None:
    """Counters, gauges and histograms, with any text as a label."""
    registry = CollectorRegistry()
    odd = Gauge("odd", "Help with \\ and\nlines.", ["b", "a"], registry=registry)
    labels = ("", 'quoted "x", b="y"', "C:\\new\\\\", "two\nlines", "{}", "# TYPE", "\u00e9\u2028 ")
    for place, label in enumerate(labels):
        odd.labels(label, str(place)).set(place / 3)
    for name, value in {"infinite": float("inf"), "tiny": 1e-300, "large": 1e300}.items():
        Gauge(name, "An extreme.", registry=registry).set(value)
    Counter("counted", "A counter.", ["a"], registry=registry).labels("x").inc(3)
    Histogram("timed", "A histogram.", ["a"], registry=registry).labels("x").observe(0.2)
    text = generate_latest(registry).decode()

    assert len(series(text)) == 15
    assert series(text) == parsed(text)


def test_series_of_a_projector() -> None:
    """All that it tells."""
    text = exposition(Telemetry(role="leader", state="live")).decode()

    assert len(series(text)) > 20
    assert series(text) == parsed(text)


@pytest.mark.parametrize("line", ["a", "a{", "a{b=x} 1", 'a{b="x" c="y"} 1', "a 1 2", "a  1", "1a 1", "", "a one"])
def test_a_line_that_is_no_series_is_refused(line: str) -> None:
    """It is not passed over."""
    with pytest.raises((AssertionError, ValueError)):
        series(f"a 1\n{line}\n")
