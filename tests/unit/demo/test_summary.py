"""What the demo prints: lines that can be copied, and rates that say what happened."""

import io
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from readmodel.view.projection import Projection
from readside.demo.announcer import Announcer
from readside.demo.summary import DemoFacts, show
from readside.demo.watch import DemoSample

SESSION = "11111111-2222-4333-8444-555555555555"
LIVE = Projection(status="live", lag_ms=7, hot_sessions=9)


def printed(facts: DemoFacts) -> list[str]:
    """The summary's lines on a narrow terminal."""
    output = io.StringIO()
    show(Announcer(Console(file=output, width=40)), facts)
    return output.getvalue().splitlines()


def facts(key: str | None = "secret", data: Path | None = None) -> DemoFacts:
    """A demo on port 9000."""
    return DemoFacts(9000, SESSION, key, "a note", data)


def test_urls_and_the_command_are_never_broken() -> None:
    """Even a narrow terminal gets lines that can be copied whole."""
    lines = printed(facts())
    url = f"http://127.0.0.1:9000/api/v2/sessions/{SESSION}/events"

    assert f"  Events of a live session    {url}" in lines
    assert f'  curl -i -H "X-API-Key: secret" "{url}?limit=3"' in lines
    stream = url.replace("/events", "/stream")
    assert f'  curl -i -H "X-API-Key: secret" "{stream}?offset=now&live=long-poll"' in lines
    assert lines[-2] == "  Ctrl-C ends everything."


def test_without_a_key_none_is_sent() -> None:
    """READSIDE_AUTH=none needs no header."""
    lines = printed(facts(key=None))

    assert not any("X-API-Key" in line or line.startswith("  API key") for line in lines)


def test_a_link_opens_one_session_alone() -> None:
    """Where the demo has made a token: its key and its token are two things."""
    made = replace(facts(), token="a.b.c")

    assert f"  Link for this session only  http://127.0.0.1:9000/#session={SESSION}&token=a.b.c" in printed(made)
    assert not any("token" in line for line in printed(facts()))


def test_chaos_says_how_to_have_it_again() -> None:
    """And where its faults can be seen."""
    lines = printed(replace(facts(), seed=7))

    assert "  Chaos strikes every few seconds. The same again: --chaos --seed 7" in lines
    assert any(line.startswith("  Console of the faults       http://127.0.0.1:9000/#session=") for line in lines)
    assert not any("aos" in line or "faults" in line for line in printed(facts()))


def test_kept_data_is_named() -> None:
    """Only where something is kept."""
    assert any(line.endswith("/var/demo") for line in printed(facts(data=Path("/var/demo"))))
    assert not any("Data" in line for line in printed(facts()))


def test_rates_are_per_second() -> None:
    """Between two looks, however far apart."""
    earlier = DemoSample(at=10.0, projection=LIVE, events=100, polls=10)
    later = DemoSample(at=15.0, projection=LIVE, events=200, polls=40)

    assert later.line(earlier) == "live, 7 ms behind, 20 events/s, 6 polls/s, 9 sessions in Redis"


def test_counters_that_begin_again_are_no_negative_rate() -> None:
    """A projector or API that is new counts from nothing."""
    earlier = DemoSample(at=10.0, projection=LIVE, events=100, polls=10)
    later = DemoSample(at=15.0, projection=LIVE, events=0, polls=0)

    assert later.line(earlier) == "live, 7 ms behind, 0 events/s, 0 polls/s, 9 sessions in Redis"


def test_a_projection_that_is_not_live_says_why() -> None:
    """The reason stands where the lag stood."""
    down = Projection(status="catching_up", reason="The view is empty.")
    reading = DemoSample(at=15.0, projection=down, events=0, polls=0)

    assert reading.line(reading).startswith("catching up: The view is empty., ")
