"""The arithmetic of specs/operate/scale.md: it follows from what was measured, and the page says what it gives."""

from dataclasses import replace

import pytest

from bench.scale import COSTS, LOADS, PAGE, Demand, costs, tables, written
from bench.table import BenchError

CHEAP = dict.fromkeys(COSTS, 1.0) | {"at_rest": 6_400.0}
QUIET = Demand(10_000, 10, CHEAP)


def test_the_page_says_what_the_kept_results_give() -> None:
    """Whoever measures anew writes it anew: `python -m bench.scale`."""
    page = PAGE.read_text(encoding="utf-8")

    assert written(page, tables(costs())) == page


def test_a_poll_of_a_session_that_has_not_changed_is_answered_from_memory() -> None:
    """A thousand sessions, into each of which an event comes every hundred seconds."""
    assert QUIET.polls == 5_000
    assert QUIET.reads == pytest.approx(5_000 * 0.02, rel=0.02)


def test_polls_of_sessions_that_change_all_the_time_read_redis() -> None:
    """All of them."""
    assert replace(QUIET, events=100_000).reads == pytest.approx(5_000)


def test_each_api_process_hears_every_message() -> None:
    """So messages grow with the number of processes, and with the sessions that each reading names."""
    many = replace(QUIET, dashboards=1_000_000)

    assert many.api_processes == 100
    assert many.sent_mb == pytest.approx(100 * many.heard_mb)
    assert QUIET.heard_mb == pytest.approx((32 * 12 * 100 + 10 * 37) / 1e6, rel=0.02)


def test_more_events_than_a_core_takes_are_past_the_projectors_ceiling() -> None:
    """And the page says so."""
    dear = CHEAP | {"projector": 20.0}

    assert replace(QUIET, events=100_000, costs=dear).projector == 2.0
    assert "past its ceiling" in tables(dear)[LOADS]
    assert "past its ceiling" not in tables(CHEAP)[LOADS]


def test_the_first_limit_is_what_is_shortest() -> None:
    """With one projector, one API process and one Redis."""
    assert QUIET.first_limit.startswith("connections") or QUIET.first_limit.startswith("none (connections")
    assert replace(QUIET, dashboards=1_000_000).first_limit == "connections of an API process: 100.0 ×"
    assert replace(QUIET, costs=CHEAP | {"memory": 1e6}).first_limit.startswith("Redis' memory: 20")


def test_a_page_without_its_places_is_said() -> None:
    """Nothing is written then."""
    with pytest.raises(BenchError, match="<!-- loads -->"):
        written("nothing", {LOADS: "table"})
