"""The peers: the same bytes as ours, and what is missing is named."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.catalogue import DESCRIPTIONS, MEASUREMENTS
from bench.peers import nginx, psql_pipe
from bench.peers.answer import body, microseconds
from bench.rows.dashboards import parse
from bench.table import BenchError
from readmodel.values.poll_query import parse_since

DASHBOARDS = """Running 14s test
latency 50 1.250
latency 99 31.000
latency 100 40.500
errors 2
seconds 14.000
polls 32500
memory 30000
redis 4000
postgres 1
"""


@pytest.mark.parametrize(("total", "page"), [(0, 1), (1, 1), (100, 1), (101, 1), (101, 2), (250, 4)])
def test_the_apps_write_the_contracts_envelope(total: int, page: int) -> None:
    """Counted pages, and which way there are more."""
    written = body(b'{"id":"a"}', total, page, 100)

    pages = (total + 99) // 100
    more, before = str(page < pages).lower(), str(page > 1).lower()
    assert written.decode() == (
        f'{{"items":[{{"id":"a"}}],"total":{total},"pagination":{{"page":{page},"per_page":100,"total":{total},'
        f'"total_pages":{pages},"has_next":{more},"has_prev":{before}}}}}'
    )


def test_an_instant_is_a_score() -> None:
    """To the microsecond, as we read it."""
    instant = datetime(2026, 1, 13, 14, 30, 0, 123456, UTC)

    assert microseconds(instant) == parse_since(instant.isoformat())


@pytest.mark.parametrize("missing", [nginx.missing, nginx.missing_for_lua, psql_pipe.missing])
def test_a_missing_program_comes_with_what_to_install(
    missing: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Never a silent gap in the table."""
    monkeypatch.setattr("shutil.which", lambda *args, **kwargs: None)

    assert callable(missing)
    assert "not installed (Debian: apt install " in missing()


def test_what_the_dashboards_saw_is_read() -> None:
    """Latencies in milliseconds by percentile, errors, and where answers came from."""
    found = parse(DASHBOARDS)

    assert found.latencies == {50.0: 1.25, 99.0: 31.0, 100.0: 40.5}
    assert (found.errors, found.rate) == (2, 2500.0)
    assert found.sources == {"memory": 30_000, "redis": 4_000, "postgres": 1}


def test_dashboards_that_ended_badly_count_for_nothing() -> None:
    """Half a result is none."""
    with pytest.raises(BenchError, match="did not end well"):
        parse(DASHBOARDS.replace("errors 2\n", ""))


def test_every_measurement_is_listed() -> None:
    """One command a row, each with its sentence."""
    assert list(DESCRIPTIONS) == list(MEASUREMENTS)
    assert all(text.endswith(".") for text in DESCRIPTIONS.values())
