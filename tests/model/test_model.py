"""The protocol under random schedules and faults, over the real scripts, messages and classes.

Two projectors and two APIs run over a simulated Postgres and over fakeredis, or a real Redis, in virtual time. In some
seeds the view is cut into slices, on one Redis or two: what befalls one must leave the slices on the other alone. In
some a hot standby answers cold polls.

`--seed` says where the seeds begin (from 0 on by default: `make test` runs the same ones every time), `--runs` how many
there are. `python -m tests.model.runs 4000 --real` runs many.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future

import pytest

from tests.model.plants import PLANTS
from tests.model.runs import Run, Runs, real_redises, running, seeds_for

LETTERS = ("emptied", "skipped", "compared again", "prepared", "nobody reads")
FOLLOWED = ("followed by the log", "followed by Postgres", "an offset was gone")
WAYS = ("memory", "redis", "postgres", *FOLLOWED, "nothing later", "not modified", "scripts together", *LETTERS)
"""What the seeds must have exercised, beside faults."""


@pytest.fixture(scope="module")
def runs() -> Iterator[Runs]:
    """What runs seeds, two at a time."""
    with running() as made:
        yield made


@pytest.fixture(scope="module")
def seeds(request: pytest.FixtureRequest) -> range:
    """The seeds to run."""
    first = request.config.getoption("--seed") or 0
    return range(first, first + request.config.getoption("--runs"))


@pytest.fixture(scope="module")
def servers() -> Iterator[list[str]]:
    """A real Redis for each worker."""
    with real_redises() as urls:
        yield urls


@pytest.fixture(scope="module")
def twice(runs: Runs, seeds: range) -> list[Run]:
    """Two runs of the first seed, over the fake: it takes twice the time of a real Redis."""
    return list(runs.of([seeds[0], seeds[0]]))


def test_no_answer_is_wrong_and_the_view_recovers(runs: Runs, seeds: range, servers: list[str]) -> None:
    """Every answer fits a state of its session between its as-of and now; when all is quiet the view is Postgres'."""
    results = list(runs.of(seeds, redis_urls=servers))

    assert [f"seed {run.seed}: {run.wrong}" for run in results if run.wrong] == []
    assert [way for way in WAYS if not sum(run.counts[way] for run in results)] == []


def test_no_answer_is_wrong_over_the_fake(twice: list[Run]) -> None:
    """The view recovers there too."""
    assert [f"seed {run.seed}: {run.wrong}" for run in twice if run.wrong] == []


@pytest.fixture(scope="module")
def searches(request: pytest.FixtureRequest, runs: Runs, servers: list[str]) -> Mapping[str, Future[Run | None]]:
    """What looks for the planted bugs of the tests that were chosen, each bug from one seed to the next."""
    chosen = [item.callspec.params.get("plant") for item in request.session.items if hasattr(item, "callspec")]
    return {plant: runs.search(seeds_for(plant), plant, servers) for plant in PLANTS if plant in chosen}


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_bug_is_found(searches: Mapping[str, Future[Run | None]], plant: str) -> None:
    """A bug against one rule of the protocol makes an answer wrong, or the view different, before long."""
    found = searches[plant].result()

    assert found is not None, f"the model does not see that this rule is broken: {PLANTS[plant].rule}"


def test_a_seed_says_all(twice: list[Run]) -> None:
    """Two runs of one seed give the same answers under the same faults."""
    first, second = twice

    assert first == second
