"""The calculator of specs/operate/sizing.md: it counts as bench/scale.py does, with the figures that were measured."""

import json
import subprocess
from pathlib import Path

import playwright
import pytest

from bench.scale import CALCULATOR, EVENTS_A_SESSION, Demand, calculator, costs

NODE = Path(playwright.__file__).parent / "driver" / "node"
MODULE = CALCULATOR.with_name("sizing.js")
EVENT_BYTES = 474


def sized(*loads: dict[str, float]) -> list[dict[str, float]]:
    """What the page's own module says of these loads."""
    said = f"console.log(JSON.stringify({json.dumps(loads)}.map((load) => size(load))));"
    program = f"import {{ size }} from {json.dumps(MODULE.as_uri())}; {said}"
    done = subprocess.run([NODE, "--input-type=module", "--eval", program], capture_output=True, text=True, check=True)
    found: list[dict[str, float]] = json.loads(done.stdout)
    return found


def load(demand: Demand) -> dict[str, float]:
    """The same as the page's fields say it."""
    return {
        "sessions": demand.sessions,
        "eventsEach": EVENTS_A_SESSION,
        "bytesEach": EVENT_BYTES,
        "polls": demand.polls,
        "writes": demand.events,
        "dashboards": demand.dashboards,
    }


def test_its_figures_are_those_that_were_measured() -> None:
    """Whoever measures anew writes them anew."""
    assert CALCULATOR.read_text() == calculator(costs()), "It is out of date: `python -m bench.scale` writes it anew."


def test_it_counts_as_the_page_of_scale_does() -> None:
    """Processes, servers, memory and cores, from ten thousand dashboards to a million."""
    demands = [Demand(many, events, costs()) for many in (10_000, 100_000, 1_000_000) for events in (10, 1_000, 10_000)]

    for demand, found in zip(demands, sized(*map(load, demands)), strict=True):
        assert (found["apiProcesses"], found["needed"]) == (demand.api_processes, demand.masters)
        assert found["reads"] == pytest.approx(demand.reads, rel=1e-3)
        assert found["viewBytes"] == pytest.approx(demand.redis_gb * 1e9, rel=1e-3)
        assert found["apiCores"] == pytest.approx(demand.api_cores, rel=1e-3)
        assert found["heardBytes"] == pytest.approx(demand.heard_mb * 1e6, rel=1e-3)
        assert found["projector"] == pytest.approx(demand.projector, rel=1e-3)


def test_one_redis_has_one_slice_and_a_cluster_four_a_master_or_more() -> None:
    """32 are enough for eight masters."""
    small = load(Demand(1_000, 10, costs()))
    large = small | {"sessions": 1e6, "eventsEach": 1_000}
    larger = large | {"eventsEach": 1e9}

    one, some, most = sized(small, large, larger)
    assert (one["masters"], one["slices"]) == (1, 1)
    assert (some["masters"], some["slices"]) == (26, 128)
    assert most["slices"] == 1_024


def test_nothing_needs_one_of_each() -> None:
    """Fields that are empty are zeros."""
    nothing = dict.fromkeys(load(Demand(1_000, 10, costs())), 0.0)

    (found,) = sized(nothing)
    assert (found["apiProcesses"], found["masters"], found["slices"], found["redisBytes"]) == (1, 1, 1, 0)
