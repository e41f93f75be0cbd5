"""What every race stands on: real servers, the triggers installed, and nobody who mends by himself."""

from collections.abc import AsyncIterator

import pytest

from projector.tail.backlog import Backlog
from query_api import view_reads
from readside.api import _Built
from tests.support.barriers import Ear
from tests.support.projecting import Bench, bench
from tests.support.racing import NEVER_SECONDS


@pytest.fixture(autouse=True)
def patch(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Held reads may be slow."""
    monkeypatch.setattr(view_reads, "READ_SECONDS", 30.0)
    return monkeypatch


@pytest.fixture
def notices(patch: pytest.MonkeyPatch) -> Ear:
    """The notices that the leader hears."""
    return Ear.of(patch, Backlog, "hear")


@pytest.fixture
def changes(patch: pytest.MonkeyPatch) -> Ear:
    """The messages about batches that the API hears."""
    return Ear.of(patch, _Built, "_hear")


@pytest.fixture
async def stage(database_url: str, redis_url: str) -> AsyncIterator[Bench]:
    """A writer, and readers of both stores; each test runs its own projector."""
    async with bench(database_url, redis_url, drift_round_seconds=NEVER_SECONDS) as made:
        yield made
