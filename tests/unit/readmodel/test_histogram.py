"""Histograms of durations."""

from readmodel.runtime.histogram import Histogram


def test_what_was_observed_is_counted_below_its_bounds() -> None:
    """Cumulative, as Prometheus wants it; a duration that is a bound lies below it."""
    histogram = Histogram((0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 2.0):
        histogram.observe(seconds)

    assert histogram.buckets() == [("0.1", 2), ("1.0", 3), ("+Inf", 4)]
    assert (histogram.count, histogram.seconds) == (4, 2.65)


def test_a_new_one_is_empty() -> None:
    """Every bucket is there from the start."""
    assert Histogram((0.1,)).buckets() == [("0.1", 0), ("+Inf", 0)]
