"""The benchmark's table: medians, ratios, and its place in the README."""

import pytest

from bench.load import Load, parse_wrk
from bench.machine import Machine
from bench.table import BenchError, Figure, Row, markdown, put_between_markers

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


def machine(busy_share: float | None = 0.0) -> Machine:
    """Build a machine."""
    return Machine(
        "box", "CPU", 2, "Linux 6", "3.11.7", "18.4", "7.0.15", "load by wrk", busy_share, "2026-01-13T14:30"
    )


def test_a_row_shows_medians_and_their_ratio() -> None:
    """One round that went wrong moves nothing."""
    row = Row("empty poll", Figure([90.0, 100.0, 5.0], "polls/s"), "bare", Figure([200.0, 1.0, 300.0], "polls/s"))

    assert row.cells() == ("empty poll", "90 polls/s", "bare: 200 polls/s", "0.45 ×")


def test_a_row_without_a_peer_has_no_ratio() -> None:
    """What is only wanted is not a measurement."""
    row = Row("cold poll", Figure([8.54], "ms", "slowest 13 ms"), "wanted: < 100 ms")

    assert row.cells() == ("cold poll", "8.54 ms (slowest 13 ms)", "wanted: < 100 ms", "")


def test_the_caption_names_the_machine() -> None:
    """Figures without their machine say nothing."""
    table = markdown([Row("a", Figure([1.0], "ms"))], machine())

    assert "Measured on 2026-01-13 on box (2 cores, CPU, Linux 6): Python 3.11.7, PostgreSQL 18.4" in table
    assert "busy" not in table


def test_the_caption_says_that_the_machine_was_busy() -> None:
    """Figures from a busy machine say so."""
    assert "busy: other work took 40% of its cores" in machine(0.4).caption()


def test_the_table_goes_between_the_markers() -> None:
    """All else in the README stays."""
    readme = "before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n"

    assert put_between_markers(readme, "| new |\n") == "before\n<!-- bench -->\n| new |\n<!-- /bench -->\nafter\n"


@pytest.mark.parametrize("readme", ["", "<!-- bench -->", "<!-- /bench --><!-- bench -->", "<!-- bench -->" * 2])
def test_a_readme_without_its_markers_is_left_alone(readme: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(BenchError, match="needs the lines"):
        put_between_markers(readme, "table")


def test_wrk_is_read() -> None:
    """Its units become milliseconds."""
    assert parse_wrk(WRK) == Load(23412.75, 0.87, 1020.0)


def test_answers_that_failed_count_for_nothing() -> None:
    """A server that refuses quickly is not a fast one."""
    with pytest.raises(BenchError, match="clean answers"):
        parse_wrk(WRK + "  Non-2xx or 3xx responses: 3\n")
