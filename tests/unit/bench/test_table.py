"""The benchmark's table: medians, ratios, targets, and its place on the page."""

import pytest

from bench.load import Round, parse_wrk
from bench.table import BenchError, Figure, Row, Target, put_between_markers

WRK = """Running 1s test @ http://127.0.0.1:1/
  1 threads and 100 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     4.68ms    4.88ms  61.49ms   96.87%
    Req/Sec    23.64k     2.55k   26.09k    90.00%
  Latency Distribution
     50%  870.00us
     75%    4.37ms
     90%    5.26ms
     99%    1.02s
  23630 requests in 1.01s, 11.56MB read
Requests/sec:  23412.75
Transfer/sec:     11.45MB
"""


def test_a_row_shows_medians_and_their_ratio() -> None:
    """One round that went wrong moves nothing."""
    row = Row("empty poll", Figure([90.0, 100.0, 5.0], "polls/s"), "bare", Figure([200.0, 1.0, 300.0], "polls/s"))

    assert row.cells() == ("empty poll", "90 polls/s", "bare: 200 polls/s", "0.45 ×", "")


@pytest.mark.parametrize(
    ("target", "beside", "expected"),
    [
        (Target(0.4), 20.0, "≥ 0.4 ×: met"),
        (Target(0.8), 20.0, "≥ 0.8 ×: missed"),
        (Target(0.5, at_most=True), 20.0, "≤ 0.5 ×: met"),
        (Target(9, at_most=True, unit="ms"), 20.0, "≤ 9 ms: missed"),
        (Target(10, at_most=True, unit="ms"), None, "≤ 10 ms: met"),
        (Target(0.8), None, "≥ 0.8 ×: not measured"),
    ],
)
def test_a_target_says_whether_it_is_met(target: Target, beside: float | None, expected: str) -> None:
    """By the ratio, or by the figure itself where it has a unit; never by a peer that is missing."""
    row = Row("poll", Figure([10.0], "ms"), "peer", None if beside is None else Figure([beside], "ms"), target)

    assert row.cells()[4] == expected


def test_a_missing_peer_is_said() -> None:
    """In its place in the table, and with what to install."""
    row = Row("poll", Figure([10.0], "polls/s"), "nginx: not installed (Debian: apt install nginx)")

    assert row.cells()[2:4] == ("nginx: not installed (Debian: apt install nginx)", "")


def test_the_table_goes_between_the_markers() -> None:
    """All else on the page stays."""
    page = "before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n"

    assert put_between_markers(page, "| new |\n") == "before\n<!-- bench -->\n| new |\n<!-- /bench -->\nafter\n"


@pytest.mark.parametrize("page", ["", "<!-- bench -->", "<!-- /bench --><!-- bench -->", "<!-- bench -->" * 2])
def test_a_page_without_its_markers_is_left_alone(page: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(BenchError, match="needs the lines"):
        put_between_markers(page, "table")


def test_wrk_is_read() -> None:
    """Its units become milliseconds."""
    assert parse_wrk(WRK) == Round(23412.75, 0.87, 1020.0)


def test_answers_that_failed_count_for_nothing() -> None:
    """A server that refuses quickly is not a fast one."""
    with pytest.raises(BenchError, match="clean answers"):
        parse_wrk(WRK + "  Non-2xx or 3xx responses: 3\n")
